#include "stats/saturation.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void moe_saturation_free(struct moe_saturation *s)
{
	free(s->layer);
	s->layer = NULL;
	s->n_layers = s->cap = 0;
}

static struct moe_saturation_layer *layer_of(struct moe_saturation *s, size_t number)
{
	size_t at = s->n_layers;

	while (at && s->layer[at - 1].number >= number)
		at--;
	if (at < s->n_layers && s->layer[at].number == number)
		return &s->layer[at];
	if (moe_grow(&s->layer, &s->cap, s->n_layers + 1, sizeof *s->layer, NULL))
		return NULL;
	memmove(s->layer + at + 1, s->layer + at, (s->n_layers - at) * sizeof *s->layer);
	s->layer[at] = (struct moe_saturation_layer){.number = number};
	s->n_layers++;
	return &s->layer[at];
}

static size_t count_experts(const uint16_t *id, size_t k)
{
	size_t n = 0;

	while (n < k && id[n] != MOE_NO_EXPERT)
		n++;
	return n;
}

static bool has(const uint16_t *id, size_t n, uint16_t e)
{
	while (n && id[n - 1] != e)
		n--;
	return n;
}

static void add_token(struct moe_saturation_part *p, const uint16_t *id, size_t n, const uint16_t *last, size_t m, size_t experts)
{
	size_t both = 0;

	if (!m)
		return;
	for (size_t i = 0; i < m; i++)
		both += has(id, n, last[i]);
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
		if (!(l = layer_of(s, info->layer[i])))
			return moe_fail(d, MOE_ENOMEM, "out of memory");
		for (size_t r = 0; r < b->rows; r++) {
			const uint16_t *x = b->expert + (i * b->rows + r) * info->k, *y = last->expert + (j * b->rows + r) * last_info->k;
			unsigned m = b->modality[r] < MOE_N_MODALITIES ? b->modality[r] : MOE_N_MODALITIES - 1;
			add_token(&l->part[m], x, count_experts(x, info->k), y, count_experts(y, last_info->k), info->experts);
		}
	}
	return MOE_OK;
}
