#include <math.h>
#include <stdio.h>

#include "plot/draw_priv.h"
#include "plot/mixture.h"

/* Heights of a line's parts; least width of a word. */
enum { WORD = 21, BAR = 14, SLIM = 7, GAP = 3, BELOW = 12, LEAST = 26, PICTURE = 150 };

static double word_width(const struct moe_word *w)
{
	double text = moe_text_width(w->text, 13, w->patches) + 8;

	return w->patches ? fmax(text, PICTURE) : fmax(text, LEAST);
}

/* The mixture of a word in a layer, as a bar. */
static void draw_bar(struct moe_pen *p, const struct moe_text_facet *f, const struct moe_word *w, size_t layer, double x, double y, double width, double height)
{
	const struct moe_type t = {.size = 10, .anchor = MOE_ANCHOR_MIDDLE};
	struct moe_mixture m;
	char title[500], number[8];
	double at = x;
	int n;

	moe_mixture_of(&m, f, w, layer);
	n = snprintf(title, sizeof title, "%.60s, layer %zu: expert", w->text, f->layer[layer]);
	for (size_t i = 0; i < m.n && (size_t)n < sizeof title - 24; i++)
		n += snprintf(title + n, sizeof title - (size_t)n, "%s %u (%.0f %%)", i ? "," : "", m.part[i].expert, 100 * m.part[i].share);
	moe_pen_begin(p, &(struct moe_mark){m.n ? title : NULL, w->patches ? -1 : (long)w->token, (long)f->layer[layer], m.n ? (long)m.part[0].expert : -1, -1, -1});
	for (size_t i = 0; i < m.n; i++) {
		struct moe_rgb colour = moe_expert_colour(m.part[i].expert);
		double part = width * m.part[i].share;
		moe_pen_box(p, at, y, part, height, 0, moe_ink_rgb(colour, 1));
		snprintf(number, sizeof number, "%u", m.part[i].expert);
		if (height >= BAR - 1 && part >= moe_text_width(number, 10, false) + 2)
			moe_pen_text(p, at + part / 2, y + height / 2 + 3.6, &t, moe_ink_rgb(moe_ink_on(colour), 1), number);
		at += part;
	}
	if (f->differs && !w->patches && f->differs[layer][w->token])
		moe_pen_frame(p, x + 0.8, y + 0.8, width - 1.6, height - 1.6, 1, moe_ink(MOE_PAINT_TEXT), 1.8);
	if (m.n && x + width - at > 0.5)
		moe_pen_box(p, at, y, x + width - at, height, 0, moe_ink(MOE_PAINT_RULE));
	moe_pen_end(p);
}

static void draw_word(struct moe_pen *p, const struct moe_text_facet *f, const struct moe_word *w, double x, double y, double width, double bar)
{
	const struct moe_type t = {.size = 13, .anchor = MOE_ANCHOR_MIDDLE, .bold = w->made};
	struct moe_mark part = moe_mark(NULL);

	part.token = w->patches ? -1 : (long)w->token;
	moe_pen_begin(p, &part);
	moe_pen_text(p, x + width / 2, y + 14, &t, moe_ink(w->patches ? MOE_PAINT_FAINT : MOE_PAINT_TEXT), w->text);
	if (w->made)
		moe_pen_box(p, x + 1, y + 18, width - 2, 1.5, 0, moe_ink(MOE_PAINT_TEXT));
	moe_pen_end(p);
	for (size_t l = 0; l < f->n_layers && moe_pen_draws(p); l++)
		draw_bar(p, f, w, l, x, y + WORD + (double)l * bar, width, bar - 1);
}

static void draw_layers(struct moe_pen *p, const struct moe_text_facet *f, double x, double y, double bar)
{
	const struct moe_type t = {.size = 10, .anchor = MOE_ANCHOR_END};
	size_t step = bar >= 11 ? 1 : 2;
	char name[32];

	for (size_t l = 0; l < f->n_layers; l += step) {
		snprintf(name, sizeof name, l ? "%zu" : "layer %zu", f->layer[l]);
		moe_pen_text(p, x, y + WORD + ((double)l + 0.5) * bar + 3, &t, moe_ink(MOE_PAINT_FAINT), name);
	}
}

struct moe_extent moe_draw_text(struct moe_pen *p, const struct moe_facet *facet, double x, double y, double most)
{
	const struct moe_text_facet *f = &facet->text;
	double bar = f->n_layers <= 12 ? BAR : SLIM, line = WORD + (double)f->n_layers * bar + BELOW, left = 48, at = left, top = 0, widest = 0;

	draw_layers(p, f, x + left - 6, y, bar);
	for (size_t i = 0; i < f->n; i++) {
		double w = word_width(&f->word[i]);
		if (at > left && at + w > most) {
			at = left;
			top += line;
			draw_layers(p, f, x + left - 6, y + top, bar);
		}
		draw_word(p, f, &f->word[i], x + at, y + top, w, bar);
		at += w + GAP;
		widest = fmax(widest, at);
	}
	return (struct moe_extent){widest, top + line - BELOW};
}
