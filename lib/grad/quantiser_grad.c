#include "grad/quantiser_grad.h"

#include <string.h>

#include "base/check.h"
#include "image/fit.h"
#include "nn/quantiser.h"

bool moe_quantiser_plan(struct moe_quantiser *q, enum moe_unit unit, const struct moe_conv *encoder, size_t n_encoder, const struct moe_conv *decoder,
			size_t n_decoder, const float *code, size_t codes, struct moe_arena *a)
{
	*q = (struct moe_quantiser){.codes = codes, .code = code, .width = (size_t)encoder[n_encoder - 1].out};
	if (!moe_stem_plan(&q->encoder, unit, encoder, n_encoder, a) || !moe_stem_plan(&q->decoder, unit, decoder, n_decoder, a))
		return false;
	q->decoder.map = true;
	return true;
}

static size_t patch_size(const struct moe_quantiser *q) { return (size_t)q->decoder.conv[q->decoder.n - 1].conv.out; }

bool moe_quantiser_kept_plan(struct moe_quantiser_kept *k, const struct moe_quantiser *q, size_t rows, size_t columns, size_t patch, struct moe_arena *a)
{
	size_t n = rows * columns;

	*k = (struct moe_quantiser_kept){.rows = rows, .columns = columns, .patch = patch};
	k->z = moe_arena_get(a, n * q->width, sizeof *k->z);
	k->q = moe_arena_get(a, n * q->width, sizeof *k->q);
	k->id = moe_arena_get(a, n, sizeof *k->id);
	k->wanted = moe_arena_get(a, n * patch_size(q), sizeof *k->wanted);
	k->pixel = moe_arena_get(a, n * patch_size(q), sizeof *k->pixel);
	return k->z && k->q && k->id && k->wanted && k->pixel && moe_stem_kept_plan(&k->encoder, &q->encoder, rows * patch, columns * patch, a) &&
	       moe_stem_kept_plan(&k->decoder, &q->decoder, rows, columns, a);
}

/* Bytes of the gradients of what the decoder makes, and of what it takes. */
static size_t gradients(const struct moe_quantiser *q, size_t n)
{
	return moe_round_up(n * patch_size(q) * sizeof(float), 64) + moe_round_up(n * q->width * sizeof(float), 64);
}

size_t moe_quantiser_scratch(const struct moe_quantiser *q, size_t rows, size_t columns, size_t patch)
{
	size_t encoder = moe_stem_scratch(&q->encoder, rows * patch, columns * patch), decoder = moe_stem_scratch(&q->decoder, rows, columns);

	return gradients(q, rows * columns) + moe_max(encoder, decoder);
}

static double squares(const float *a, const float *b, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++) {
		double apart = (double)a[i] - (double)b[i];
		sum += apart * apart;
	}
	return sum;
}

void moe_quantiser_keep(const struct moe_quantiser *q, struct moe_quantiser_kept *k, const float *planes, void *scratch)
{
	size_t n = k->rows * k->columns, channels = (size_t)q->encoder.conv[0].conv.in;
	struct moe_patching cut = {(uint32_t)k->rows, (uint32_t)k->columns, (uint32_t)channels, (uint32_t)k->patch, (uint32_t)k->patch};

	moe_patches_from_planes(k->wanted, planes, &cut);
	moe_stem_keep(&q->encoder, k->z, q->width, planes, k->rows * k->patch, k->columns * k->patch, &k->encoder, scratch);
	moe_codes_nearest(k->id, k->z, n, q->code, q->codes, q->width);
	for (size_t i = 0; i < n; i++)
		memcpy(k->q + i * q->width, q->code + (size_t)k->id[i] * q->width, q->width * sizeof *k->q);
	moe_stem_keep(&q->decoder, k->pixel, patch_size(q), k->q, k->rows, k->columns, &k->decoder, scratch);
	k->square = squares(k->pixel, k->wanted, n * patch_size(q));
	k->commitment = squares(k->z, k->q, n * q->width);
}

void moe_codes_commit(float *dz, const float *z, const float *q, size_t n, size_t width, float commitment)
{
	for (size_t i = 0; i < n * width; i++)
		dz[i] += 2 * commitment * (z[i] - q[i]);
}

void moe_quantiser_backward(const struct moe_quantiser *q, const struct moe_quantiser_kept *k, float *const *dencoder, float *const *ddecoder, float square,
			    float commitment, void *scratch)
{
	size_t n = k->rows * k->columns, size = n * patch_size(q);
	float *dpixel = scratch, *dz = dpixel + moe_round_up(size * sizeof *dpixel, 64) / sizeof *dpixel;
	char *rest = (char *)scratch + gradients(q, n);

	for (size_t i = 0; i < size; i++)
		dpixel[i] = 2 * square * (k->pixel[i] - k->wanted[i]);
	memset(dz, 0, n * q->width * sizeof *dz);
	moe_stem_backward(&q->decoder, ddecoder, dpixel, patch_size(q), dz, k->rows, k->columns, &k->decoder, rest);
	moe_codes_commit(dz, k->z, k->q, n, q->width, commitment);
	moe_stem_backward(&q->encoder, dencoder, dz, q->width, NULL, k->rows * k->patch, k->columns * k->patch, &k->encoder, rest);
}

void moe_codes_choose(const struct moe_codes_chosen *c, const int32_t *id, const float *z, size_t n, size_t width)
{
	for (size_t i = 0; i < n; i++) {
		c->n[id[i]]++;
		for (size_t j = 0; j < width; j++)
			c->sum[(size_t)id[i] * width + j] += (double)z[i * width + j];
	}
}

void moe_codes_update(float *count, float *sum, float *code, size_t codes, size_t width, const struct moe_codes_chosen *c, double decay)
{
	for (size_t i = 0; i < codes; i++) {
		count[i] = (float)(decay * (double)count[i] + (1 - decay) * (double)c->n[i]);
		for (size_t j = 0; j < width; j++) {
			float *s = &sum[i * width + j];
			*s = (float)(decay * (double)*s + (1 - decay) * c->sum[i * width + j]);
			if (count[i] > 0)
				code[i * width + j] = *s / count[i];
		}
	}
}
