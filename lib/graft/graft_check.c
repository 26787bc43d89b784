#include "graft/graft_check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/rng.h"
#include "kernel/normal.h"
#include "model/choosing.h"
#include "run/session.h"

enum { TOKENS = 24, SEQUENCES = 3, TRIES = 1000, SEED = 1, STREAM_TOKENS = 1, STREAM_PIXELS = 2 };

/* The most relative difference that is called rounding: of sums, and for each of the weights'. */
#define ROUNDING 1e-4
#define AMPLIFIED 10

/* A run of one model: the logits of all rows of all sequences, and which experts were chosen. */
struct run {
	const struct moe_model *m;
	float *logit;
	size_t rows, cap;
	bool *chosen;                   /* [layers][experts] */
};

static enum moe_err take(void *self, size_t first, size_t count, const float *logit, struct moe_diag *d)
{
	struct run *r = self;
	size_t vocab = (size_t)r->m->spec->vocab;

	(void)first;
	MOE_TRY(moe_grow(&r->logit, &r->cap, (r->rows + count) * vocab, sizeof *r->logit, d));
	memcpy(r->logit + r->rows * vocab, logit, count * vocab * sizeof *logit);
	r->rows += count;
	return MOE_OK;
}

static void see(void *self, size_t layer, const struct moe_routed *routed, size_t rows)
{
	struct run *r = self;
	size_t experts = (size_t)r->m->spec->router.experts;

	for (size_t i = 0; i < rows * routed->top_k; i++)
		if (routed->expert_id[i] >= 0)
			r->chosen[layer * experts + (size_t)routed->expert_id[i]] = true;
}

/* The smallest picture that the model takes. */
static struct moe_patch_grid smallest(const struct moe_spec *s)
{
	struct moe_patch_grid g = {0, 0, 0};

	for (size_t i = 0; i < s->image.grids.n; i++)
		if (!g.rows || s->image.grids.v[i][0] * s->image.grids.v[i][1] < (int64_t)g.rows * g.columns)
			g = (struct moe_patch_grid){(uint32_t)s->image.grids.v[i][0], (uint32_t)s->image.grids.v[i][1], 0};
	for (size_t i = 0; i < s->image.sizes.n; i++)
		if (!g.rows || s->image.sizes.v[i] / s->image.patch < (int64_t)g.rows)
			g.rows = g.columns = (uint32_t)(s->image.sizes.v[i] / s->image.patch);
	g.features = moe_spec_features(s, g.rows, g.columns);
	return g;
}

static enum moe_err draw_picture(const struct moe_model *m, const struct moe_patch_grid *g, float **feature, struct moe_arena *a, struct moe_pool *pool,
				 struct moe_diag *d)
{
	const struct moe_spec *s = m->spec;
	size_t n = (size_t)g->rows * g->columns * (size_t)(s->image.patch * s->image.patch * s->image.channels);
	struct moe_compute work = {a, pool, NULL};
	float *pixel = moe_arena_get(a, n, sizeof *pixel);

	*feature = moe_arena_get(a, g->features * (size_t)s->hidden, sizeof **feature);
	if (!pixel || !*feature)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		pixel[i] = (float)moe_random_normal(SEED, STREAM_PIXELS, i);
	return moe_tower_forward(m, pixel, g->rows, g->columns, *feature, &work, d);
}

/* Does it stand for itself, and neither for a picture nor for a part of one? */
static bool is_plain(const struct moe_spec *s, int64_t token)
{
	return token != s->merge.placeholder && moe_spec_code(s, token) < 0 &&
	       !(s->image_tokens.count && (token == s->image_tokens.begin || token == s->image_tokens.end));
}

/* The number-th random token that is plain; a vocabulary has many. */
static int32_t draw_token(const struct moe_spec *s, uint64_t number)
{
	int64_t token = 0;

	for (uint64_t i = 0; i < TRIES; i++) {
		token = (int64_t)(moe_random_u64(SEED, STREAM_TOKENS, number + i * SEQUENCES * TOKENS) % (uint64_t)s->vocab);
		if (is_plain(s, token))
			break;
	}
	return (int32_t)token;
}

/* The sequences: each of so many tokens, in the first behind a picture, where there are such. */
static enum moe_err run_sequences(struct run *r, struct moe_session *s, struct moe_arena *a, struct moe_pool *pool, struct moe_diag *d)
{
	const struct moe_spec *spec = r->m->spec;
	bool pictures = spec->merge.placeholder >= 0;
	int32_t token[TOKENS + 1];

	for (size_t q = 0; q < SEQUENCES; q++) {
		struct moe_patch_grid grid = {0, 0, 0};
		bool picture = pictures && !q;
		float *feature = NULL;
		if (picture) {
			grid = smallest(spec);
			MOE_TRY(draw_picture(r->m, &grid, &feature, a, pool, d));
		}
		token[0] = (int32_t)spec->merge.placeholder;
		for (size_t i = picture; i < TOKENS; i++)
			token[i] = draw_token(spec, q * TOKENS + i);
		MOE_TRY(moe_session_extend(s, token, TOKENS, picture ? &grid : NULL, picture ? &feature : NULL, true, take, r, d));
		moe_session_clear(s);
	}
	return MOE_OK;
}

static enum moe_err run_model(struct run *r, const struct moe_model *m, struct moe_pool *pool, struct moe_diag *d)
{
	struct moe_session s;
	struct moe_arena a = {0};
	enum moe_err err;

	*r = (struct run){.m = m, .chosen = calloc((size_t)(m->spec->n_layers * m->spec->router.experts), 1)};
	if (!r->chosen)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	MOE_TRY(moe_session_init(&s, m, pool, d));
	s.routed = see;
	s.observer = r;
	err = run_sequences(r, &s, &a, pool, d);
	moe_session_free(&s);
	moe_arena_free(&a);
	return err;
}

static void free_run(struct run *r)
{
	free(r->logit);
	free(r->chosen);
}

static size_t best(const float *x, size_t n)
{
	size_t at = 0;

	for (size_t i = 1; i < n; i++)
		at = x[i] > x[at] ? i : at;
	return at;
}

static void measure(struct moe_graft_check *out, const struct run *a, const struct run *b)
{
	size_t vocab = (size_t)a->m->spec->vocab, n = a->rows * vocab, agree = 0;
	double change = 0, all = 0;

	for (size_t i = 0; i < n; i++) {
		double e = (double)b->logit[i] - (double)a->logit[i];
		change += e * e;
		all += (double)a->logit[i] * (double)a->logit[i];
	}
	for (size_t r = 0; r < a->rows; r++)
		agree += best(a->logit + r * vocab, vocab) == best(b->logit + r * vocab, vocab);
	out->rows = a->rows;
	out->same_bits = !memcmp(a->logit, b->logit, n * sizeof *a->logit);
	out->difference = all > 0 ? sqrt(change / all) : sqrt(change);
	out->agree = a->rows ? (double)agree / (double)a->rows : 1;
}

/* Was anything chosen that is no more? */
static bool missed(const struct run *r, const bool *dropped)
{
	for (size_t i = 0; dropped && i < (size_t)(r->m->spec->n_layers * r->m->spec->router.experts); i++)
		if (dropped[i] && r->chosen[i])
			return true;
	return false;
}

static enum moe_err judge(struct moe_graft_check *out, const struct run *before, const struct moe_graft_promise *p, struct moe_diag *d)
{
	out->claim = missed(before, p->dropped) ? MOE_GRAFT_OTHER : p->claim;
	if (out->claim == MOE_GRAFT_BITS && (p->other_types || p->rounded > 0))
		out->claim = MOE_GRAFT_NUMBERS;
	out->why = out->claim == MOE_GRAFT_OTHER ? p->why : NULL;
	if (!isfinite(out->difference))
		return moe_fail(d, MOE_EMATCH, "the model that was made has outputs that are not finite");
	if (out->claim == MOE_GRAFT_BITS && !out->same_bits)
		return moe_fail(d, MOE_EMATCH,
				"the outputs are not those of the source, bit for bit, as they must be: they differ by %.3g of their root mean square",
				out->difference);
	if (out->claim == MOE_GRAFT_NUMBERS && out->difference > ROUNDING + AMPLIFIED * p->rounded)
		return moe_fail(d, MOE_EMATCH, "the outputs are not those of the source, as they must be: they differ by %.3g of their root mean square",
				out->difference);
	return MOE_OK;
}

/* Where one of them has nobody who could choose for a token alone, both choose over the rows of a sequence. */
static enum moe_err choose_alike(struct moe_model *a, struct moe_model *b, struct moe_diag *d)
{
	struct moe_model *const both[] = {a, b};

	if (a->choosing != MOE_CHOOSING_NOBODY && b->choosing != MOE_CHOOSING_NOBODY)
		return MOE_OK;
	for (size_t i = 0; i < 2; i++)
		if (both[i]->choosing != MOE_CHOOSING_TOKEN)
			MOE_TRY(moe_choosing_batch(both[i], 1, d));
	return MOE_OK;
}

enum moe_err moe_graft_compare(struct moe_graft_check *out, struct moe_model *m, const char *made, const struct moe_graft_promise *promise,
			       const struct moe_graft_options *o, struct moe_diag *d)
{
	struct moe_spec_options s = {.directory = made, .families = o->convert.families, .family_file = o->convert.family_file};
	struct moe_model *other;
	struct run a = {0}, b = {0};
	enum moe_err err;

	MOE_TRY(moe_model_open(&other, &s, d));
	err = choose_alike(m, other, d);
	if (!err)
		err = run_model(&a, m, o->convert.pool, d);
	if (!err)
		err = run_model(&b, other, o->convert.pool, d);
	if (!err) {
		measure(out, &a, &b);
		err = judge(out, &a, promise, d);
	}
	free_run(&a);
	free_run(&b);
	moe_choosing_init(m);
	moe_model_close(other);
	return err;
}
