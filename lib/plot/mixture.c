#include "plot/mixture.h"

#include <stdlib.h>

#include "trace/trace.h"

/* One more than the largest expert of the word's tokens. */
static size_t experts_of(const struct moe_text_facet *t, const struct moe_word *w, size_t layer)
{
	size_t n = 0;

	for (size_t r = w->token; r < w->token + w->n; r++)
		for (size_t i = 0; i < t->k && t->chosen[layer][r].expert[i] != MOE_NO_EXPERT; i++)
			n = t->chosen[layer][r].expert[i] >= n ? t->chosen[layer][r].expert[i] + 1u : n;
	return n;
}

static void add_token(double *share, const struct moe_chosen *c, size_t k, double part)
{
	double sum = 0;
	size_t n = 0;

	for (; n < k && c->expert[n] != MOE_NO_EXPERT; n++)
		sum += c->weight ? c->weight[n] : 1;
	for (size_t i = 0; i < n && sum > 0; i++)
		share[c->expert[i]] += (c->weight ? c->weight[i] : 1) / sum * part;
}

/* Puts an expert among the largest parts; of equal ones the first stays before the second. */
static void insert(struct moe_mixture *m, size_t most, unsigned expert, double share)
{
	size_t at = m->n;

	while (at && m->part[at - 1].share < share)
		at--;
	if (at == most)
		return;
	m->n += m->n < most;
	for (size_t i = m->n - 1; i > at; i--)
		m->part[i] = m->part[i - 1];
	m->part[at].expert = expert;
	m->part[at].share = share;
}

void moe_mixture_of(struct moe_mixture *m, const struct moe_text_facet *t, const struct moe_word *w, size_t layer)
{
	size_t experts = experts_of(t, w, layer);
	double *share = calloc(experts + 1, sizeof *share);

	*m = (struct moe_mixture){.n = 0};
	for (size_t r = w->token; share && r < w->token + w->n; r++)
		add_token(share, &t->chosen[layer][r], t->k, 1 / (double)w->n);
	for (size_t e = 0; share && e < experts; e++)
		if (share[e] > 0)
			insert(m, w->n == 1 ? MOE_MIXTURE_FEW : MOE_MIXTURE_PARTS, (unsigned)e, share[e]);
	free(share);
}
