#include "plot/mixture.h"

#include "trace/trace.h"

/* Adds to the expert's part. There may be more experts than parts: what was put in first stays, which is right for one token (by falling weight) and close enough
 * for many. */
static void add(struct moe_mixture *m, unsigned expert, double share)
{
	size_t i = 0;

	while (i < m->n && m->part[i].expert != expert)
		i++;
	if (i == MOE_MIXTURE_PARTS)
		return;
	if (i == m->n)
		m->part[m->n++].expert = expert;
	m->part[i].share += share;
}

static void sort(struct moe_mixture *m)
{
	for (size_t i = 1; i < m->n; i++)
		for (size_t j = i; j && m->part[j].share > m->part[j - 1].share; j--) {
			struct moe_mixture swap = {.n = 1};
			swap.part[0] = m->part[j];
			m->part[j] = m->part[j - 1];
			m->part[j - 1] = swap.part[0];
		}
}

void moe_mixture_of(struct moe_mixture *m, const struct moe_text_facet *t, const struct moe_word *w, size_t layer)
{
	*m = (struct moe_mixture){0};
	for (size_t r = w->token; r < w->token + w->n; r++) {
		const struct moe_chosen *c = &t->chosen[layer][r];
		double sum = 0;
		size_t n = 0;
		for (; n < t->k && c->expert[n] != MOE_NO_EXPERT; n++)
			sum += c->weight ? c->weight[n] : 1;
		for (size_t i = 0; i < n && sum > 0; i++)
			add(m, c->expert[i], (c->weight ? c->weight[i] : 1) / sum / (double)w->n);
	}
	sort(m);
}
