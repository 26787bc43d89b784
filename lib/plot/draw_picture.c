#include <math.h>
#include <stdio.h>

#include "plot/draw_priv.h"
#include "trace/trace.h"

enum { LEAST_WIDTH = 208, MOST_WIDTH = 440, CELL = 25, NUMBERED = 15 };

/* The second expert in the corner, where there is room. */
static void draw_second(struct moe_pen *p, uint16_t expert, double x, double y, double w, double h)
{
	double side = fmin(w, h) * 0.32;

	if (expert == MOE_NO_EXPERT)
		return;
	moe_pen_box(p, x + w - side - 0.6, y + h - side - 0.6, side, side, 1.5, moe_ink_rgb(moe_expert_colour(expert), 1));
	moe_pen_frame(p, x + w - side - 0.6, y + h - side - 0.6, side, side, 1.5, moe_ink_rgb((struct moe_rgb){255, 255, 255}, 0.9), 0.9);
}

static void draw_place(struct moe_pen *p, const struct moe_picture_facet *f, const struct moe_patch_place *at, double x, double y, double scale)
{
	double w = at->width * scale, h = at->height * scale, left = x + at->x * scale, top = y + at->y * scale, gap = fmin(w, h) > 10 ? 0.5 : 0;
	unsigned expert = at->chosen.expert[0];
	struct moe_type t = {.size = fmin(11.5, fmin(w, h) * 0.48), .anchor = MOE_ANCHOR_MIDDLE, .bold = true, .halo = true};
	char title[400], chosen[240], number[8];

	snprintf(title, sizeof title, "layer %zu, patch in row %zu, column %zu: expert %s", f->layer, at->row, at->column,
		 moe_chosen_text(&at->chosen, f->k, chosen, sizeof chosen));
	moe_pen_begin(p, &(struct moe_mark){title, (long)at->token, (long)f->layer, expert == MOE_NO_EXPERT ? -1 : (long)expert, -1, -1});
	if (expert != MOE_NO_EXPERT) {
		struct moe_rgb colour = moe_expert_colour(expert);
		moe_pen_box(p, left + gap, top + gap, w - 2 * gap, h - 2 * gap, gap * 3, moe_ink_rgb(colour, 0.68));
		if (fmin(w, h) >= NUMBERED) {
			bool second = f->k > 1 && at->chosen.expert[1] != MOE_NO_EXPERT;
			snprintf(number, sizeof number, "%u", expert);
			moe_pen_text(p, left + w * (second ? 0.42 : 0.5), top + h * (second ? 0.45 : 0.5) + t.size * 0.36, &t,
				     moe_ink_rgb((struct moe_rgb){255, 255, 255}, 1), number);
			if (second)
				draw_second(p, at->chosen.expert[1], left, top, w, h);
		}
	}
	if (at->differs) {
		moe_pen_frame(p, left + 1.5, top + 1.5, w - 3, h - 3, 2, moe_ink_rgb((struct moe_rgb){255, 255, 255}, 1), 3.4);
		moe_pen_frame(p, left + 1.5, top + 1.5, w - 3, h - 3, 2, moe_ink_rgb((struct moe_rgb){0, 0, 0}, 1), 1.8);
	}
	moe_pen_end(p);
}

/* The lines between patches, on the picture itself. */
static void draw_grid(struct moe_pen *p, const struct moe_picture_facet *f, double x, double y, double w, double h)
{
	struct moe_ink ink = moe_ink_rgb((struct moe_rgb){128, 128, 128}, 0.4);

	for (size_t c = 1; c < f->columns; c++) {
		double at = x + w * (double)c / (double)f->columns, xs[] = {at, at}, ys[] = {y, y + h};
		moe_pen_line(p, xs, ys, 2, ink, 0.6, false);
	}
	for (size_t r = 1; r < f->rows; r++) {
		double at = y + h * (double)r / (double)f->rows, xs[] = {x, x + w}, ys[] = {at, at};
		moe_pen_line(p, xs, ys, 2, ink, 0.6, false);
	}
}

struct moe_extent moe_draw_picture(struct moe_pen *p, const struct moe_facet *facet, double x, double y, double most)
{
	const struct moe_picture_facet *f = &facet->picture;
	double w = fmin(fmin(fmax((double)f->columns * CELL, LEAST_WIDTH), MOST_WIDTH), most), scale = w / f->width, h = f->height * scale;
	struct moe_mark part = moe_mark(f->bare ? "the picture as the model sees it" : NULL);

	part.picture = f->number;
	part.layer = facet->layer;
	moe_pen_begin(p, &part);
	moe_pen_box(p, x, y, w, h, 0, moe_ink_rgb(f->bare ? f->paper : moe_grey(f->paper), 1));
	moe_pen_image(p, f->picture, f->number, !f->bare, x + f->x * scale, y + f->y * scale, f->w * scale, f->h * scale);
	if (f->bare)
		draw_grid(p, f, x, y, w, h);
	moe_pen_end(p);
	for (size_t i = 0; i < f->n; i++)
		draw_place(p, f, &f->place[i], x, y, scale);
	moe_pen_frame(p, x - 0.5, y - 0.5, w + 1, h + 1, 0, moe_ink(MOE_PAINT_RULE), 1);
	return (struct moe_extent){w, h};
}
