#include "nn/stem.h"

#include "base/check.h"

/* [positions][channels] → [channels][positions], as the next convolution reads it. */
static void to_planes(float *to, const float *from, size_t positions, size_t channels)
{
	for (size_t p0 = 0; p0 < positions; p0 += 16)
		for (size_t c = 0; c < channels; c++)
			for (size_t p = p0; p < moe_min(p0 + 16, positions); p++)
				to[c * positions + p] = from[p * channels + c];
}

static size_t map_size(size_t n, const struct moe_conv *c)
{
	size_t padded = n + 2 * (size_t)c->padding;

	return padded < (size_t)c->kernel ? 0 : (padded - (size_t)c->kernel) / (size_t)c->stride + 1;
}

enum moe_err moe_stem_forward(float *feature, size_t rows, size_t columns, const float *planes, size_t height, size_t width,
			      const struct moe_conv *conv, const struct moe_mat *weight, size_t n, const struct moe_compute *work, struct moe_diag *d)
{
	struct moe_arena_mark mark = moe_arena_mark(work->scratch);
	const float *in = planes;

	for (size_t i = 0; i < n; i++) {
		const struct moe_conv *c = &conv[i];
		size_t oh = map_size(height, c), ow = map_size(width, c), k = (size_t)(c->in * c->kernel * c->kernel), out = (size_t)c->out;
		size_t ldk = moe_round_up(k, 16);
		bool last = i + 1 == n;
		float *matrix = moe_arena_get(work->scratch, oh * ow * ldk, sizeof(float));
		float *y = last ? feature : moe_arena_get(work->scratch, oh * ow * out, sizeof(float));
		float *next = last ? NULL : moe_arena_get(work->scratch, oh * ow * out, sizeof(float));
		if (last && (oh != rows || ow != columns))
			return moe_fail(d, MOE_EINPUT, "the picture's grid is %zux%zu patches, its pixels give %zux%zu", rows, columns, oh, ow);
		if (!matrix || !y || (!last && !next))
			return moe_fail(d, MOE_ENOMEM, "out of memory for a picture of %zux%zu pixels", width, height);
		moe_im2col(matrix, ldk, in, (size_t)c->in, height, width, (size_t)c->kernel, (size_t)c->kernel, (size_t)c->stride, (size_t)c->padding, oh, ow);
		moe_matmul(y, out, matrix, ldk, oh * ow, &weight[i], work->pool);
		if (c->silu)
			moe_silu(y, y, oh * ow * out);
		if (!last)
			to_planes(next, y, oh * ow, out);
		in = next;
		height = oh;
		width = ow;
	}
	moe_arena_release(work->scratch, mark);
	return MOE_OK;
}
