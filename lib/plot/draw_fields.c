#include <math.h>
#include <stdio.h>

#include "plot/draw_priv.h"

enum { SWATCH = 9 };

/* Sizes of a table of fields. */
struct measures {
	double width, height;           /* of a field */
	double left, type;              /* room for the labels of rows; size of the numbers in the fields, 0: none */
	size_t row_step, column_step;   /* every how manieth label is shown */
};

static double widest(const char **label, size_t n)
{
	double w = 0;

	for (size_t i = 0; i < n; i++)
		w = fmax(w, moe_text_width(label[i], 11, false));
	return w;
}

static struct measures measure(const struct moe_fields *g, double most)
{
	struct measures m = {0};
	double names = widest(g->column, g->columns) + 6 + (g->column_experts ? 2 : 0);

	m.left = 18 + widest(g->row, g->rows) + 6 + (g->row_experts ? SWATCH + 4 : 0);
	m.width = fmin(fmax(36, fmin(names, 72)), (most - m.left) / (double)g->columns);
	if (g->columns > 12)
		m.width = fmin(g->columns > 24 ? 13 : fmax(names, 26), (most - m.left) / (double)g->columns);
	m.width = fmax(m.width, 4);
	m.height = g->rows <= 16 ? 24 : g->rows <= 32 ? 19 : g->rows <= 64 ? 11 : 8;
	if (g->rows == g->columns && m.width < 36)
		m.height = fmin(m.height, m.width);
	m.type = m.width >= 24 && m.height >= 14 ? fmin(11, m.height - 4) : 0;
	m.row_step = (size_t)ceil(11 / m.height);
	m.column_step = (size_t)ceil(names / m.width);
	return m;
}

static void draw_field(struct moe_pen *p, const struct moe_figure *f, const struct moe_facet *facet, size_t row, size_t column, const struct measures *m,
		       double x, double y)
{
	const struct moe_fields *g = &facet->fields;
	size_t i = row * g->columns + column;
	struct moe_rgb paper = moe_scale_colour(&f->scale, moe_field_place(f, g, i));
	const struct moe_type t = {.size = m->type, .anchor = MOE_ANCHOR_MIDDLE};
	char title[300], share[32], chance[32], text[8];
	double gap = m->width > 8 && m->height > 8 ? 1 : 0.25;
	int n;

	if (isnan(g->value[i]))
		return;
	n = snprintf(title, sizeof title, "%.40s %.40s, %.40s %.40s: %s", g->row_name, g->row[row], g->column_name, g->column[column],
		     moe_unit_text(g->unit, g->value[i], share));
	if (g->count)
		n += snprintf(title + n, sizeof title - (size_t)n, ", %.6g %.40s", g->count[i], g->count_name);
	if (!isnan(g->chance[i]))
		snprintf(title + n, sizeof title - (size_t)n, " (chance %s)", moe_unit_text(MOE_UNIT_SHARE, g->chance[i], chance));
	moe_pen_begin(p, &(struct moe_mark){title, -1, -1, g->row_experts ? (long)row : -1, -1, -1});
	moe_pen_box(p, x, y, m->width - gap, m->height - gap, gap < 1 ? 0 : 2, moe_ink_rgb(paper, 1));
	if (m->type > 0)
		moe_pen_text(p, x + (m->width - gap) / 2, y + (m->height - gap) / 2 + m->type * 0.36, &t, moe_ink_rgb(moe_ink_on(paper), 1),
			     moe_field_text(g, g->value[i], text));
	moe_pen_end(p);
}

static void draw_labels(struct moe_pen *p, const struct moe_fields *g, const struct measures *m, double x, double y)
{
	struct moe_type t = {.size = 11, .anchor = MOE_ANCHOR_END};
	double bottom = y + (double)g->rows * m->height;

	for (size_t r = 0; r < g->rows; r += m->row_step) {
		double middle = y + ((double)r + 0.5) * m->height - 0.5;
		if (g->row_experts)
			moe_pen_box(p, x + m->left - SWATCH - 5, middle - SWATCH / 2.0, SWATCH, SWATCH, 2, moe_ink_rgb(moe_expert_colour(r), 1));
		moe_pen_text(p, x + m->left - 6 - (g->row_experts ? SWATCH + 4 : 0), middle + 4, &t, moe_ink(MOE_PAINT_TEXT), g->row[r]);
	}
	t.anchor = MOE_ANCHOR_MIDDLE;
	for (size_t c = 0; c < g->columns; c += m->column_step) {
		double middle = x + m->left + ((double)c + 0.5) * m->width - 0.5;
		if (g->column_experts)
			moe_pen_box(p, middle - SWATCH / 2.0, bottom + 3, SWATCH, SWATCH, 2, moe_ink_rgb(moe_expert_colour(c), 1));
		moe_pen_text(p, middle, bottom + 13 + (g->column_experts ? SWATCH + 3 : 0), &t, moe_ink(MOE_PAINT_TEXT), g->column[c]);
	}
}

struct moe_extent moe_draw_fields(struct moe_pen *p, const struct moe_figure *f, const struct moe_facet *facet, double x, double y, double most)
{
	const struct moe_fields *g = &facet->fields;
	struct measures m = measure(g, most);
	double width = (double)g->columns * m.width, height = (double)g->rows * m.height, below = g->column_experts ? SWATCH + 3 : 0;
	const struct moe_type middle = {.size = 11, .anchor = MOE_ANCHOR_MIDDLE}, turned = {.size = 11, .anchor = MOE_ANCHOR_MIDDLE, .turn = -90};

	for (size_t r = 0; r < g->rows && moe_pen_draws(p); r++)
		for (size_t c = 0; c < g->columns; c++)
			draw_field(p, f, facet, r, c, &m, x + m.left + (double)c * m.width, y + (double)r * m.height);
	draw_labels(p, g, &m, x, y);
	moe_pen_text(p, x + 10, y + height / 2, &turned, moe_ink(MOE_PAINT_FAINT), g->row_name);
	moe_pen_text(p, x + m.left + width / 2, y + height + 28 + below, &middle, moe_ink(MOE_PAINT_FAINT), g->column_name);
	return (struct moe_extent){m.left + width, height + 32 + below};
}
