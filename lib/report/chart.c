#include "report/chart.h"

#include <math.h>
#include <string.h>

/* Pixels of the picture; of the plot inside. */
enum { WIDTH = 720, HEIGHT = 400, LEFT = 64, RIGHT = 704, TOP = 64, BOTTOM = 352, MOST_TICKS = 24 };

static const char *const colours[MOE_CHART_SERIES] = {"#3b82c4", "#d9730d", "#2e9e6b", "#b5479b", "#8a7a1f", "#c8453a", "#5b6ed1", "#7d8590"};

struct axis {
	double lo, hi;          /* of the values, or of their logarithms to the base 10 */
	bool is_log;
	double tick[MOST_TICKS];        /* values */
	size_t n_ticks;
};

static double scaled(const struct axis *a, double v) { return ((a->is_log ? log10(v) : v) - a->lo) / (a->hi - a->lo); }

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

/* Powers of ten, and 2 and 5 times them where there are few. */
static void log_ticks(struct axis *a)
{
	static const double parts[] = {1, 2, 5};
	bool few;

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

/* The range of all that is shown; false: nothing is. */
static bool make_axis(struct axis *a, const struct moe_chart *c, bool y)
{
	*a = (struct axis){.lo = INFINITY, .hi = -INFINITY, .is_log = y ? c->log_y : c->log_x};
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

/* 2500000 as "2.5M". */
static void amount(FILE *f, double v)
{
	static const struct { double unit; const char *name; } units[] = {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}};

	for (size_t i = 0; i < sizeof units / sizeof *units; i++)
		if (fabs(v) >= units[i].unit) {
			fprintf(f, "%.6g%s", v / units[i].unit, units[i].name);
			return;
		}
	fprintf(f, "%.6g", fabs(v) < 1e-12 ? 0 : v);
}

static void begin(FILE *f, const struct moe_chart *c)
{
	fprintf(f, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\" "
		"font-family=\"system-ui, sans-serif\" font-size=\"12\">\n<title>", WIDTH, HEIGHT, WIDTH, HEIGHT);
	escaped(f, c->title);
	fputs("</title>\n<style>text{fill:#444}.axis{stroke:#888}.grid{stroke:#888;stroke-opacity:.25}@media(prefers-color-scheme:dark){text{fill:#ccc}}</style>\n"
	      "<text x=\"64\" y=\"24\" font-size=\"15\" font-weight=\"600\">", f);
	escaped(f, c->title);
	fputs("</text>\n", f);
}

static void legend(FILE *f, const struct moe_chart *c)
{
	double x = LEFT;

	for (size_t s = 0; s < c->n_series; s++) {
		if (c->series[s].points)
			fprintf(f, "<circle cx=\"%g\" cy=\"44\" r=\"4\" fill=\"%s\"/>", x + 9, colours[s]);
		else
			fprintf(f, "<path d=\"M%g 44h18\" stroke=\"%s\" stroke-width=\"2.5\"/>", x, colours[s]);
		fprintf(f, "<text x=\"%g\" y=\"48\">", x + 24);
		escaped(f, c->series[s].name);
		fputs("</text>\n", f);
		x += 40 + 6 * (double)strlen(c->series[s].name);
	}
}

static double at_x(const struct axis *a, double v) { return LEFT + scaled(a, v) * (RIGHT - LEFT); }

static double at_y(const struct axis *a, double v) { return BOTTOM - scaled(a, v) * (BOTTOM - TOP); }

static void axes(FILE *f, const struct moe_chart *c, const struct axis *x, const struct axis *y)
{
	for (size_t i = 0; i < y->n_ticks; i++) {
		double at = at_y(y, y->tick[i]);
		fprintf(f, "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", LEFT, at, RIGHT, LEFT - 8, at + 4);
		amount(f, y->tick[i]);
		fputs("</text>\n", f);
	}
	for (size_t i = 0; i < x->n_ticks; i++) {
		double at = at_x(x, x->tick[i]);
		fprintf(f, "<path class=\"axis\" d=\"M%.1f %dv5\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">", at, BOTTOM, at, BOTTOM + 19);
		amount(f, x->tick[i]);
		fputs("</text>\n", f);
	}
	fprintf(f, "<path class=\"axis\" fill=\"none\" d=\"M%d %dV%dH%d\"/>\n<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", LEFT, TOP, BOTTOM, RIGHT, (LEFT + RIGHT) / 2,
		HEIGHT - 8);
	escaped(f, c->x_label);
	fprintf(f, "</text>\n<text transform=\"translate(16 %d) rotate(-90)\" text-anchor=\"middle\">", (TOP + BOTTOM) / 2);
	escaped(f, c->y_label);
	fputs("</text>\n", f);
}

static void draw(FILE *f, const struct moe_chart *c, size_t which, const struct axis *x, const struct axis *y)
{
	const struct moe_series *s = &c->series[which];
	bool open = false;

	fprintf(f, s->points ? "<g fill=\"%s\">" : "<path fill=\"none\" stroke=\"%s\" stroke-width=\"2\" stroke-linejoin=\"round\" d=\"", colours[which]);
	for (size_t i = 0; i < s->n; i++) {
		if (!shown(c, s, i)) {
			open = false;
			continue;
		}
		fprintf(f, s->points ? "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\"/>" : open ? " %.1f %.1f" : "M%.1f %.1fL", at_x(x, s->x[i]), at_y(y, s->y[i]));
		if (!s->points && !open)
			fprintf(f, "%.1f %.1f", at_x(x, s->x[i]), at_y(y, s->y[i]));
		open = true;
	}
	fputs(s->points ? "</g>\n" : "\"/>\n", f);
}

enum moe_err moe_chart_print(FILE *f, const struct moe_chart *c, struct moe_diag *d)
{
	struct axis x, y;

	begin(f, c);
	if (make_axis(&x, c, false) && make_axis(&y, c, true)) {
		legend(f, c);
		axes(f, c, &x, &y);
		for (size_t s = 0; s < c->n_series; s++)
			draw(f, c, s, &x, &y);
	} else {
		fprintf(f, "<text x=\"%d\" y=\"%d\">nothing to show yet</text>\n", LEFT, TOP + 24);
	}
	fputs("</svg>\n", f);
	return ferror(f) ? moe_fail_errno(d, "cannot write") : MOE_OK;
}
