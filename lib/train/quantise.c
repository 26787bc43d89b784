#include "train/quantise.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "grad/quantiser_grad.h"

/* A code that gets less than 1 / RARE of an equal share begins anew, as one that gets 1 / FRESH of it. */
enum { LANES = 8, STREAM_RESTART = 9, RARE = 32, FRESH = 8, TRIES = 8 };

struct lane {
	struct moe_arena memory;
	float *gradient;                /* [total] */
	void *pack;
	struct moe_codes_chosen chosen;
	double square, commitment, bytes;
	bool failed;
};

struct moe_quantise {
	const struct moe_spec *spec;
	struct moe_pool *pool;
	struct moe_params params;
	float *weight, *gradient;       /* [total] */
	struct moe_quantiser net;
	size_t conv[MOE_MAX_CONV], decoder[MOE_MAX_CONV], code, count, sum;     /* offsets */
	struct moe_arena memory;
	struct lane lane[LANES];
	struct moe_codes_chosen chosen; /* of the last step */
	/* The step at hand. */
	const struct moe_packed *batch;
	size_t pictures;
	bool backward;
	float square, commitment;       /* factors of the sums */
	double bytes;
	float *z, *apart;               /* [pictures · patches][width], and the squared distance of each row from its code */
	size_t z_cap, apart_cap, rows;
};

static size_t patches_of(const struct moe_quantise *q) { return (size_t)(q->spec->image.grids.v[0][0] * q->spec->image.grids.v[0][1]); }

bool moe_quantise_has(const struct moe_spec *s, const struct moe_param *p)
{
	static const char *const names[] = {"conv", "decoder", "code", "code_count", "code_sum"};

	for (size_t i = 0; s->image_tokens.count && p->part == MOE_PART_TOWER && i < sizeof names / sizeof *names; i++)
		if (!strcmp(p->logical, names[i]))
			return true;
	return false;
}

/* Offset of the nth tensor of that name; the table has it, because the model was bound. */
static size_t offset_of(const struct moe_quantise *q, const char *logical, size_t nth)
{
	for (size_t i = 0; i < q->params.n; i++)
		if (!strcmp(q->params.p[i].logical, logical) && !nth--)
			return q->params.p[i].offset;
	return 0;
}

static bool plan_chosen(struct moe_quantise *q, struct moe_codes_chosen *c)
{
	c->n = moe_arena_get(&q->memory, q->net.codes, sizeof *c->n);
	c->sum = moe_arena_get(&q->memory, q->net.codes * q->net.width, sizeof *c->sum);
	return c->n && c->sum;
}

/* Numbers of the largest matrix. */
static size_t largest(const struct moe_quantiser *n)
{
	size_t most = 0;

	for (size_t i = 0; i < n->encoder.n; i++)
		most = moe_max(most, n->encoder.conv[i].dense.out * n->encoder.conv[i].ld);
	for (size_t i = 0; i < n->decoder.n; i++)
		most = moe_max(most, n->decoder.conv[i].dense.out * n->decoder.conv[i].ld);
	return most;
}

static bool plan(struct moe_quantise *q, enum moe_unit unit)
{
	const struct moe_spec *s = q->spec;

	for (size_t i = 0; i < s->tower.n_conv; i++)
		q->conv[i] = offset_of(q, "conv", i);
	for (size_t i = 0; i < s->image_tokens.n_decoder; i++)
		q->decoder[i] = offset_of(q, "decoder", i);
	q->code = offset_of(q, "code", 0);
	q->count = offset_of(q, "code_count", 0);
	q->sum = offset_of(q, "code_sum", 0);
	if (!moe_quantiser_plan(&q->net, unit, s->tower.conv, s->tower.n_conv, s->image_tokens.decoder, s->image_tokens.n_decoder, q->weight + q->code,
				(size_t)s->image_tokens.count, &q->memory) || !plan_chosen(q, &q->chosen))
		return false;
	for (size_t i = 0; i < LANES; i++) {
		struct lane *l = &q->lane[i];
		l->gradient = i ? moe_arena_zero(&q->memory, q->params.total, sizeof(float)) : q->gradient;
		if (!l->gradient || !plan_chosen(q, &l->chosen))
			return false;
	}
	q->lane[0].pack = moe_arena_get(&q->memory, largest(&q->net), sizeof(float));
	return q->lane[0].pack;
}

enum moe_err moe_quantise_new(struct moe_quantise **out, struct moe_model *m, enum moe_unit unit, struct moe_pool *pool, struct moe_diag *d)
{
	struct moe_quantise *q;
	enum moe_err err;

	if (!m->spec->image_tokens.count)
		return moe_fail(d, MOE_EUSAGE, "the model has no image tokens, whose quantiser could be trained (\"image_tokens\" in the description of a new one)");
	q = calloc(1, sizeof *q);
	if (!q)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	q->spec = m->spec;
	q->pool = pool;
	err = moe_params_make(&q->params, &q->weight, m, NULL, 0, d);
	if (!err) {
		q->gradient = moe_calloc(q->params.total, sizeof *q->gradient);
		if (!q->gradient || !plan(q, unit))
			err = moe_fail(d, MOE_ENOMEM, "out of memory for a quantiser of %zu weights", q->params.total);
	}
	if (err) {
		moe_quantise_free(q);
		return err;
	}
	moe_quantise_changed(q);
	*out = q;
	return MOE_OK;
}

void moe_quantise_free(struct moe_quantise *q)
{
	if (!q)
		return;
	for (size_t i = 0; i < LANES; i++)
		moe_arena_free(&q->lane[i].memory);
	moe_arena_free(&q->memory);
	moe_params_free(&q->params);
	free(q->weight);
	free(q->gradient);
	free(q->z);
	free(q->apart);
	free(q);
}

const struct moe_params *moe_quantise_params(const struct moe_quantise *q) { return &q->params; }
float *moe_quantise_weights(struct moe_quantise *q) { return q->weight; }
float *moe_quantise_gradient(struct moe_quantise *q) { return q->gradient; }

void moe_quantise_changed(struct moe_quantise *q)
{
	const float *conv[MOE_MAX_CONV], *decoder[MOE_MAX_CONV];

	for (size_t i = 0; i < q->net.encoder.n; i++)
		conv[i] = q->weight + q->conv[i];
	for (size_t i = 0; i < q->net.decoder.n; i++)
		decoder[i] = q->weight + q->decoder[i];
	moe_stem_pack(&q->net.encoder, conv, q->lane[0].pack);
	moe_stem_pack(&q->net.decoder, decoder, q->lane[0].pack);
}

uint64_t moe_quantise_nbytes(const struct moe_spec *s, size_t pictures)
{
	uint64_t patches = (uint64_t)(s->image.grids.v[0][0] * s->image.grids.v[0][1]), area = patches * (uint64_t)(s->image.patch * s->image.patch), numbers = 8 * area;
	struct moe_sizes sizes;

	if (moe_spec_sizes(s, &sizes, NULL))
		return 0;
	for (size_t i = 0; i < s->tower.n_conv; i++) {
		const struct moe_conv *c = &s->tower.conv[i];
		area /= (uint64_t)(c->stride * c->stride);
		numbers += 3 * area * (uint64_t)(c->kernel * c->kernel * c->in + 3 * c->out);
	}
	for (size_t i = 0; i < s->image_tokens.n_decoder; i++) {
		const struct moe_conv *c = &s->image_tokens.decoder[i];
		numbers += 3 * patches * (uint64_t)(c->kernel * c->kernel * c->in + 3 * c->out);
	}
	return sizes.parameters * 4 * (2 + LANES + 2) + LANES * 4 * numbers + pictures * patches * (uint64_t)s->image_tokens.width * 4;
}

/* ---- a step ---- */

/* Sum of the squared differences of pixels as bytes. */
static double byte_squares(const struct moe_quantise *q, const struct moe_quantiser_kept *k)
{
	size_t channels = (size_t)q->spec->image.channels, area = k->patch * k->patch, n = k->rows * k->columns;
	double sum = 0;

	for (size_t p = 0; p < n; p++)
		for (size_t c = 0; c < channels; c++)
			for (size_t i = 0; i < area; i++) {
				size_t at = (p * channels + c) * area + i;
				double made = (double)k->pixel[at] * q->spec->image.std[c] + q->spec->image.mean[c];
				double apart = fmin(fmax(floor(made + 0.5), 0), 255) - ((double)k->wanted[at] * q->spec->image.std[c] + q->spec->image.mean[c]);
				sum += apart * apart;
			}
	return sum;
}

/* What codes that begin anew are chosen from. */
static void keep_rows(struct moe_quantise *q, const struct moe_quantiser_kept *k, size_t first)
{
	size_t n = k->rows * k->columns, width = q->net.width;

	memcpy(q->z + first * width, k->z, n * width * sizeof *q->z);
	for (size_t i = 0; i < n; i++) {
		float sum = 0;
		for (size_t j = i * width; j < (i + 1) * width; j++)
			sum += (k->z[j] - k->q[j]) * (k->z[j] - k->q[j]);
		q->apart[first + i] = sum;
	}
}

static void take_picture(struct moe_quantise *q, struct lane *l, size_t i)
{
	const struct moe_packed *p = &q->batch[i];
	float *conv[MOE_MAX_CONV], *decoder[MOE_MAX_CONV];
	size_t n = (size_t)p->rows * p->columns;
	struct moe_quantiser_kept kept;
	void *scratch;

	moe_arena_reset(&l->memory);
	scratch = moe_arena_get(&l->memory, moe_quantiser_scratch(&q->net, p->rows, p->columns, (size_t)q->spec->image.patch), 1);
	if (!scratch || !moe_quantiser_kept_plan(&kept, &q->net, p->rows, p->columns, (size_t)q->spec->image.patch, &l->memory)) {
		l->failed = true;
		return;
	}
	moe_quantiser_keep(&q->net, &kept, p->planes, scratch);
	l->square += kept.square;
	l->commitment += kept.commitment;
	l->bytes += byte_squares(q, &kept);
	moe_codes_choose(&l->chosen, kept.id, kept.z, n, q->net.width);
	keep_rows(q, &kept, i * n);
	if (!q->backward)
		return;
	for (size_t c = 0; c < q->net.encoder.n; c++)
		conv[c] = l->gradient + q->conv[c];
	for (size_t c = 0; c < q->net.decoder.n; c++)
		decoder[c] = l->gradient + q->decoder[c];
	moe_quantiser_backward(&q->net, &kept, conv, decoder, q->square, q->commitment, scratch);
}

static void clear_chosen(const struct moe_quantise *q, struct moe_codes_chosen *c)
{
	memset(c->n, 0, q->net.codes * sizeof *c->n);
	memset(c->sum, 0, q->net.codes * q->net.width * sizeof *c->sum);
}

static void run_lane(void *arg, size_t i)
{
	struct moe_quantise *q = arg;
	struct lane *l = &q->lane[i];

	l->square = l->commitment = l->bytes = 0;
	l->failed = false;
	clear_chosen(q, &l->chosen);
	if (q->backward)
		memset(l->gradient, 0, q->params.total * sizeof *l->gradient);
	for (size_t p = i; p < q->pictures && !l->failed; p += LANES)
		take_picture(q, l, p);
}

/* The lanes' sums, in their order. */
static void merge(struct moe_quantise *q, struct moe_quantise_result *out)
{
	clear_chosen(q, &q->chosen);
	q->bytes = 0;
	for (size_t i = 0; i < LANES; i++) {
		const struct lane *l = &q->lane[i];
		out->picture += l->square;
		out->commitment += l->commitment;
		q->bytes += l->bytes;
		for (size_t c = 0; c < q->net.codes; c++)
			q->chosen.n[c] += l->chosen.n[c];
		for (size_t c = 0; c < q->net.codes * q->net.width; c++)
			q->chosen.sum[c] += l->chosen.sum[c];
		if (i && q->backward)
			moe_add(q->gradient, l->gradient, q->params.total);
	}
}

static size_t numbers_of(const struct moe_quantise *q) { return (size_t)(q->spec->image.channels * q->spec->image.patch * q->spec->image.patch); }

enum moe_err moe_quantise_step(struct moe_quantise *q, const struct moe_packed *batch, size_t count, double factor, bool backward,
			       struct moe_quantise_result *out, struct moe_diag *d)
{
	size_t patches = patches_of(q), rows = count * patches;
	double flops = 60 * (double)rows * (double)largest(&q->net);

	*out = (struct moe_quantise_result){.pictures = count, .patches = rows};
	for (size_t i = 0; i < count; i++)
		if (!batch[i].planes || (size_t)batch[i].rows * batch[i].columns != patches)
			return moe_fail(d, MOE_EUSAGE, "a sample has no picture, and nothing else is learnt of here");
	MOE_TRY(moe_grow(&q->z, &q->z_cap, rows * q->net.width, sizeof *q->z, d));
	MOE_TRY(moe_grow(&q->apart, &q->apart_cap, rows, sizeof *q->apart, d));
	q->batch = batch;
	q->pictures = count;
	q->rows = rows;
	q->backward = backward;
	q->square = (float)(1 / ((double)rows * (double)numbers_of(q)));
	q->commitment = (float)(factor / ((double)rows * (double)q->net.width));
	moe_pool_run(q->pool, flops, LANES, run_lane, q);
	for (size_t i = 0; i < LANES; i++)
		if (q->lane[i].failed)
			return moe_fail(d, MOE_ENOMEM, "out of memory for a picture");
	merge(q, out);
	out->picture /= (double)rows * (double)numbers_of(q);
	out->commitment /= (double)rows * (double)q->net.width;
	out->total = out->picture + factor * out->commitment;
	out->codes = moe_quantise_codes(q, q->chosen.n);
	out->psnr = moe_quantise_psnr(q->bytes, rows * numbers_of(q));
	out->finite = isfinite(out->total);
	return MOE_OK;
}

/* ---- the codes ---- */

/* Of a few rows, which random numbers name, the one that is farthest from its code: most patches are alike, and have codes enough. */
static const float *new_code(const struct moe_quantise *q, uint64_t seed, uint64_t from)
{
	size_t best = 0;

	for (size_t i = 0; i < TRIES; i++) {
		size_t row = (size_t)(((unsigned __int128)moe_random_u64(seed, STREAM_RESTART, from * TRIES + i) * q->rows) >> 64);
		if (!i || q->apart[row] > q->apart[best])
			best = row;
	}
	return q->z + best * q->net.width;
}

void moe_quantise_move(struct moe_quantise *q, double decay, uint64_t seed, uint64_t step)
{
	size_t codes = q->net.codes, width = q->net.width;
	float *count = q->weight + q->count, *sum = q->weight + q->sum, *code = q->weight + q->code, share = (float)q->rows / (float)codes;

	moe_codes_update(count, sum, code, codes, width, &q->chosen, decay);
	for (size_t c = 0; c < codes; c++) {
		const float *z;
		if (count[c] * RARE >= share)
			continue;
		z = new_code(q, seed, step * codes + c);
		count[c] = share / FRESH;
		for (size_t j = 0; j < width; j++) {
			code[c * width + j] = z[j];
			sum[c * width + j] = count[c] * z[j];
		}
	}
}

enum moe_err moe_quantise_count(const struct moe_quantise *q, struct moe_quantise_sums *s, struct moe_diag *d)
{
	if (!s->chosen)
		s->chosen = moe_calloc(q->net.codes, sizeof *s->chosen);
	if (!s->chosen)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t c = 0; c < q->net.codes; c++)
		s->chosen[c] += q->chosen.n[c];
	s->squares += q->bytes;
	s->numbers += q->rows * numbers_of(q);
	s->pictures += q->pictures;
	return MOE_OK;
}

double moe_quantise_psnr(double squares, uint64_t numbers) { return numbers && squares > 0 ? 10 * log10(255.0 * 255.0 * (double)numbers / squares) : INFINITY; }

uint64_t moe_quantise_codes(const struct moe_quantise *q, const uint64_t *chosen)
{
	uint64_t n = 0;

	for (size_t c = 0; c < q->net.codes; c++)
		n += chosen[c] > 0;
	return n;
}
