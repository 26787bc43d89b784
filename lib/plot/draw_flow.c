#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "plot/draw_priv.h"

enum { HEIGHT = 380, NODE = 13, LABELS = 34, LEAST_STEP = 70, MOST_STEP = 190 };

/* Where experts stand in their layers. */
struct stacks {
	double *top;            /* [n_layers][experts] */
	double *order;          /* [experts]: what a layer is sorted by */
	size_t *rank;           /* [experts] of the layer at hand */
	double *out, *in;       /* [experts]: how much of an expert's edge is taken */
	double unit, gap;       /* height of a token; between experts */
};

static bool stacks_init(struct stacks *s, const struct moe_flow_facet *f)
{
	size_t n = f->experts, widest = 0;

	for (size_t l = 0; l < f->n_layers; l++) {
		size_t used = 0;
		for (size_t e = 0; e < n; e++)
			used += f->node[l * n + e] > 0;
		widest = used > widest ? used : widest;
	}
	*s = (struct stacks){.gap = widest > 40 ? 1 : widest > 16 ? 2.5 : 5};
	s->unit = f->tokens > 0 ? (HEIGHT - s->gap * (double)(widest ? widest - 1 : 0)) / f->tokens : 0;
	s->top = moe_calloc(f->n_layers * n, sizeof *s->top);
	s->order = moe_calloc(3 * n, sizeof *s->order);
	s->rank = moe_calloc(n, sizeof *s->rank);
	s->out = s->order + n;
	s->in = s->order + 2 * n;
	return s->top && s->order && s->rank;
}

static void stacks_free(struct stacks *s)
{
	free(s->top);
	free(s->order);
	free(s->rank);
}

static void swap(size_t *a, size_t *b)
{
	size_t c = *a;

	*a = *b;
	*b = c;
}

/* Experts of a layer stand by where their tokens come from, so that few streams cross; those of the first by their numbers. */
static void place_layer(struct stacks *s, const struct moe_flow_facet *f, size_t l)
{
	size_t n = f->experts;
	double y = 0, used = 0, sum = 0;

	for (size_t e = 0; e < n; e++) {
		double weight = 0, at = 0;
		s->rank[e] = e;
		for (size_t from = 0; l && from < n; from++) {
			double v = f->link[((l - 1) * n + from) * n + e];
			weight += v;
			at += v * (s->top[(l - 1) * n + from] + s->unit * f->node[(l - 1) * n + from] / 2);
		}
		s->order[e] = weight > 0 ? at / weight : (double)e * 1e-6;
		used += f->node[l * n + e] > 0;
		sum += f->node[l * n + e];
	}
	for (size_t i = 1; i < n; i++)
		for (size_t j = i; j && s->order[s->rank[j]] < s->order[s->rank[j - 1]]; j--)
			swap(&s->rank[j], &s->rank[j - 1]);
	y = (HEIGHT - sum * s->unit - fmax(used - 1, 0) * s->gap) / 2;
	for (size_t i = 0; i < n; i++) {
		size_t e = s->rank[i];
		s->top[l * n + e] = y;
		if (f->node[l * n + e] > 0)
			y += f->node[l * n + e] * s->unit + s->gap;
	}
}

/* Ranks of a layer's experts by height on the sheet. */
static void rank_layer(struct stacks *s, const struct moe_flow_facet *f, size_t l)
{
	size_t n = f->experts;

	for (size_t i = 0; i < n; i++)
		s->rank[i] = i;
	for (size_t i = 1; i < n; i++)
		for (size_t j = i; j && s->top[l * n + s->rank[j]] < s->top[l * n + s->rank[j - 1]]; j--)
			swap(&s->rank[j], &s->rank[j - 1]);
}

static void draw_link(struct moe_pen *p, const struct moe_flow_facet *f, size_t l, size_t from, size_t to, double x0, double y0, double x1, double y1, double h)
{
	size_t n = f->experts;
	double v = f->link[(l * n + from) * n + to], chance = f->node[l * n + from] * f->node[(l + 1) * n + to] / f->tokens;
	char title[200];

	snprintf(title, sizeof title, "layer %zu expert %zu to layer %zu expert %zu: %.4g tokens (by chance %.4g)", f->layer[l], from, f->layer[l + 1], to, v, chance);
	moe_pen_begin(p, &(struct moe_mark){title, -1, (long)f->layer[l], (long)from, (long)to, -1});
	moe_pen_ribbon(p, x0, y0, x1, y1, h, moe_ink_rgb(moe_expert_colour(from), v > 1.5 * chance ? 0.62 : 0.26));
	moe_pen_end(p);
}

/* Streams that are too thin to be seen are not drawn; nor, of many, are those that chance would make. */
static bool is_shown(const struct moe_flow_facet *f, size_t l, size_t from, size_t to, double h)
{
	size_t n = f->experts;

	return h > 0.15 && (n <= MOE_FLOW_ALL || f->link[(l * n + from) * n + to] * f->tokens > 1.5 * f->node[l * n + from] * f->node[(l + 1) * n + to]);
}

/* The streams between layers l and l + 1: those that leave an expert from top to bottom as their targets stand, and the other way round. */
static void draw_links(struct moe_pen *p, struct stacks *s, const struct moe_flow_facet *f, size_t l, double x0, double x1, double y)
{
	size_t n = f->experts;
	double *at = moe_calloc(n * n, sizeof *at);     /* [from][to]: the stream's place on the left */

	for (size_t e = 0; e < n; e++)
		s->out[e] = s->in[e] = 0;
	rank_layer(s, f, l + 1);
	for (size_t i = 0; at && i < n; i++)
		for (size_t from = 0; from < n; from++) {
			size_t to = s->rank[i];
			at[from * n + to] = s->out[from];
			s->out[from] += f->link[(l * n + from) * n + to] * s->unit;
		}
	rank_layer(s, f, l);
	for (size_t i = 0; at && i < n; i++)
		for (size_t to = 0; to < n; to++) {
			size_t from = s->rank[i];
			double h = f->link[(l * n + from) * n + to] * s->unit;
			if (is_shown(f, l, from, to, h))
				draw_link(p, f, l, from, to, x0, y + s->top[l * n + from] + at[from * n + to], x1, y + s->top[(l + 1) * n + to] + s->in[to], h);
			s->in[to] += h;
		}
	free(at);
}

static void draw_nodes(struct moe_pen *p, const struct stacks *s, const struct moe_flow_facet *f, size_t l, double x, double y)
{
	const struct moe_type t = {.size = 10, .anchor = MOE_ANCHOR_MIDDLE, .bold = true}, below = {.size = 11, .anchor = MOE_ANCHOR_MIDDLE};
	char title[160], number[24];

	for (size_t e = 0; e < f->experts; e++) {
		double v = f->node[l * f->experts + e], h = v * s->unit, top = y + s->top[l * f->experts + e];
		if (!(v > 0))
			continue;
		snprintf(title, sizeof title, "layer %zu expert %zu: %.4g of %.6g tokens (%.1f %%)", f->layer[l], e, v, f->tokens, 100 * v / f->tokens);
		snprintf(number, sizeof number, "%zu", e);
		moe_pen_begin(p, &(struct moe_mark){title, -1, (long)f->layer[l], (long)e, -1, -1});
		moe_pen_box(p, x, top, NODE, fmax(h, 0.5), h > 4 ? 2 : 0, moe_ink_rgb(moe_expert_colour(e), 1));
		if (h >= 9)
			moe_pen_text(p, x + NODE / 2.0, top + h / 2 + 3.6, &t, moe_ink_rgb(moe_ink_on(moe_expert_colour(e)), 1), number);
		moe_pen_end(p);
	}
	snprintf(number, sizeof number, "layer %zu", f->layer[l]);
	moe_pen_text(p, x + NODE / 2.0, y + HEIGHT + 20, &below, moe_ink(MOE_PAINT_TEXT), number);
}

struct moe_extent moe_draw_flow(struct moe_pen *p, const struct moe_facet *facet, double x, double y, double most)
{
	const struct moe_flow_facet *f = &facet->flow;
	double step = f->n_layers > 1 ? (most - NODE - LABELS) / (double)(f->n_layers - 1) : 0;
	struct stacks s;

	step = fmin(fmax(step, LEAST_STEP), MOST_STEP);
	if (!moe_pen_draws(p))
		return (struct moe_extent){(double)(f->n_layers - 1) * step + NODE + LABELS, HEIGHT + 28};
	if (stacks_init(&s, f)) {
		for (size_t l = 0; l < f->n_layers; l++)
			place_layer(&s, f, l);
		for (size_t l = 0; l + 1 < f->n_layers; l++)
			draw_links(p, &s, f, l, x + LABELS / 2 + (double)l * step + NODE + 1, x + LABELS / 2 + (double)(l + 1) * step - 1, y);
		for (size_t l = 0; l < f->n_layers; l++)
			draw_nodes(p, &s, f, l, x + LABELS / 2 + (double)l * step, y);
	}
	stacks_free(&s);
	return (struct moe_extent){(double)(f->n_layers - 1) * step + NODE + LABELS, HEIGHT + 28};
}
