#include "report/losses.h"

#include <math.h>
#include <string.h>

#include "report/chart.h"
#include "report/curves.h"

enum { SHOWN = 300, TEXT = 0, IMAGE, PATCH, PICTURE, N_LOSSES, N_SERIES = 2 * N_LOSSES };        /* of steps, and of evaluations */

static const char *const keys[N_LOSSES] = {"text", "image", "patch", "picture"};

static enum moe_err take_line(void *self, const json_t *line, double tokens, struct moe_diag *d)
{
	struct moe_curve *c = (struct moe_curve *)self + (json_is_true(json_object_get(line, "dev")) ? N_LOSSES : 0);
	const char *choice = json_string_value(json_object_get(line, "choice"));

	if ((choice && !strncmp(choice, "causal", 6)) || json_object_get(line, "flips"))        /* the other line of the same evaluation is what training is like */
		return MOE_OK;
	for (int i = TEXT; i < N_LOSSES; i++) {
		double v = moe_log_number(line, keys[i]);
		if (i == TEXT ? json_object_get(line, keys[i]) != NULL : v > 0)         /* there is no such loss without labels, image tokens, a quantiser */
			MOE_TRY(moe_curve_add(&c[i], tokens, v, d));
	}
	return MOE_OK;
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
	static const char *const names[N_SERIES] = {
		"text, training (smoothed)", "image tokens, training (smoothed)", "patches, training (smoothed)", "squares of pixels (smoothed)", "text, dev", "image tokens, dev",
		"patches, dev", "",
	};
	struct moe_chart chart = {.title = title, .x_label = "tokens", .y_label = "loss (nats)"};
	struct moe_curve c[N_SERIES] = {0};
	enum moe_err err = moe_log_walk(log, n, take_line, c, d);

	if (!err && c[PICTURE].n)
		chart.y_label = "mean square (normalised)";
	for (int i = 0; i < N_SERIES && !err; i++) {
		if (i < N_LOSSES) {
			moe_curve_smooth(&c[i]);
			thin(&c[i]);
		}
		if (c[i].n)
			chart.series[chart.n_series++] = (struct moe_series){.name = names[i], .x = c[i].x, .y = c[i].y, .n = c[i].n, .points = i >= N_LOSSES};
	}
	if (!err)
		err = moe_chart_print(f, &chart, d);
	for (int i = 0; i < N_SERIES; i++)
		moe_curve_free(&c[i]);
	return err;
}
