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
static void print_columns(const struct moe_term *t, const struct moe_fields *g, size_t left, size_t width, size_t total)
{
	size_t step = (widest(g->column, g->columns) + width) / width, at = left;

	moe_term_left(t, moe_term_columns(g->row_name) < left ? g->row_name : "", left);
	for (size_t c = 0; c < g->columns; c += step) {
		size_t n = c + step <= g->columns ? step : g->columns - c;
		if (n * width < moe_term_columns(g->column[c]))
			break;
		moe_term_right(t, g->column[c], width >= NUMBERED ? width - 1 : width);
		moe_term_spaces(t, n * width - (width >= NUMBERED ? width - 1 : width));
		at += n * width;
	}
	moe_term_spaces(t, total - at);
	fputs("\n", t->f);
}

/* Columns of the labels of rows. */
static size_t label_width(const struct moe_term *t, const struct moe_fields *g)
{
	size_t left = widest(g->row, g->rows) + 2 + (g->row_experts && t->colours ? 2 : 0), name = moe_term_columns(g->row_name) + 1;

	return left < name && name + g->columns * NUMBERED <= t->width ? name : left;
}

bool moe_term_narrow(const struct moe_term *t, const struct moe_figure *f)
{
	for (size_t i = 0; i < f->n_facets; i++)
		if (f->facet[i].kind == MOE_FACET_FIELDS && field_width(t, &f->facet[i].fields, label_width(t, &f->facet[i].fields)) < NUMBERED)
			return true;
	return false;
}

size_t moe_term_fields(const struct moe_term *t, const struct moe_figure *f, const struct moe_facet *facet)
{
	const struct moe_fields *g = &facet->fields;
	size_t left = label_width(t, g), width = field_width(t, g, left), row_name = moe_term_columns(g->row_name) + 1, total;

	total = left + g->columns * width;
	total = total < left + moe_term_columns(g->column_name) ? left + moe_term_columns(g->column_name) : total;
	if (row_name > left) {
		total = total < row_name + 6 ? row_name + 6 : total;
		fputs("rows: ", t->f);
		moe_term_left(t, g->row_name, total - 6);
		fputs("\n", t->f);
	}
	moe_term_spaces(t, left);
	moe_term_left(t, g->column_name, total - left);
	fputs("\n", t->f);
	print_columns(t, g, left, width, total);
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
		moe_term_spaces(t, total - left - g->columns * width);
		fputs("\n", t->f);
	}
	return total;
}
