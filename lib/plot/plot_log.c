#include <math.h>
#include <string.h>

#include "plot/plot_priv.h"
#include "report/curves.h"

/* Lines of evaluations have no load. */
static enum moe_err take_line(void *self, const json_t *line, double tokens, struct moe_diag *d)
{
	double busiest = moe_log_number(line, "busiest");

	return isnan(busiest) ? MOE_OK : moe_curve_add(self, tokens, busiest, d);
}

/* The numbers become the figure's; the curve is smoothed on the way. */
static enum moe_err draw(struct moe_figure *f, struct moe_curve *c, size_t experts, struct moe_diag *d)
{
	double *x = moe_figure_get(f, c->n, sizeof *x), *y = moe_figure_get(f, c->n, sizeof *y), *mean = moe_figure_get(f, c->n, sizeof *mean);
	struct moe_line *line = moe_figure_get(f, 2, sizeof *line);
	struct moe_facet *facet;

	if (!x || !y || !mean || !line)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	memcpy(x, c->x, c->n * sizeof *x);
	memcpy(y, c->y, c->n * sizeof *y);
	moe_curve_smooth(c);
	memcpy(mean, c->y, c->n * sizeof *mean);
	line[0] = (struct moe_line){"each step", x, y, c->n, 0, true};
	line[1] = (struct moe_line){"smoothed", x, mean, c->n, 0, false};
	MOE_TRY(moe_figure_add(f, &facet, MOE_FACET_LINES, "busiest expert", d));
	facet->lines = (struct moe_line_facet){.x_name = "tokens of training", .y_name = "share of a layer's choices", .chance_name = "even load",
					       .line = line, .n = 2, .chance = experts ? 1 / (double)experts : NAN};
	return MOE_OK;
}

enum moe_err moe_plot_log(struct moe_figure *f, const char *log, size_t n, size_t experts, struct moe_diag *d)
{
	struct moe_curve c = {0};
	enum moe_err err;

	moe_figure_init(f, "log");
	err = moe_log_walk(log, n, take_line, &c, d);
	if (!err && !c.n)
		err = moe_fail(d, MOE_EINPUT, "a training log without steps that tell of the load");
	f->title = "How even the load of the experts was in training";
	f->about = moe_figure_text(f, "Share of a layer's choices that the busiest expert of any layer got, over %zu steps of the log.", c.n);
	f->reading = "Grey: each step that was logged; in colour: smoothed over a fiftieth of the run.";
	if (!err)
		err = draw(f, &c, experts, d);
	moe_curve_free(&c);
	return err;
}
