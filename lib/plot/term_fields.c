#include <math.h>
#include <string.h>

#include "plot/term_priv.h"

enum { NUMBERED = 4 };         /* columns of a field that has room for per cent, and a space */

static size_t widest(const char **label, size_t n)
{
	size_t most = 0;

	for (size_t i = 0; i < n; i++) {
		size_t w = moe_term_columns(label[i]);
		most = w > most ? w : most;
	}
	return most;
}

/* Columns of a field: its number with a space on each side, or as much as there is. */
static size_t field_width(const struct moe_term *t, const struct moe_fields *g, size_t left)
{
	size_t room = t->width > left + g->columns ? (t->width - left) / g->columns : 1, names = widest(g->column, g->columns) + 1;
	size_t wanted = g->unit == MOE_UNIT_SHARE ? 4 : 5;

	if (names <= 8 && names > wanted)
		wanted = names;
	if (g->fine && wanted < NUMBERED + 1)
		wanted = NUMBERED + 1;
	return room >= wanted ? wanted : room > 2 ? 2 : room;
}

/* What stands in a field: per cent, or, where there is no room for that, a digit for its place on the scale. */
static void field_text(const struct moe_figure *f, const struct moe_fields *g, size_t i, size_t width, char to[16])
{
	char text[8];

	*to = 0;
	if (isnan(g->value[i]))
		return;
	if (width < NUMBERED)
		snprintf(to, 16, "%*d", (int)width, (int)fmin(9, moe_field_place(f, g, i) * 10));
	else
		snprintf(to, 16, "%*s ", (int)width - 1, moe_field_text(g, g->value[i], text));
}

static void print_field(const struct moe_term *t, const struct moe_figure *f, const struct moe_fields *g, size_t i, size_t width)
{
	char text[16];

	field_text(f, g, i, width, text);
	if (isnan(g->value[i]))
		moe_term_spaces(t, width);
	else
		moe_term_field(t, moe_scale_colour(&f->scale, moe_field_place(f, g, i)), text, width);
}

/* Names of columns: each, or every so manieth where they are wider than the fields. */
static void print_columns(const struct moe_term *t, const struct moe_fields *g, size_t left, size_t width)
{
	size_t step = (widest(g->column, g->columns) + width) / width, at = left;

	moe_term_left(t, g->row_name, left);
	for (size_t c = 0; c < g->columns; c += step) {
		size_t n = c + step <= g->columns ? step : g->columns - c;
		if (n * width < moe_term_columns(g->column[c]))
			break;
		moe_term_right(t, g->column[c], width >= NUMBERED ? width - 1 : width);
		moe_term_spaces(t, n * width - (width >= NUMBERED ? width - 1 : width));
		at += n * width;
	}
	moe_term_spaces(t, left + g->columns * width - at);
	fputs("\n", t->f);
}

size_t moe_term_fields(const struct moe_term *t, const struct moe_figure *f, const struct moe_facet *facet)
{
	const struct moe_fields *g = &facet->fields;
	size_t names = widest(g->row, g->rows), left = names + 2 + (g->row_experts && t->colours ? 2 : 0), width;
	size_t row_name = moe_term_columns(g->row_name) + 1, total;

	left = left < row_name && row_name <= 24 ? row_name : left;
	width = field_width(t, g, left);
	total = left + g->columns * width;
	moe_term_spaces(t, left);
	moe_term_left(t, g->column_name, total - left);
	fputs("\n", t->f);
	print_columns(t, g, left, width);
	for (size_t r = 0; r < g->rows; r++) {
		bool swatch = g->row_experts && t->colours;
		moe_term_right(t, g->row[r], left - 1 - (swatch ? 2 : 0));
		moe_term_spaces(t, 1);
		if (swatch) {
			moe_term_field(t, moe_expert_colour(r), "", 1);
			moe_term_spaces(t, 1);
		}
		for (size_t c = 0; c < g->columns; c++)
			print_field(t, f, g, r * g->columns + c, width);
		fputs("\n", t->f);
	}
	if (width < NUMBERED) {
		char note[200];
		size_t columns;
		snprintf(note, sizeof note, "0: %s; 9: %s", f->scale_end[0], f->scale_end[2]);
		columns = moe_term_columns(note);
		total = total > columns ? total : columns;
		moe_term_left(t, note, total);
		fputs("\n", t->f);
	}
	return total;
}
