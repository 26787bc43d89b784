#include <math.h>

#include "plot/term_priv.h"

enum { NAME = 14, ENDS = 22 };

/* The value of a line near a share of the way along x. */
static double near(const struct moe_line *line, double lo, double hi, double share)
{
	double x = lo + (hi - lo) * share, best = INFINITY, y = NAN;

	for (size_t i = 0; i < line->n; i++)
		if (isfinite(line->y[i]) && fabs(line->x[i] - x) < best) {
			best = fabs(line->x[i] - x);
			y = line->y[i];
		}
	return y;
}

static void range(const struct moe_line_facet *f, double x[2], double *top)
{
	x[0] = INFINITY;
	x[1] = -INFINITY;
	*top = isnan(f->chance) ? 0 : f->chance;
	for (size_t i = 0; i < f->n; i++)
		for (size_t j = 0; j < f->line[i].n; j++) {
			x[0] = fmin(x[0], f->line[i].x[j]);
			x[1] = fmax(x[1], f->line[i].x[j]);
			*top = isfinite(f->line[i].y[j]) ? fmax(*top, f->line[i].y[j]) : *top;
		}
}

/* A line as eighths of blocks, or as digits from 0 to 9. */
static void print_line(const struct moe_term *t, const struct moe_line *line, const double x[2], double top, size_t columns)
{
	static const char *const eighth[] = {" ", "\u2581", "\u2582", "\u2583", "\u2584", "\u2585", "\u2586", "\u2587", "\u2588"};
	struct moe_rgb colour = moe_expert_colour(line->colour);
	char text[80];

	moe_term_left(t, line->name, NAME);
	if (!line->faint)
		moe_term_on(t, &colour, NULL);
	for (size_t i = 0; i < columns; i++) {
		double y = near(line, x[0], x[1], columns > 1 ? (double)i / (double)(columns - 1) : 0), share = top > 0 && isfinite(y) ? fmin(fmax(y / top, 0), 1) : 0;
		if (t->colours)
			fputs(eighth[(int)(share * 8 + 0.5)], t->f);
		else
			fputc('0' + (int)(share * 9 + 0.5), t->f);
	}
	moe_term_off(t);
	snprintf(text, sizeof text, " %5.1f to %5.1f %%", 100 * near(line, x[0], x[1], 0), 100 * near(line, x[0], x[1], 1));
	moe_term_left(t, text, ENDS);
	fputs("\n", t->f);
}

size_t moe_term_lines(const struct moe_term *t, const struct moe_facet *facet)
{
	const struct moe_line_facet *f = &facet->lines;
	double x[2], top;
	size_t columns = t->width > NAME + ENDS + 20 ? t->width - NAME - ENDS : 20, most = 0, total;
	char text[160];

	for (size_t i = 0; i < f->n; i++)
		most = f->line[i].n > most ? f->line[i].n : most;
	columns = columns > 40 ? 40 : columns;
	columns = most < columns ? most : columns;
	total = NAME + columns + ENDS;
	range(f, x, &top);
	for (size_t i = 0; i < f->n; i++)
		print_line(t, &f->line[i], x, top, columns);
	snprintf(text, sizeof text, "%s from 0 to %.3g %% over %s", f->y_name, 100 * top, f->x_name);
	moe_term_left(t, text, total);
	fputs("\n", t->f);
	return total;
}
