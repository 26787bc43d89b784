/* The imatrix of llama.cpp in GGUF: for each tensor of a model how many rows were multiplied with it, NAME.counts; for tensors of experts one count each. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "format/gguf.h"
#include "import/import_priv.h"

/* The tensor of counts blk.LAYER.PART.weight.counts, NULL when there is none. */
static const struct moe_tensor *find(const struct moe_gguf *g, size_t layer, const char *part)
{
	char name[80];

	snprintf(name, sizeof name, "blk.%zu.%s.weight.counts", layer, part);
	for (size_t i = 0; i < g->header.n_tensors; i++)
		if (!strcmp(g->header.tensor[i].name, name))
			return &g->header.tensor[i];
	return NULL;
}

/* Count i, which is a whole number though it is written as a float; UINT64_MAX when it is not one. */
static uint64_t count_at(const struct moe_tensor *t, size_t i)
{
	float f;

	if (t->type != MOE_F32 || i >= moe_tensor_count(t))
		return UINT64_MAX;
	memcpy(&f, t->data + i * sizeof f, sizeof f);
	return f >= 0 && f < 0x1p63f && f == floorf(f) ? (uint64_t)f : UINT64_MAX;
}

/* The tensors of one layer's experts count the same rows. */
static enum moe_err check_same(const struct moe_tensor *a, const struct moe_tensor *b, struct moe_diag *d)
{
	if (moe_tensor_count(a) == moe_tensor_count(b) && !memcmp(a->data, b->data, a->nbytes))
		return MOE_OK;
	return moe_fail(d, MOE_EINPUT, "tensors \"%.60s\" and \"%.60s\" of one layer differ", a->name, b->name);
}

/* What counts the choices of a layer's experts; NULL in a layer without experts. */
static enum moe_err find_experts(const struct moe_gguf *g, size_t layer, const struct moe_tensor **out, struct moe_diag *d)
{
	static const char *const parts[] = {"ffn_gate_exps", "ffn_up_exps", "ffn_down_exps", "ffn_gate_up_exps"};

	*out = NULL;
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		const struct moe_tensor *t = find(g, layer, parts[i]);
		if (t && *out)
			MOE_TRY(check_same(*out, t, d));
		*out = *out ? *out : t;
	}
	return MOE_OK;
}

/* Tokens that came to the layer, of a tensor that every token passes; 0: not said. */
static uint64_t tokens_of(const struct moe_gguf *g, size_t layer)
{
	static const char *const parts[] = {"ffn_gate_inp", "attn_q", "attn_qkv", "attn_output"};

	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		const struct moe_tensor *t = find(g, layer, parts[i]);
		uint64_t n = t && moe_tensor_count(t) == 1 ? count_at(t, 0) : 0;
		if (n && n != UINT64_MAX)
			return n;
	}
	return 0;
}

struct layers {
	const struct moe_gguf *g;
	size_t *number;                 /* those with experts, ascending */
	const struct moe_tensor **count;
	size_t n, experts, k;           /* k: 0 when it does not follow */
};

/* Layers above this number are not looked for. */
static size_t highest_layer(const struct moe_gguf *g)
{
	size_t most = 0;

	for (size_t i = 0; i < g->header.n_tensors; i++) {
		const char *name = g->header.tensor[i].name;
		unsigned long n = strncmp(name, "blk.", 4) ? 0 : strtoul(name + 4, NULL, 10);
		most = n < MOE_TRACE_LAYERS ? moe_max(most, n) : most;
	}
	return most;
}

static enum moe_err add_layer(struct layers *l, size_t number, const struct moe_tensor *t, struct moe_diag *d)
{
	size_t experts = moe_tensor_count(t);
	uint64_t sum = 0, tokens = tokens_of(l->g, number), k;

	if (!experts || experts > MOE_TRACE_EXPERTS || (l->n && experts != l->experts))
		return moe_fail(d, MOE_EINPUT, "tensor \"%.60s\" counts %zu experts, not %zu", t->name, experts, l->n ? l->experts : 1);
	for (size_t e = 0; e < experts; e++) {
		uint64_t n = count_at(t, e);
		if (n == UINT64_MAX || !moe_checked_add(sum, n, &sum))
			return moe_fail(d, MOE_EINPUT, "tensor \"%.60s\": count %zu is no whole number", t->name, e);
	}
	k = tokens && sum % tokens == 0 ? sum / tokens : 0;
	l->k = k <= experts && (!l->n || l->k == k) ? (size_t)k : 0;
	l->experts = experts;
	l->number[l->n] = number;
	l->count[l->n++] = t;
	return MOE_OK;
}

static enum moe_err take_layers(struct moe_import *m, struct layers *l, size_t highest, struct moe_diag *d)
{
	uint64_t *count;

	for (size_t i = 0; i <= highest; i++) {
		const struct moe_tensor *t;
		MOE_TRY(find_experts(l->g, i, &t, d));
		if (t)
			MOE_TRY(add_layer(l, i, t, d));
	}
	if (!l->n)
		return moe_fail(d, MOE_EINPUT, "no tensor blk.N.ffn_*_exps.weight.counts: %s", find(l->g, 0, "attn_q") ? "the imatrix of a model without experts"
				: "this GGUF file is no imatrix, or one of a model without experts");
	MOE_TRY(moe_import_counts(m, l->n, l->k ? l->k : m->o.k, l->number, l->experts, &count, d));
	for (size_t i = 0; i < l->n * l->experts; i++)
		if (!moe_checked_add(count[i], count_at(l->count[i / l->experts], i % l->experts), &count[i]))
			return moe_fail(d, MOE_EINPUT, "the sum of counts is too large");
	return MOE_OK;
}

static enum moe_err add_counts(struct moe_import *m, const struct moe_gguf *g, struct moe_diag *d)
{
	size_t highest = highest_layer(g);
	struct layers l = {.g = g, .number = calloc(highest + 1, sizeof *l.number), .count = calloc(highest + 1, sizeof *l.count)};
	enum moe_err err = l.number && l.count ? take_layers(m, &l, highest, d) : moe_fail(d, MOE_ENOMEM, "out of memory");

	free(l.number);
	free(l.count);
	return err;
}

enum moe_err moe_import_imatrix(struct moe_import *m, const char *name, const uint8_t *bytes, size_t n, struct moe_diag *d)
{
	struct moe_gguf g = {0};
	enum moe_err err;

	(void)name;                     /* counts have no sequences */
	err = moe_gguf_parse(&g, bytes, n, d);
	if (!err)
		err = add_counts(m, &g, d);
	moe_gguf_free(&g);
	return err;
}
