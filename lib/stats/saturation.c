#include "stats/saturation.h"

#include <stdlib.h>
#include <string.h>

#include "stats/ordered.h"

void moe_saturation_free(struct moe_saturation *s)
{
	free(s->layer);
	s->layer = NULL;
	s->n_layers = s->cap = 0;
}

static void add_token(struct moe_saturation_part *p, const uint16_t *id, size_t n, const uint16_t *last, size_t m, size_t experts)
{
	size_t both = 0;

	if (!m)
		return;
	for (size_t i = 0; i < m; i++)
		both += moe_trace_has(id, n, last[i]);
	p->tokens++;
	p->shared += (double)both / (double)m;
	p->chance += (double)n / (double)experts;
	p->same_first += n && id[0] == last[0];
	p->first_chance += n ? 1 / (double)experts : 0;
}

static enum moe_err check(const struct moe_trace_info *i, const struct moe_trace_block *b, const struct moe_trace_info *j, const struct moe_trace_block *c,
			  struct moe_diag *d)
{
	if (!b->expert || !c->expert)
		return moe_fail(d, MOE_EUSAGE, "a trace of counts has no tokens to compare");
	if (i->experts != j->experts)
		return moe_fail(d, MOE_EMATCH, "it has %zu experts, the last run has %zu", i->experts, j->experts);
	if (b->seq == c->seq && b->start == c->start && b->rows == c->rows && !memcmp(b->token, c->token, b->rows * sizeof *b->token) &&
	    !memcmp(b->image, c->image, b->rows * sizeof *b->image))
		return MOE_OK;
	return moe_fail(d, MOE_EMATCH,
			"it is not of the same tokens as the last run: sequence %llu, row %llu, %zu rows; there sequence %llu, row %llu, %zu rows",
			(unsigned long long)b->seq, (unsigned long long)b->start, b->rows, (unsigned long long)c->seq, (unsigned long long)c->start, c->rows);
}

enum moe_err moe_saturation_add(struct moe_saturation *s, const struct moe_trace_info *info, const struct moe_trace_block *b,
				const struct moe_trace_info *last_info,
				const struct moe_trace_block *last, struct moe_diag *d)
{
	MOE_TRY(check(info, b, last_info, last, d));
	for (size_t i = 0, j = 0; i < info->n_layers; i++) {
		struct moe_saturation_layer *l;
		while (j < last_info->n_layers && last_info->layer[j] < info->layer[i])
			j++;
		if (j == last_info->n_layers || last_info->layer[j] != info->layer[i] || info->layer[i] < s->first || info->layer[i] > s->last)
			continue;
		if (!(l = moe_ordered_get(&s->layer, &s->n_layers, &s->cap, sizeof *s->layer, info->layer[i])))
			return moe_fail(d, MOE_ENOMEM, "out of memory");
		for (size_t r = 0; r < b->rows; r++) {
			const uint16_t *x = b->expert + (i * b->rows + r) * info->k, *y = last->expert + (j * b->rows + r) * last_info->k;
			add_token(&l->part[moe_modality_of(b->modality[r])], x, moe_trace_chosen(x, info->k), y, moe_trace_chosen(y, last_info->k), info->experts);
		}
	}
	return MOE_OK;
}
