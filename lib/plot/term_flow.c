#include <stdlib.h>

#include "plot/term_priv.h"

enum { SHOWN = 6, WIDTH = 64, BAR = 20 };

struct stream { size_t from, to; double tokens; };

static int by_tokens(const void *a, const void *b)
{
	const struct stream *x = a, *y = b;

	if (x->tokens != y->tokens)
		return x->tokens < y->tokens ? 1 : -1;
	return x->from != y->from ? (x->from < y->from ? -1 : 1) : x->to < y->to ? -1 : x->to > y->to;
}

static void print_stream(const struct moe_term *t, const struct moe_flow_facet *f, size_t l, const struct stream *s, double most)
{
	double chance = f->node[l * f->experts + s->from] * f->node[(l + 1) * f->experts + s->to] / f->tokens;
	size_t bar = (size_t)(s->tokens / most * BAR + 0.5);
	char text[80], from[24], to[24];

	snprintf(from, sizeof from, " %zu ", s->from);
	snprintf(to, sizeof to, " %zu ", s->to);
	moe_term_field(t, moe_expert_colour(s->from), from, 5);
	fputs(" to ", t->f);
	moe_term_field(t, moe_expert_colour(s->to), to, 5);
	snprintf(text, sizeof text, "%9.1f  %5.1f %%  %5.1f %%  ", s->tokens, 100 * s->tokens / f->tokens, 100 * chance / f->tokens);
	moe_term_left(t, text, WIDTH - 14 - BAR);
	if (t->colours)
		moe_term_field(t, moe_expert_colour(s->from), "", bar);
	else
		for (size_t i = 0; i < bar; i++)
			fputc('#', t->f);
	moe_term_spaces(t, BAR - bar);
	fputs("\n", t->f);
}

/* The strongest streams between layers l and l + 1. */
static void print_gap(const struct moe_term *t, const struct moe_flow_facet *f, size_t l)
{
	struct stream *s = calloc(f->experts * f->experts, sizeof *s);
	size_t n = 0;
	double rest = 0;
	char text[120];

	for (size_t i = 0; s && i < f->experts * f->experts; i++)
		if (f->link[l * f->experts * f->experts + i] > 0)
			s[n++] = (struct stream){i / f->experts, i % f->experts, f->link[l * f->experts * f->experts + i]};
	if (n)
		qsort(s, n, sizeof *s, by_tokens);
	snprintf(text, sizeof text, "layer %zu to %zu", f->layer[l], f->layer[l + 1]);
	moe_term_left(t, text, 17);
	moe_term_left(t, "tokens    share   chance", WIDTH - 17);
	fputs("\n", t->f);
	for (size_t i = 0; i < n && i < SHOWN; i++)
		print_stream(t, f, l, &s[i], s[0].tokens);
	for (size_t i = SHOWN; i < n; i++)
		rest += s[i].tokens;
	if (n > SHOWN) {
		snprintf(text, sizeof text, "%zu more streams: %.1f %% of the tokens", n - SHOWN, 100 * rest / f->tokens);
		moe_term_left(t, text, WIDTH);
		fputs("\n", t->f);
	}
	free(s);
}

size_t moe_term_flow(const struct moe_term *t, const struct moe_facet *facet)
{
	const struct moe_flow_facet *f = &facet->flow;

	for (size_t l = 0; l + 1 < f->n_layers; l++)
		print_gap(t, f, l);
	return WIDTH;
}
