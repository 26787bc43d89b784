#include <math.h>
#include <stdio.h>
#include <string.h>

#include "plot/draw_priv.h"
#include "report/amount.h"

enum { WIDTH = 330, HEIGHT = 190, LEFT = 46, BELOW = 40, MOST_LABELS = 12 };

struct axis { double lo, hi, step; };

static double round_step(double v)
{
	double unit = pow(10, floor(log10(v) + 1e-9)), m = v / unit;

	return unit * (m > 5 ? 10 : m > 2 ? 5 : m > 1 ? 2 : 1);
}

static struct axis axis_of(double lo, double hi, int parts)
{
	struct axis a = {lo, hi, 1};

	if (!(hi > lo))
		a.hi = lo + (lo ? fabs(lo) : 1);
	a.step = round_step((a.hi - a.lo) / parts);
	return a;
}

/* Where number i of the labels stands; false: there are no more. (Numbers that differ by their last bits alone have room for none between them.) */
static bool label_at(const struct axis *a, int i, double *v)
{
	*v = (ceil(a->lo / a->step - 1e-9) + i) * a->step + 0.0;
	return i < MOST_LABELS && *v <= a->hi + 1e-6 * a->step;
}

static void range(const struct moe_line_facet *f, bool y, double *lo, double *hi)
{
	*lo = INFINITY;
	*hi = -INFINITY;
	for (size_t i = 0; i < f->n; i++)
		for (size_t j = 0; j < f->line[i].n; j++) {
			double v = y ? f->line[i].y[j] : f->line[i].x[j];
			*lo = isfinite(v) ? fmin(*lo, v) : *lo;
			*hi = isfinite(v) ? fmax(*hi, v) : *hi;
		}
	if (*lo > *hi)
		*lo = *hi = 0;
}

struct plane {
	struct axis x, y;
	double left, top, width;
};

static double at_x(const struct plane *a, double v) { return a->left + (v - a->x.lo) / (a->x.hi - a->x.lo) * a->width; }

static double at_y(const struct plane *a, double v) { return a->top + HEIGHT - (v - a->y.lo) / (a->y.hi - a->y.lo) * HEIGHT; }

static void draw_axes(struct moe_pen *p, const struct moe_line_facet *f, const struct plane *a)
{
	const struct moe_type end = {.size = 11, .anchor = MOE_ANCHOR_END}, middle = {.size = 11, .anchor = MOE_ANCHOR_MIDDLE};
	const struct moe_type turned = {.size = 11, .anchor = MOE_ANCHOR_MIDDLE, .turn = -90};
	char text[40];
	double v;

	for (int i = 0; label_at(&a->y, i, &v); i++) {
		double xs[] = {a->left, a->left + a->width}, ys[] = {at_y(a, v), at_y(a, v)};
		moe_pen_line(p, xs, ys, 2, moe_ink(MOE_PAINT_RULE), 0.7, false);
		snprintf(text, sizeof text, "%.3g", 100 * v + 0.0);
		moe_pen_text(p, a->left - 6, ys[0] + 4, &end, moe_ink(MOE_PAINT_TEXT), text);
	}
	if (f->tick) {
		size_t step = 1;
		double widest = 0;
		for (size_t i = 0; i < f->n_ticks; i++)
			widest = fmax(widest, moe_text_width(f->tick[i], 11, false) + 8);
		if (f->n_ticks > 1)
			step = (size_t)fmax(1, ceil(widest * (double)(f->n_ticks - 1) / a->width));
		for (size_t i = 0; i < f->n_ticks; i += step)
			moe_pen_text(p, at_x(a, (double)i), a->top + HEIGHT + 16, &middle, moe_ink(MOE_PAINT_TEXT), f->tick[i]);
	} else {
		for (int i = 0; label_at(&a->x, i, &v); i++)
			moe_pen_text(p, at_x(a, v), a->top + HEIGHT + 16, &middle, moe_ink(MOE_PAINT_TEXT), moe_amount_text(v, 4, text));
	}
	moe_pen_text(p, a->left + a->width / 2, a->top + HEIGHT + 33, &middle, moe_ink(MOE_PAINT_FAINT), f->x_name);
	snprintf(text, sizeof text, "%.30s (%%)", f->y_name);
	moe_pen_text(p, a->left - 34, a->top + HEIGHT / 2.0, &turned, moe_ink(MOE_PAINT_FAINT), text);
}

/* A line, interrupted where there is no value; its points, where they are few. */
static void draw_line(struct moe_pen *p, const struct moe_line *line, const struct plane *a)
{
	struct moe_ink ink = line->faint ? moe_ink(MOE_PAINT_RULE) : moe_ink_rgb(moe_expert_colour(line->colour), 1);
	double x[256], y[256];
	size_t n = 0;

	moe_pen_begin(p, &(struct moe_mark){line->name, -1, -1, line->faint ? -1 : (long)line->colour, -1, -1});
	for (size_t i = 0; i <= line->n; i++) {
		bool good = i < line->n && isfinite(line->y[i]) && isfinite(line->x[i]);
		if (n && (!good || n == 256)) {
			moe_pen_line(p, x, y, n, ink, line->faint ? 1 : 2, false);
			x[0] = x[n - 1];
			y[0] = y[n - 1];
			n = good;
		}
		if (good) {
			x[n] = at_x(a, line->x[i]);
			y[n++] = at_y(a, line->y[i]);
			if (line->n <= 24 && !line->faint)
				moe_pen_disc(p, at_x(a, line->x[i]), at_y(a, line->y[i]), 2.6, ink);
		}
	}
	moe_pen_end(p);
}

struct moe_extent moe_draw_lines(struct moe_pen *p, const struct moe_facet *facet, double x, double y, double most)
{
	const struct moe_line_facet *f = &facet->lines;
	struct plane a = {.left = x + LEFT, .top = y + 4, .width = fmin(WIDTH, most - LEFT - 8)};
	double lo, hi;

	range(f, false, &lo, &hi);
	a.x = axis_of(lo, hi, 4);
	range(f, true, &lo, &hi);
	if (!isnan(f->chance)) {
		lo = fmin(lo, f->chance);
		hi = fmax(hi, f->chance);
	}
	a.y = axis_of(fmin(lo, 0), hi, 4);
	a.y.hi = ceil(a.y.hi / a.y.step - 1e-9) * a.y.step;
	draw_axes(p, f, &a);
	for (size_t i = 0; i < f->n; i++)
		draw_line(p, &f->line[i], &a);
	if (!isnan(f->chance)) {
		double xs[] = {a.left, a.left + a.width}, ys[] = {at_y(&a, f->chance), at_y(&a, f->chance)};
		const struct moe_type end = {.size = 11, .anchor = MOE_ANCHOR_END};
		moe_pen_line(p, xs, ys, 2, moe_ink(MOE_PAINT_TEXT), 1.2, true);
		moe_pen_text(p, xs[1], ys[0] - 4, &end, moe_ink(MOE_PAINT_TEXT), f->chance_name);
	}
	return (struct moe_extent){LEFT + a.width + 8, HEIGHT + 4 + BELOW};
}
