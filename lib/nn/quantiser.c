#include "nn/quantiser.h"

#include <math.h>

enum { LANES = 4 };     /* codes that are measured side by side */

/* The squared distances of z to up to LANES rows of code. */
static void distances(float *to, const float *z, const float *code, size_t n, size_t width)
{
	for (size_t i = 0; i < LANES; i++)
		to[i] = i < n ? 0 : INFINITY;
	for (size_t j = 0; j < width; j++)
		for (size_t i = 0; i < n; i++) {
			float apart = z[j] - code[i * width + j];
			to[i] += apart * apart;
		}
}

void moe_codes_nearest(int32_t *id, const float *z, size_t n, const float *code, size_t codes, size_t width)
{
	for (size_t r = 0; r < n; r++) {
		float best = INFINITY, apart[LANES];
		id[r] = 0;
		for (size_t c = 0; c < codes; c += LANES) {
			distances(apart, z + r * width, code + c * width, codes - c < LANES ? codes - c : LANES, width);
			for (size_t i = 0; i < LANES; i++)
				if (apart[i] < best) {
					best = apart[i];
					id[r] = (int32_t)(c + i);
				}
		}
	}
}

enum moe_err moe_picture_decode(float *pixel, const int32_t *id, size_t rows, size_t columns, const struct moe_picture_decoder *q, const struct moe_compute *work,
				struct moe_diag *d)
{
	struct moe_arena_mark mark = moe_arena_mark(work->scratch);
	size_t n = rows * columns;
	float *planes = moe_arena_get(work->scratch, n * q->width, sizeof *planes);

	if (!planes)
		return moe_fail(d, MOE_ENOMEM, "out of memory for a picture of %zux%zu codes", rows, columns);
	for (size_t p = 0; p < n; p++) {
		if (id[p] < 0 || (size_t)id[p] >= q->codes)
			return moe_fail(d, MOE_EINPUT, "code %d of a picture is outside the book of %zu", id[p], q->codes);
		for (size_t j = 0; j < q->width; j++)
			planes[j * n + p] = q->code[(size_t)id[p] * q->width + j];
	}
	MOE_TRY(moe_stem_forward(pixel, rows, columns, planes, rows, columns, q->conv, q->weight, q->n, work, d));
	moe_arena_release(work->scratch, mark);
	return MOE_OK;
}
