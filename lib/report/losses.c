#include "report/losses.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "report/chart.h"

enum { SHOWN = 300, STEP_TEXT = 0, STEP_PATCH, DEV_TEXT, DEV_PATCH, N_SERIES };

struct curve {
	double *x, *y;
	size_t n, x_cap, y_cap;
};

static enum moe_err add(struct curve *c, double x, double y, struct moe_diag *d)
{
	MOE_TRY(moe_grow(&c->x, &c->x_cap, c->n + 1, sizeof *c->x, d));
	MOE_TRY(moe_grow(&c->y, &c->y_cap, c->n + 1, sizeof *c->y, d));
	c->x[c->n] = x;
	c->y[c->n++] = y;
	return MOE_OK;
}

static double value(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	return json_is_number(v) ? json_number_value(v) : NAN;
}

static enum moe_err read_line(struct curve *c, const char *line, size_t n, size_t at, struct moe_diag *d)
{
	json_t *o = json_loadb(line, n, 0, NULL);
	double x = value(o, "tokens");
	int first = json_is_true(json_object_get(o, "dev")) ? DEV_TEXT : STEP_TEXT;
	enum moe_err err = MOE_OK;

	if (!json_is_object(o) || !isfinite(x))
		err = moe_fail_at(d, MOE_EINPUT, at, "expected a line of a training log");
	if (!err)
		err = add(&c[first], x, value(o, "text"), d);
	if (!err && value(o, "patch") > 0)      /* without labels there is no such loss */
		err = add(&c[first + 1], x, value(o, "patch"), d);
	json_decref(o);
	return err;
}

static enum moe_err read_log(struct curve *c, const char *log, size_t n, struct moe_diag *d)
{
	const char *end;

	for (const char *line = log; (end = memchr(line, '\n', n - (size_t)(line - log))); line = end + 1)
		MOE_TRY(read_line(c, line, (size_t)(end - line), (size_t)(line - log), d));
	return MOE_OK;
}

/* Exponential mean over about a fiftieth of the run, without the bias of its beginning (as AdamW's), and of that no more points than a picture shows. */
static void smooth(struct curve *c)
{
	double keep = 1 - 1 / fmax((double)c->n / 50, 1), sum = 0, weight = 0;
	size_t kept = 0, every = c->n / SHOWN + 1;

	for (size_t i = 0; i < c->n; i++) {
		if (isfinite(c->y[i])) {
			sum = keep * sum + (1 - keep) * c->y[i];
			weight = keep * weight + (1 - keep);
		}
		if (i % every == 0 || i + 1 == c->n) {
			c->x[kept] = c->x[i];
			c->y[kept++] = weight > 0 ? sum / weight : NAN;
		}
	}
	c->n = kept;
}

enum moe_err moe_losses_print(FILE *f, const char *log, size_t n, const char *title, struct moe_diag *d)
{
	static const char *const names[N_SERIES] = {"text, training (smoothed)", "patches, training (smoothed)", "text, dev", "patches, dev"};
	struct moe_chart chart = {.title = title, .x_label = "tokens", .y_label = "loss (nats)"};
	struct curve c[N_SERIES] = {0};
	enum moe_err err = read_log(c, log, n, d);

	for (int i = 0; i < N_SERIES && !err; i++) {
		if (i < DEV_TEXT)
			smooth(&c[i]);
		if (c[i].n)
			chart.series[chart.n_series++] = (struct moe_series){.name = names[i], .x = c[i].x, .y = c[i].y, .n = c[i].n, .points = i >= DEV_TEXT};
	}
	if (!err)
		err = moe_chart_print(f, &chart, d);
	for (int i = 0; i < N_SERIES; i++) {
		free(c[i].x);
		free(c[i].y);
	}
	return err;
}
