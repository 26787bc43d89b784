#include "report/losses.h"

#include <math.h>
#include <string.h>

#include "report/chart.h"
#include "report/curves.h"

enum { SHOWN = 300, STEP_TEXT = 0, STEP_PATCH, DEV_TEXT, DEV_PATCH, N_SERIES };

static enum moe_err take_line(void *self, const json_t *line, double tokens, struct moe_diag *d)
{
	struct moe_curve *c = (struct moe_curve *)self + (json_is_true(json_object_get(line, "dev")) ? DEV_TEXT : STEP_TEXT);
	const char *choice = json_string_value(json_object_get(line, "choice"));
	double patch = moe_log_number(line, "patch");

	if ((choice && !strncmp(choice, "causal", 6)) || json_object_get(line, "flips"))        /* the other line of the same evaluation is what training is like */
		return MOE_OK;
	MOE_TRY(moe_curve_add(c, tokens, moe_log_number(line, "text"), d));
	return patch > 0 ? moe_curve_add(c + 1, tokens, patch, d) : MOE_OK;     /* without labels there is no such loss */
}

/* No more points than a picture shows. */
static void thin(struct moe_curve *c)
{
	size_t kept = 0, every = c->n / SHOWN + 1;

	for (size_t i = 0; i < c->n; i++)
		if (i % every == 0 || i + 1 == c->n) {
			c->x[kept] = c->x[i];
			c->y[kept++] = c->y[i];
		}
	c->n = kept;
}

enum moe_err moe_losses_print(FILE *f, const char *log, size_t n, const char *title, struct moe_diag *d)
{
	static const char *const names[N_SERIES] = {"text, training (smoothed)", "patches, training (smoothed)", "text, dev", "patches, dev"};
	struct moe_chart chart = {.title = title, .x_label = "tokens", .y_label = "loss (nats)"};
	struct moe_curve c[N_SERIES] = {0};
	enum moe_err err = moe_log_walk(log, n, take_line, c, d);

	for (int i = 0; i < N_SERIES && !err; i++) {
		if (i < DEV_TEXT) {
			moe_curve_smooth(&c[i]);
			thin(&c[i]);
		}
		if (c[i].n)
			chart.series[chart.n_series++] = (struct moe_series){.name = names[i], .x = c[i].x, .y = c[i].y, .n = c[i].n, .points = i >= DEV_TEXT};
	}
	if (!err)
		err = moe_chart_print(f, &chart, d);
	for (int i = 0; i < N_SERIES; i++)
		moe_curve_free(&c[i]);
	return err;
}
