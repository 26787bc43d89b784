#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plot/plot_priv.h"

struct curve {
	double *x, *y;
	size_t n, x_cap, y_cap;
};

/* A line of a step; lines of evaluations have no load. */
static enum moe_err read_line(struct curve *c, const char *line, size_t n, size_t at, struct moe_diag *d)
{
	json_t *o = json_loadb(line, n, 0, NULL);
	const json_t *tokens = json_object_get(o, "tokens"), *busiest = json_object_get(o, "busiest");
	enum moe_err err = MOE_OK;

	if (!json_is_object(o) || !json_is_number(tokens))
		err = moe_fail_at(d, MOE_EINPUT, at, "expected a line of a training log");
	if (!err && json_is_number(busiest)) {
		err = moe_grow(&c->x, &c->x_cap, c->n + 1, sizeof *c->x, d);
		if (!err)
			err = moe_grow(&c->y, &c->y_cap, c->n + 1, sizeof *c->y, d);
		if (!err) {
			c->x[c->n] = json_number_value(tokens);
			c->y[c->n++] = json_number_value(busiest);
		}
	}
	json_decref(o);
	return err;
}

/* A last line that is cut short is passed over. */
static enum moe_err read_log(struct curve *c, const char *log, size_t n, struct moe_diag *d)
{
	const char *end;

	for (const char *line = log; (end = memchr(line, '\n', n - (size_t)(line - log))); line = end + 1)
		MOE_TRY(read_line(c, line, (size_t)(end - line), (size_t)(line - log), d));
	return c->n ? MOE_OK : moe_fail(d, MOE_EINPUT, "a training log without steps that tell of the load");
}

/* Means over about a fiftieth of the run, without the bias of the beginning. */
static void smooth(double *to, const struct curve *c)
{
	double keep = 1 - 1 / fmax((double)c->n / 50, 1), sum = 0, weight = 0;

	for (size_t i = 0; i < c->n; i++) {
		sum = keep * sum + (1 - keep) * c->y[i];
		weight = keep * weight + (1 - keep);
		to[i] = sum / weight;
	}
}

static enum moe_err draw(struct moe_figure *f, const struct curve *c, size_t experts, struct moe_diag *d)
{
	double *x = moe_figure_get(f, c->n, sizeof *x), *y = moe_figure_get(f, c->n, sizeof *y), *mean = moe_figure_get(f, c->n, sizeof *mean);
	struct moe_line *line = moe_figure_get(f, 2, sizeof *line);
	struct moe_facet *facet;

	if (!x || !y || !mean || !line)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	memcpy(x, c->x, c->n * sizeof *x);
	memcpy(y, c->y, c->n * sizeof *y);
	smooth(mean, c);
	line[0] = (struct moe_line){"each step", x, y, c->n, 0, true};
	line[1] = (struct moe_line){"smoothed", x, mean, c->n, 0, false};
	MOE_TRY(moe_figure_add(f, &facet, MOE_FACET_LINES, "busiest expert", d));
	facet->lines = (struct moe_line_facet){.x_name = "tokens of training", .y_name = "share of a layer's choices", .chance_name = "even load",
					       .line = line, .n = 2, .chance = experts ? 1 / (double)experts : NAN};
	return MOE_OK;
}

enum moe_err moe_plot_log(struct moe_figure *f, const char *log, size_t n, size_t experts, struct moe_diag *d)
{
	struct curve c = {0};
	enum moe_err err;

	moe_figure_init(f, "log");
	err = read_log(&c, log, n, d);
	f->title = "How even the load of the experts was in training";
	f->about = moe_figure_text(f, "Share of a layer's choices that the busiest expert of any layer got, over %zu steps of the log.", c.n);
	f->reading = "Grey: each step that was logged; in colour: smoothed over a fiftieth of the run.";
	if (!err)
		err = draw(f, &c, experts, d);
	free(c.x);
	free(c.y);
	return err;
}
