#include "plot/agreement.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static enum moe_err no_memory(struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory"); }

/* Which of the traced layers has this number; SIZE_MAX: none. */
static size_t find_layer(const struct moe_trace_info *i, size_t number)
{
	for (size_t l = 0; l < i->n_layers; l++)
		if (i->layer[l] == number)
			return l;
	return SIZE_MAX;
}

static enum moe_err begin(struct moe_agreement *g, const struct moe_trace_info *a, const struct moe_trace_info *b, struct moe_diag *d)
{
	g->begun = true;
	g->experts = a->experts;
	g->k[0] = a->k;
	g->k[1] = b->k;
	g->number = moe_calloc(a->n_layers, sizeof *g->number);
	g->part = moe_calloc(a->n_layers * MOE_N_MODALITIES, sizeof *g->part);
	if (!g->number || !g->part)
		return no_memory(d);
	for (size_t l = 0; l < a->n_layers; l++)
		if (a->layer[l] >= g->first && a->layer[l] <= g->last && find_layer(b, a->layer[l]) != SIZE_MAX)
			g->number[g->n_layers++] = a->layer[l];
	for (size_t i = 0; i < g->n_layers * MOE_N_MODALITIES; i++)
		for (int r = 0; r < 2; r++) {
			g->part[i].count[r] = moe_calloc(g->experts, sizeof(uint64_t));
			if (!g->part[i].count[r])
				return no_memory(d);
		}
	return MOE_OK;
}

/* The same experts, in any order, and as many. */
static bool same_set(const uint16_t *a, size_t ka, const uint16_t *b, size_t kb)
{
	size_t n = moe_trace_chosen(a, ka);

	if (moe_trace_chosen(b, kb) != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!moe_trace_has(b, n, a[i]))
			return false;
	return true;
}

static void add_token(struct moe_agreement_part *p, const uint16_t *a, size_t ka, const uint16_t *b, size_t kb)
{
	if (a[0] == MOE_NO_EXPERT || b[0] == MOE_NO_EXPERT)
		return;
	p->tokens++;
	p->first += a[0] == b[0];
	p->all += same_set(a, ka, b, kb);
	p->count[0][a[0]]++;
	p->count[1][b[0]]++;
}

static bool same_tokens(const struct moe_trace_block *a, const struct moe_trace_block *b)
{
	return a->expert && b->expert && a->rows == b->rows && a->seq == b->seq && a->start == b->start && !memcmp(a->token, b->token, a->rows * sizeof *a->token);
}

enum moe_err moe_agreement_add(struct moe_agreement *g, const struct moe_trace_info *ia, const struct moe_trace_block *a, const struct moe_trace_info *ib,
			       const struct moe_trace_block *b, struct moe_diag *d)
{
	if (ia->experts != ib->experts || (g->begun && (ia->experts != g->experts || ia->k != g->k[0] || ib->k != g->k[1])))
		return moe_fail(d, MOE_EMATCH, "%zu experts against %zu: there is nothing to compare expert by expert", ia->experts, ib->experts);
	if (!g->begun)
		MOE_TRY(begin(g, ia, ib, d));
	if (!same_tokens(a, b)) {
		g->left_out += a->rows;
		return MOE_OK;
	}
	for (size_t l = 0; l < g->n_layers; l++) {
		size_t la = find_layer(ia, g->number[l]), lb = find_layer(ib, g->number[l]);
		for (size_t r = 0; r < a->rows && la != SIZE_MAX && lb != SIZE_MAX; r++) {
			size_t m = moe_modality_of(a->modality[r]);
			add_token(&g->part[l * MOE_N_MODALITIES + m], a->expert + (la * a->rows + r) * ia->k, ia->k, b->expert + (lb * b->rows + r) * ib->k, ib->k);
		}
	}
	return MOE_OK;
}

void moe_agreement_free(struct moe_agreement *g)
{
	for (size_t i = 0; g->part && i < g->n_layers * MOE_N_MODALITIES; i++) {
		free(g->part[i].count[0]);
		free(g->part[i].count[1]);
	}
	free(g->part);
	free(g->number);
	*g = (struct moe_agreement){0};
}
