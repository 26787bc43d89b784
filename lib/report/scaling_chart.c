#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/sort.h"
#include "report/amount.h"
#include "report/chart.h"
#include "report/scaling.h"

enum { SIZES = MOE_CHART_COLOURS - 1, LINE = 41, CURVE = 200 };

static bool same(double a, double b) { return fabs(a - b) <= 1e-3 * b; }

/* ---- a law ---- */

struct law_picture {
	struct moe_chart chart;
	char name[SIZES][48];
	double size[SIZES];             /* N of each colour but the last */
	size_t n_sizes;
	double *x, *y;                  /* [MOE_CHART_COLOURS][n]: the points of each colour */
	size_t count[MOE_CHART_COLOURS];
	double line_x[SIZES + 1][LINE], line_y[SIZES + 1][LINE];
};

/* Sizes that get a colour of their own: all, or so many of them, evenly. `size`: room for n. */
static void choose_sizes(struct law_picture *q, const struct moe_law_point *p, size_t n, double *size)
{
	size_t m = 0;

	for (size_t i = 0; i < n; i++)
		size[i] = p[i].at.n;
	moe_sort_doubles(size, n);
	for (size_t i = 0; i < n; i++)
		if (!m || !same(size[i], size[m - 1]))
			size[m++] = size[i];
	q->n_sizes = m < SIZES ? m : SIZES;
	for (size_t i = 0; i < q->n_sizes; i++)
		q->size[i] = size[q->n_sizes > 1 ? i * (m - 1) / (q->n_sizes - 1) : 0];
}

static void place_points(struct law_picture *q, const struct moe_scaling_law *l, const struct moe_law_point *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t c = 0;
		while (c < q->n_sizes && !same(p[i].at.n, q->size[c]))
			c++;
		c = c < q->n_sizes ? c : SIZES;
		q->x[c * n + q->count[c]] = l->cost->cost * p[i].at.n * p[i].at.d;
		q->y[c * n + q->count[c]++] = p[i].loss;
	}
}

static void add(struct moe_chart *c, const char *name, const double *x, const double *y, size_t n, bool points, size_t colour)
{
	if (c->n_series < MOE_CHART_SERIES)
		c->series[c->n_series++] = (struct moe_series){.name = name, .x = x, .y = y, .n = n, .points = points,
							       .colour = colour % MOE_CHART_COLOURS + 1};
}

/* The law between the least and the most FLOPs of a colour's points. */
static void add_size(struct law_picture *q, const struct moe_scaling_law *l, size_t c, size_t n)
{
	const double *x = q->x + c * n;
	double from = INFINITY, to = 0;
	char text[32];

	for (size_t i = 0; i < q->count[c]; i++) {
		from = fmin(from, x[i]);
		to = fmax(to, x[i]);
	}
	for (size_t i = 0; i < LINE; i++) {
		double flops = from * pow(to / from, (double)i / (LINE - 1));
		q->line_x[c][i] = flops;
		q->line_y[c][i] = moe_law_loss(&l->fit->law, (struct moe_law_at){q->size[c], flops / (l->cost->cost * q->size[c]), l->cost->s});
	}
	snprintf(q->name[c], sizeof q->name[c], "N %s", moe_amount_text(q->size[c], 3, text));
	add(&q->chart, q->name[c], x, q->y + c * n, q->count[c], true, c);
	add(&q->chart, NULL, q->line_x[c], q->line_y[c], LINE, false, c);
}

static void add_frontier(struct law_picture *q, const struct moe_scaling_law *l)
{
	double *x = q->line_x[SIZES], *y = q->line_y[SIZES];

	for (size_t i = 0; i < LINE; i++) {
		x[i] = l->cost->from * pow(l->cost->to / l->cost->from, (double)i / (LINE - 1));
		y[i] = moe_law_loss(&l->fit->law, moe_law_optimum(&l->fit->law, x[i], l->cost->cost, l->cost->s));
	}
	add(&q->chart, "best size", x, y, LINE, false, SIZES);
	q->chart.series[q->chart.n_series - 1].dashed = true;
}

enum moe_err moe_chart_law(FILE *f, const struct moe_scaling_law *l, const struct moe_law_point *p, size_t n, struct moe_diag *d)
{
	struct law_picture *q = moe_calloc(1, sizeof *q);
	double *memory = moe_calloc(n, (2 * MOE_CHART_COLOURS + 1) * sizeof *memory);
	const double *value = l->fit->law.value;
	char title[160], label[40];
	enum moe_err err;

	if (!q || !memory) {
		free(q);
		free(memory);
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	snprintf(title, sizeof title, "%.40s%s%.60s: E = %.3g, alpha = %.3g, beta = %.3g", l->arm, *l->arm ? ", " : "", l->loss, value[MOE_LAW_E],
		 value[MOE_LAW_ALPHA], value[MOE_LAW_BETA]);
	snprintf(label, sizeof label, "FLOPs (%.3g N D)", l->cost->cost);
	q->chart = (struct moe_chart){.title = title, .x_label = label, .y_label = l->loss, .log_x = true, .log_y = true};
	q->x = memory;
	q->y = memory + MOE_CHART_COLOURS * n;
	choose_sizes(q, p, n, memory + 2 * MOE_CHART_COLOURS * n);
	place_points(q, l, p, n);
	for (size_t c = 0; c < q->n_sizes; c++)
		add_size(q, l, c, n);
	if (q->count[SIZES])
		add(&q->chart, "other sizes", q->x + SIZES * n, q->y + SIZES * n, q->count[SIZES], true, SIZES);
	add_frontier(q, l);
	err = moe_chart_print(f, &q->chart, d);
	free(q);
	free(memory);
	return err;
}

/* ---- arms ---- */

struct arm_picture {
	double x[CURVE], y[CURVE];      /* the mean curve */
	double *at_x, *at_y;            /* every measurement */
	size_t n, points;
};

static void fill_arm(struct arm_picture *a, const struct moe_runs *r, size_t arm, size_t measure, enum moe_cost cost)
{
	a->n = moe_savings_curve(r, arm, measure, cost, a->x, a->y, CURVE);
	for (size_t i = 0; i < r->n; i++) {
		if (r->at[i].arm != arm)
			continue;
		a->at_x[a->points] = cost == MOE_COST_FLOPS ? r->at[i].flops : cost == MOE_COST_TOKENS ? r->at[i].d : r->at[i].seconds;
		a->at_y[a->points++] = moe_run_measure(&r->at[i], measure);
	}
}

enum moe_err moe_chart_savings(FILE *f, const struct moe_runs *r, size_t baseline, size_t measure, enum moe_cost cost, struct moe_diag *d)
{
	static const char *const labels[] = {"FLOPs of training", "tokens of training", "seconds of training"};
	size_t n = r->n_arms < MOE_CHART_SERIES / 2 ? r->n_arms : MOE_CHART_SERIES / 2;
	struct arm_picture *a = moe_calloc(n, sizeof *a);
	double *memory = moe_calloc(r->n, 2 * n * sizeof *memory), level_x[2], level_y[2];
	char title[200];
	struct moe_chart chart = {.title = title, .x_label = labels[cost], .y_label = r->measure[measure], .log_x = true, .log_y = true};
	enum moe_err err;

	if (!a || !memory) {
		free(a);
		free(memory);
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	snprintf(title, sizeof title, "%.60s over %s; dashed: where %.60s ended", r->measure[measure], moe_cost_name(cost), r->arm[baseline]);
	for (size_t i = 0; i < n; i++) {
		a[i].at_x = memory + 2 * i * r->n;
		a[i].at_y = a[i].at_x + r->n;
		fill_arm(&a[i], r, i, measure, cost);
		add(&chart, r->arm[i], a[i].x, a[i].y, a[i].n, false, i);
		add(&chart, NULL, a[i].at_x, a[i].at_y, a[i].points, true, i);
		if (i == baseline && a[i].n) {
			level_x[0] = a[i].x[0];
			level_x[1] = a[i].x[a[i].n - 1];
			level_y[0] = level_y[1] = a[i].y[a[i].n - 1];
			add(&chart, NULL, level_x, level_y, 2, false, i);
			chart.series[chart.n_series - 1].dashed = true;
		}
	}
	err = moe_chart_print(f, &chart, d);
	free(a);
	free(memory);
	return err;
}

/* ---- differences ---- */

enum { LOWER, HIGHER, NEITHER, VERDICTS };

struct pair_picture {
	const char *row[MOE_CHART_ROWS];
	double x[VERDICTS][3 * MOE_CHART_ROWS], y[VERDICTS][3 * MOE_CHART_ROWS];        /* low, high, and a gap, of each row */
	double mean[VERDICTS][MOE_CHART_ROWS], at[VERDICTS][MOE_CHART_ROWS];
	size_t n[VERDICTS], rows;
};

static void add_pair(struct pair_picture *q, const char *arm, const struct moe_student *t)
{
	int v = t->low > 0 ? HIGHER : t->high < 0 ? LOWER : NEITHER;
	double at = (double)q->rows, x[3] = {t->low, t->high, NAN};
	size_t n = q->n[v]++;

	for (size_t i = 0; i < 3; i++) {
		q->x[v][3 * n + i] = x[i];
		q->y[v][3 * n + i] = at;
	}
	q->mean[v][n] = t->mean;
	q->at[v][n] = at;
	q->row[q->rows++] = arm;
}

enum moe_err moe_chart_paired(FILE *f, const struct moe_runs *r, size_t baseline, const struct moe_paired *p, size_t n, size_t measure, struct moe_diag *d)
{
	static const char *const names[VERDICTS] = {"lower", "higher", "not distinguishable"};
	static const size_t colour[VERDICTS] = {0, 1, 7};
	struct pair_picture *q = moe_calloc(1, sizeof *q);
	double zero[2] = {0, 0}, ends[2] = {-0.5, 0};
	char title[200], label[160];
	struct moe_chart chart = {.title = title, .x_label = label};
	enum moe_err err;

	if (!q)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		if (p[i].measure == measure && p[i].difference.n > 1 && q->rows < MOE_CHART_ROWS)
			add_pair(q, r->arm[p[i].arm], &p[i].difference);
	snprintf(title, sizeof title, "%.60s: how far from %.60s, with 95 %% intervals", r->measure[measure], r->arm[baseline]);
	snprintf(label, sizeof label, "%.60s - that of %.60s", r->measure[measure], r->arm[baseline]);
	ends[1] = (double)q->rows - 0.5;
	chart.row = q->row;
	chart.n_rows = q->rows;
	for (size_t v = 0; v < VERDICTS; v++)
		if (q->n[v]) {
			add(&chart, names[v], q->x[v], q->y[v], 3 * q->n[v], false, colour[v]);
			add(&chart, NULL, q->mean[v], q->at[v], q->n[v], true, colour[v]);
		}
	if (q->rows) {
		add(&chart, NULL, zero, ends, 2, false, colour[NEITHER]);
		chart.series[chart.n_series - 1].dashed = true;
	}
	err = moe_chart_print(f, &chart, d);
	free(q);
	return err;
}
