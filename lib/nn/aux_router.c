#include "nn/aux_router.h"

#include <math.h>
#include <string.h>

enum moe_err moe_aux_forward(float *a, const float *u, size_t rows, const struct moe_aux_weights *w, const struct moe_compute *work, struct moe_diag *d)
{
	struct moe_arena_mark mark = moe_arena_mark(work->scratch);
	size_t inner = w->fc1.rows;
	float *h = moe_arena_get(work->scratch, rows * inner, sizeof *h);

	if (!h)
		return moe_fail(d, MOE_ENOMEM, "out of memory for the auxiliary router of %zu rows", rows);
	moe_matmul(h, inner, u, w->fc1.cols, rows, &w->fc1, work->pool);
	moe_silu(h, h, rows * inner);
	moe_matmul(a, w->fc2.rows, h, inner, rows, &w->fc2, work->pool);
	moe_arena_release(work->scratch, mark);
	return MOE_OK;
}

/* The rows of one pool. `u`, `out` and `row` have room for all rows. */
static enum moe_err predict_pool(float *a, const float *all, size_t rows, const struct moe_router_settings *s, const struct moe_aux_weights *w, size_t pool,
				 const uint8_t *modality, float *u, float *out, uint32_t *row, const struct moe_compute *work, struct moe_diag *d)
{
	size_t n = 0, hidden = w->fc1.cols, outputs = w->fc2.rows, experts = (size_t)s->experts;

	for (size_t r = 0; r < rows; r++)
		if ((modality ? modality[r] : MOE_TEXT) == pool) {
			memcpy(u + n * hidden, all + r * hidden, hidden * sizeof *u);
			row[n++] = (uint32_t)r;
		}
	MOE_TRY(moe_aux_forward(out, u, n, w, work, d));
	for (size_t i = 0; i < n; i++)
		for (size_t e = 0, j = 0; e < experts; e++)
			if (s->pools.of[e] == pool)
				a[row[i] * experts + e] = out[i * outputs + j++];
	return MOE_OK;
}

enum moe_err moe_aux_predict(float *a, const float *u, size_t rows, const struct moe_aux_weights *w, const struct moe_router_settings *s,
			     const uint8_t *modality, const struct moe_compute *work, struct moe_diag *d)
{
	struct moe_arena_mark mark = moe_arena_mark(work->scratch);
	size_t experts = (size_t)s->experts;
	const struct moe_pools *p = &s->pools;
	float *some, *out;
	uint32_t *row;

	if (!p->n)
		return moe_aux_forward(a, u, rows, w, work, d);
	some = moe_arena_get(work->scratch, rows * w->fc1.cols, sizeof *some);
	out = moe_arena_get(work->scratch, rows * experts, sizeof *out);
	row = moe_arena_get(work->scratch, rows, sizeof *row);
	if (!some || !out || !row)
		return moe_fail(d, MOE_ENOMEM, "out of memory for the auxiliary routers of %zu rows", rows);
	for (size_t i = 0; i < rows * experts; i++)
		a[i] = -INFINITY;
	for (size_t m = 0; m < p->n; m++)
		MOE_TRY(predict_pool(a, u, rows, s, &w[m], m, modality, some, out, row, work, d));
	moe_arena_release(work->scratch, mark);
	return MOE_OK;
}
