/* Arrays of NumPy: ids, or router logits, with their axes in any order; weights and tokens beside ids. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "format/npy.h"
#include "import/import_priv.h"
#include "nn/router.h"

/* Distances, in elements, from one index to the next along tokens, layers, and choices or experts; an axis that is not there has one index. */
struct axes {
	size_t tokens, layers, width, token, layer, element;
	bool logits;
};

static bool is_float(enum moe_dtype t) { return t == MOE_F16 || t == MOE_F32 || t == MOE_F64; }

static int64_t whole(const struct moe_tensor *t, size_t i) { return moe_whole(t->data + i * (moe_dtype_nbits(t->type) / 8), t->type); }

static float real(const struct moe_tensor *t, size_t i)
{
	float f;

	moe_widen(&f, t->data + i * (moe_dtype_nbits(t->type) / 8), 1, t->type);
	return f;
}

static enum moe_err wrong_axes(const struct moe_tensor *t, const char *axes, struct moe_diag *d)
{
	char shape[128];

	return moe_fail(d, MOE_EINPUT, "axes \"%.20s\" do not name those of an array of %s (T tokens, L layers, and K choices of whole numbers or E experts of "
			"floats)", axes, moe_shape_string(t->shape, t->rank, shape, sizeof shape));
}

/* Which axis is which. */
static enum moe_err find_axes(struct axes *a, const struct moe_tensor *t, bool fortran, const char *names, struct moe_diag *d)
{
	size_t stride = 1;
	unsigned seen = 0;

	*a = (struct axes){.tokens = 1, .layers = 1, .width = 1, .logits = is_float(t->type)};
	if (!names)
		names = t->rank == 2 ? (a->logits ? "TE" : "TK") : a->logits ? "LTE" : "TLK";
	if (strlen(names) != t->rank)
		return wrong_axes(t, names, d);
	for (unsigned i = 0; i < t->rank; i++) {
		unsigned x = fortran ? i : t->rank - 1 - i;     /* from the one that lies together on */
		const char *known = a->logits ? "TLE" : "TLK", *at = strchr(known, names[x]);
		size_t *size[] = {&a->tokens, &a->layers, &a->width}, *step[] = {&a->token, &a->layer, &a->element};
		if (!at || seen >> (at - known) & 1)
			return wrong_axes(t, names, d);
		seen |= 1u << (at - known);
		*size[at - known] = t->shape[x];
		*step[at - known] = stride;
		stride *= t->shape[x];
	}
	return (seen & 5) == 5 && t->nbytes ? MOE_OK : wrong_axes(t, names, d);
}

static enum moe_err wrong_row(struct moe_diag *d, const struct axes *a, size_t r, const char *why)
{
	return moe_fail(d, MOE_EINPUT, "token %zu, layer %zu of the array: %s", r / a->layers, r % a->layers, why);
}

static enum moe_err add_ids(struct moe_import *m, const char *name, const struct moe_tensor *t, const struct axes *a, struct moe_diag *d)
{
	struct moe_imported *q;
	const char *why = NULL;
	int64_t *id;

	MOE_TRY(moe_import_shape(m, a->layers, a->width, NULL, false, d));
	MOE_TRY(moe_import_sequence(m, &q, name, a->tokens, false, 0, d));
	id = calloc(a->width, sizeof *id);
	if (!id)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t r = 0; r < a->tokens * a->layers && !why; r++) {
		for (size_t i = 0; i < a->width; i++)
			id[i] = whole(t, r / a->layers * a->token + r % a->layers * a->layer + i * a->element);
		why = moe_import_choice(m, q, r, id, NULL);
		if (why)
			wrong_row(d, a, r, why);
	}
	free(id);
	return why ? MOE_EINPUT : MOE_OK;
}

/* The choice that logits [experts] lead to. */
static enum moe_err choose(struct moe_import *m, struct moe_imported *q, size_t r, const struct moe_router_settings *s, struct moe_arena *scratch,
			   struct moe_diag *d)
{
	size_t k = m->k, e = (size_t)s->experts;
	int32_t *id = moe_arena_get(scratch, k, sizeof *id);

	if (!id)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	MOE_TRY(moe_router_choose(&(struct moe_router_choice){id, q->weight + r * k, NULL}, &(struct moe_router_rows){.rows = 1, .logit = q->logit + r * e}, s,
				  scratch, d));
	for (size_t i = 0; i < k; i++)
		q->expert[r * k + i] = id[i] < 0 ? MOE_NO_EXPERT : (uint16_t)id[i];
	return MOE_OK;
}

static enum moe_err add_logits(struct moe_import *m, const char *name, const struct moe_tensor *t, const struct axes *a, struct moe_diag *d)
{
	struct moe_router_settings s = {.experts = (int64_t)a->width, .top_k = (int64_t)m->o.k, .score = (int)m->o.score, .renormalise = m->o.renormalise, .groups = 1,
					.top_groups = 1, .scale = 1};
	struct moe_arena scratch = {0};
	struct moe_imported *q;
	enum moe_err err = MOE_OK;

	if (!m->o.k || m->o.k > a->width || a->width > MOE_TRACE_EXPERTS)
		return moe_fail(d, MOE_EINPUT, "router logits of %zu experts, of which --top-k must say how many are chosen", a->width);
	if (m->o.experts && m->o.experts != a->width)
		return moe_fail(d, MOE_EINPUT, "router logits of %zu experts, not %zu", a->width, m->o.experts);
	MOE_TRY(moe_import_shape(m, a->layers, m->o.k, NULL, false, d));
	MOE_TRY(moe_import_sequence(m, &q, name, a->tokens, true, a->width, d));
	for (size_t r = 0; r < a->tokens * a->layers && !err; r++) {
		for (size_t i = 0; i < a->width; i++)
			q->logit[r * a->width + i] = real(t, r / a->layers * a->token + r % a->layers * a->layer + i * a->element);
		moe_arena_reset(&scratch);
		err = choose(m, q, r, &s, &scratch, d);
		if (err == MOE_EINPUT && d) {
			moe_diag_clear(d);
			wrong_row(d, a, r, "a router logit is NaN or +inf, or all are -inf");
		}
	}
	moe_arena_free(&scratch);
	return err;
}

enum moe_err moe_import_npy(struct moe_import *m, const char *name, const uint8_t *bytes, size_t n, struct moe_diag *d)
{
	struct moe_tensor t;
	struct axes a;
	bool fortran;

	MOE_TRY(moe_npy_parse(&t, &fortran, bytes, n, d));
	if (!is_float(t.type) && !moe_dtype_is_whole(t.type))
		return moe_fail(d, MOE_EINPUT, "an array of %s: expected whole numbers (experts) or floats (router logits)", moe_dtype_name(t.type));
	MOE_TRY(find_axes(&a, &t, fortran, m->o.axes, d));
	return a.logits ? add_logits(m, name, &t, &a, d) : add_ids(m, name, &t, &a, d);
}

/* The only sequence of the source that was added last. */
static enum moe_err last_source(struct moe_import *m, struct moe_imported **q, struct moe_diag *d)
{
	if (m->counts || m->n_seq != m->first + 1)
		return moe_fail(d, MOE_EUSAGE, "weights and tokens go with a source that is one sequence");
	*q = &m->seq[m->first];
	return MOE_OK;
}

/* Brings weights in the order of the array into that of the row: by falling weight. */
static const char *sort_row(struct moe_import *m, struct moe_imported *q, size_t r, const float *weight, int64_t *id)
{
	for (size_t i = 0; i < m->k; i++)
		id[i] = q->expert[r * m->k + i] == MOE_NO_EXPERT ? -1 : q->expert[r * m->k + i];
	return moe_import_choice(m, q, r, id, weight);
}

enum moe_err moe_import_weights(struct moe_import *m, const uint8_t *bytes, size_t n, struct moe_diag *d)
{
	struct moe_imported *q;
	struct moe_tensor t;
	struct axes a;
	const char *why = NULL;
	bool fortran;
	int64_t *id;
	float *w;

	MOE_TRY(last_source(m, &q, d));
	MOE_TRY(moe_npy_parse(&t, &fortran, bytes, n, d));
	if (!is_float(t.type))
		return moe_fail(d, MOE_EINPUT, "weights are floats, not %s", moe_dtype_name(t.type));
	if (q->weight || q->gaps)
		return moe_fail(d, MOE_EINPUT, q->weight ? "there are weights already" : "weights go with ids among which \"none\" stands at the end only");
	t.type = MOE_I8;                /* its axes are those of ids */
	MOE_TRY(find_axes(&a, &t, fortran, m->o.axes, d));
	MOE_TRY(moe_npy_parse(&t, &fortran, bytes, n, d));
	if (a.tokens != q->rows || a.layers != m->layers || a.width != m->k)
		return moe_fail(d, MOE_EINPUT, "weights of %zu tokens, %zu layers and %zu choices, but ids of %zu, %zu and %zu", a.tokens, a.layers, a.width, q->rows,
				m->layers, m->k);
	q->weight = moe_calloc(q->rows * m->layers * m->k + 1, sizeof *q->weight);
	id = calloc(m->k, sizeof *id);
	w = calloc(m->k, sizeof *w);
	if (!q->weight || !id || !w)
		why = "out of memory";
	for (size_t r = 0; r < q->rows * m->layers && !why; r++) {
		for (size_t i = 0; i < m->k; i++)
			w[i] = real(&t, r / a.layers * a.token + r % a.layers * a.layer + i * a.element);
		why = sort_row(m, q, r, w, id);
		if (why)
			wrong_row(d, &a, r, why);
	}
	free(id);
	free(w);
	return why ? moe_fail(d, MOE_EINPUT, "%s", why) : MOE_OK;
}

enum moe_err moe_import_tokens(struct moe_import *m, const uint8_t *bytes, size_t n, struct moe_diag *d)
{
	struct moe_imported *q;
	struct moe_tensor t;
	bool fortran;

	MOE_TRY(last_source(m, &q, d));
	MOE_TRY(moe_npy_parse(&t, &fortran, bytes, n, d));
	if (t.rank != 1 || !moe_dtype_is_whole(t.type) || t.shape[0] < q->rows)
		return moe_fail(d, MOE_EINPUT, "tokens are whole numbers in one axis, at least %zu of them", q->rows);
	for (size_t r = 0; r < q->rows; r++) {
		int64_t v = whole(&t, r);
		if (v < 0 || v > INT32_MAX)
			return moe_fail(d, MOE_EINPUT, "token %zu is %lld", r, (long long)v);
		q->token[r] = (int32_t)v;
	}
	return MOE_OK;
}
