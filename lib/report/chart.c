#include "report/chart.h"

#include <math.h>
#include <string.h>

#include "report/amount.h"

/* Pixels of the picture; of the plot inside. */
enum { WIDTH = 720, LEFT = 64, RIGHT = 704, TOP = 64, BOTTOM = 352, UNDER = 48, MOST_TICKS = MOE_CHART_ROWS, LEGEND_ROW = 18,
       PER_ROW = 26, MOST_LEFT = 300 };

static const char *const colours[MOE_CHART_COLOURS] = {"#3388ff", "#dd5500", "#663388", "#ff9955", "#992222", "#bbaadd", "#1100ff", "#997799"};

/* Marks of points, about (0, 0): disc, square, triangle, diamond, and the same hollow. */
static const char *const marks[MOE_CHART_COLOURS] = {
	"M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z", "M-3.5-3.5h7v7h-7z", "M0-4.5L4.2 3.2h-8.4z", "M0-5L5 0L0 5L-5 0z",
	"M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0zM-2 0a2 2 0 1 1 4 0a2 2 0 1 1-4 0z", "M-3.5-3.5h7v7h-7zM-1.5-1.5v3h3v-3z", "M0-4.5L4.2 3.2h-8.4zM0-1L-1.4 1.6h2.8z",
	"M0-5L5 0L0 5L-5 0zM0-2.2L-2.2 0L0 2.2L2.2 0z",
};

const char *moe_chart_colour(size_t number) { return colours[number % MOE_CHART_COLOURS]; }

static size_t colour_of(const struct moe_chart *c, size_t series)
{
	return (c->series[series].colour ? c->series[series].colour - 1 : series) % MOE_CHART_COLOURS;
}

struct axis {
	double lo, hi;          /* of the values, or of their logarithms to the base 10 */
	double from, to;        /* where these lie, in pixels */
	bool is_log;
	double tick[MOST_TICKS];        /* values */
	size_t n_ticks;
};

/* In pixels. */
static double place(const struct axis *a, double v) { return a->from + ((a->is_log ? log10(v) : v) - a->lo) / (a->hi - a->lo) * (a->to - a->from); }

static bool shown(const struct moe_chart *c, const struct moe_series *s, size_t i)
{
	return isfinite(s->x[i]) && isfinite(s->y[i]) && (!c->log_x || s->x[i] > 0) && (!c->log_y || s->y[i] > 0);
}

/* The largest of 1, 2, 5 times a power of ten that is not above v. */
static double round_down(double v)
{
	double unit = pow(10, floor(log10(v) + 1e-9)), m = v / unit;

	return unit * (m >= 5 ? 5 : m >= 2 ? 2 : 1);
}

/* `whole`: the axis ends at a tick. */
static void linear_ticks(struct axis *a, bool whole)
{
	double step = round_down((a->hi - a->lo) / 4);

	a->lo = floor(a->lo / step + 1e-9) * step;
	if (whole)
		a->hi = ceil(a->hi / step - 1e-9) * step;
	for (double k = 0; a->n_ticks < MOST_TICKS && a->lo + k * step <= a->hi + step * 1e-6; k++)
		a->tick[a->n_ticks++] = a->lo + k * step;
}

/* Where there is less than half a decade: even steps of the values. */
static void narrow_log_ticks(struct axis *a)
{
	double lo = pow(10, a->lo), hi = pow(10, a->hi), step = round_down((hi - lo) / 4), margin = 0.04 * (a->hi - a->lo);

	a->lo -= margin;
	a->hi += margin;
	for (double v = ceil(pow(10, a->lo) / step) * step; a->n_ticks < MOST_TICKS && v <= pow(10, a->hi); v += step)
		a->tick[a->n_ticks++] = v;
}

/* Powers of ten, and 2 and 5 times them where there are few. */
static void log_ticks(struct axis *a)
{
	static const double parts[] = {1, 2, 5};
	bool few;

	if (a->hi - a->lo < 0.5) {
		narrow_log_ticks(a);
		return;
	}
	a->lo = floor(a->lo * 5 + 1e-9) / 5;
	a->hi = ceil(a->hi * 5 - 1e-9) / 5;
	few = a->hi - a->lo < 3;
	for (double e = floor(a->lo); e <= a->hi; e++)
		for (int i = 0; i < (few ? 3 : 1); i++) {
			double at = e + log10(parts[i]);
			if (a->n_ticks < MOST_TICKS && at >= a->lo - 1e-9 && at <= a->hi + 1e-9)
				a->tick[a->n_ticks++] = pow(10, e) * parts[i];
		}
}

/* Where the plot ends: names of rows need room, and each row a height. */
static double left_of(const struct moe_chart *c)
{
	size_t most = 0;

	for (size_t i = 0; i < c->n_rows; i++)
		most = strlen(c->row[i]) > most ? strlen(c->row[i]) : most;
	return fmin(fmax(LEFT, 16 + 7 * (double)most), MOST_LEFT);
}

static double bottom_of(const struct moe_chart *c) { return c->n_rows ? TOP + PER_ROW * (double)c->n_rows : BOTTOM; }

static void row_ticks(struct axis *a, size_t n)
{
	a->lo = (double)n - 0.5;
	a->hi = -0.5;
	for (; a->n_ticks < n && a->n_ticks < MOST_TICKS; a->n_ticks++)
		a->tick[a->n_ticks] = (double)a->n_ticks;
}

/* The range of all that is shown; false: nothing is. */
static bool make_axis(struct axis *a, const struct moe_chart *c, bool y)
{
	*a = (struct axis){.lo = INFINITY, .hi = -INFINITY, .is_log = y ? c->log_y : c->log_x, .from = y ? bottom_of(c) : left_of(c), .to = y ? TOP : RIGHT};
	for (size_t s = 0; s < c->n_series; s++)
		for (size_t i = 0; i < c->series[s].n; i++)
			if (shown(c, &c->series[s], i)) {
				double v = y ? c->series[s].y[i] : c->series[s].x[i];
				v = a->is_log ? log10(v) : v;
				a->lo = fmin(a->lo, v);
				a->hi = fmax(a->hi, v);
			}
	if (!(a->lo <= a->hi))
		return false;
	if (y && c->n_rows) {
		row_ticks(a, c->n_rows);
		return true;
	}
	if (!a->is_log)
		a->lo = fmin(a->lo, 0);         /* an axis of amounts begins at nothing */
	if (a->hi - a->lo < 1e-9 * fmax(fabs(a->hi), 1e-9)) {
		double by = fmax(fabs(a->hi) * 0.5, 0.5);
		a->lo -= a->is_log ? 0.5 : a->lo < 0 ? by : 0;
		a->hi += by;
	}
	if (a->is_log)
		log_ticks(a);
	else
		linear_ticks(a, y);
	return true;
}

static void escaped(FILE *f, const char *s)
{
	for (; *s; s++)
		switch (*s) {
		case '<': fputs("&lt;", f); break;
		case '>': fputs("&gt;", f); break;
		case '&': fputs("&amp;", f); break;
		case '"': fputs("&quot;", f); break;
		default: fputc((unsigned char)*s < ' ' ? '?' : *s, f);
		}
}

static void begin(FILE *f, const struct moe_chart *c)
{
	double height = bottom_of(c) + UNDER;

	fprintf(f, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %g\" width=\"%d\" height=\"%g\" role=\"img\" "
		"font-family=\"system-ui, sans-serif\" font-size=\"12\">\n<title>", WIDTH, height, WIDTH, height);
	escaped(f, c->title);
	fputs("</title>\n<style>text{fill:#444}.axis{stroke:#888}.grid{stroke:#888;stroke-opacity:.25}@media(prefers-color-scheme:dark){text{fill:#ccc}}</style>\n"
	      "<text x=\"64\" y=\"24\" font-size=\"15\" font-weight=\"600\">", f);
	escaped(f, c->title);
	fputs("</text>\n", f);
}

/* Does any series of points have the colour of this one, so that its mark belongs to the line? */
static bool marked(const struct moe_chart *c, size_t series)
{
	for (size_t s = 0; s < c->n_series; s++)
		if (c->series[s].points && colour_of(c, s) == colour_of(c, series))
			return true;
	return false;
}

static void key(FILE *f, const struct moe_chart *c, size_t s, double x, double y)
{
	const char *colour = colours[colour_of(c, s)];

	if (!c->series[s].points)
		fprintf(f, "<path d=\"M%g %gh18\" stroke=\"%s\" stroke-width=\"2.5\"%s/>", x, y, colour,
			c->series[s].dashed ? " stroke-dasharray=\"5 4\"" : "");
	if (marked(c, s))
		fprintf(f, "<path transform=\"translate(%g %g)\" d=\"%s\" fill=\"%s\" fill-rule=\"evenodd\"/>", x + 9, y, marks[colour_of(c, s)], colour);
	fprintf(f, "<text x=\"%g\" y=\"%g\">", x + 24, y + 4);
	escaped(f, c->series[s].name);
	fputs("</text>\n", f);
}

/* Returns its rows. */
static int legend(FILE *f, const struct moe_chart *c)
{
	double x = LEFT;
	int rows = 1;

	for (size_t s = 0; s < c->n_series; s++) {
		double width = c->series[s].name ? 40 + 6.5 * (double)strlen(c->series[s].name) : 0;
		if (!c->series[s].name)
			continue;
		if (x > LEFT && x + width > RIGHT + 16) {
			x = LEFT;
			rows++;
		}
		key(f, c, s, x, 44 + LEGEND_ROW * (rows - 1));
		x += width;
	}
	return rows;
}

static const char *tick_text(double v, char to[32]) { return moe_amount_text(fabs(v) < 1e-12 ? 0 : v, 6, to); }

static void axes(FILE *f, const struct moe_chart *c, const struct axis *x, const struct axis *y)
{
	char text[32];

	for (size_t i = 0; i < y->n_ticks; i++) {
		double at = place(y, y->tick[i]);
		fprintf(f, "<path class=\"grid\" d=\"M%g %.1fH%d\"/><text x=\"%g\" y=\"%.1f\" text-anchor=\"end\">", x->from, at, RIGHT, x->from - 8, at + 4);
		escaped(f, c->n_rows ? c->row[i] : tick_text(y->tick[i], text));
		fputs("</text>\n", f);
	}
	for (size_t i = 0; i < x->n_ticks; i++) {
		double at = place(x, x->tick[i]);
		fprintf(f, "<path class=\"axis\" d=\"M%.1f %gv5\"/><text x=\"%.1f\" y=\"%g\" text-anchor=\"middle\">", at, y->from, at, y->from + 19);
		fprintf(f, "%s</text>\n", tick_text(x->tick[i], text));
	}
	fprintf(f, "<path class=\"axis\" fill=\"none\" d=\"M%g %gV%gH%d\"/>\n<text x=\"%g\" y=\"%g\" text-anchor=\"middle\">", x->from, y->to, y->from, RIGHT,
		(x->from + RIGHT) / 2, y->from + UNDER - 8);
	escaped(f, c->x_label);
	if (!c->n_rows) {
		fprintf(f, "</text>\n<text transform=\"translate(16 %g) rotate(-90)\" text-anchor=\"middle\">", (y->to + y->from) / 2);
		escaped(f, c->y_label);
	}
	fputs("</text>\n", f);
}

static void draw_points(FILE *f, const struct moe_chart *c, size_t which, const struct axis *x, const struct axis *y)
{
	const struct moe_series *s = &c->series[which];

	fprintf(f, "<g fill=\"%s\" fill-rule=\"evenodd\">", colours[colour_of(c, which)]);
	for (size_t i = 0; i < s->n; i++)
		if (shown(c, s, i))
			fprintf(f, "<path transform=\"translate(%.1f %.1f)\" d=\"%s\"/>", place(x, s->x[i]), place(y, s->y[i]), marks[colour_of(c, which)]);
	fputs("</g>\n", f);
}

static void draw_line(FILE *f, const struct moe_chart *c, size_t which, const struct axis *x, const struct axis *y)
{
	const struct moe_series *s = &c->series[which];
	bool open = false;

	fprintf(f, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"2\" stroke-linejoin=\"round\"%s d=\"", colours[colour_of(c, which)],
		s->dashed ? " stroke-dasharray=\"5 4\"" : "");
	for (size_t i = 0; i < s->n; i++) {
		bool good = shown(c, s, i);
		if (good && !open)
			fprintf(f, "M%.1f %.1fL", place(x, s->x[i]), place(y, s->y[i]));
		if (good)
			fprintf(f, "%s%.1f %.1f", open ? " " : "", place(x, s->x[i]), place(y, s->y[i]));
		open = good;
	}
	fputs("\"/>\n", f);
}

enum moe_err moe_chart_print(FILE *f, const struct moe_chart *c, struct moe_diag *d)
{
	struct axis x, y;

	begin(f, c);
	if (make_axis(&x, c, false) && make_axis(&y, c, true)) {
		y.to += LEGEND_ROW * (legend(f, c) - 1);
		axes(f, c, &x, &y);
		for (size_t s = 0; s < c->n_series; s++)
			if (c->series[s].points)
				draw_points(f, c, s, &x, &y);
			else
				draw_line(f, c, s, &x, &y);
	} else {
		fprintf(f, "<text x=\"%d\" y=\"%d\">nothing to show yet</text>\n", LEFT, TOP + 24);
	}
	fputs("</svg>\n", f);
	return ferror(f) ? moe_fail_errno(d, "cannot write") : MOE_OK;
}
