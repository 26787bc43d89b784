#include "report/curves.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum moe_err moe_curve_add(struct moe_curve *c, double x, double y, struct moe_diag *d)
{
	MOE_TRY(moe_grow(&c->x, &c->x_cap, c->n + 1, sizeof *c->x, d));
	MOE_TRY(moe_grow(&c->y, &c->y_cap, c->n + 1, sizeof *c->y, d));
	c->x[c->n] = x;
	c->y[c->n++] = y;
	return MOE_OK;
}

void moe_curve_smooth(struct moe_curve *c)
{
	double keep = 1 - 1 / fmax((double)c->n / 50, 1), sum = 0, weight = 0;

	for (size_t i = 0; i < c->n; i++) {
		if (isfinite(c->y[i])) {
			sum = keep * sum + (1 - keep) * c->y[i];
			weight = keep * weight + (1 - keep);
		}
		c->y[i] = weight > 0 ? sum / weight : NAN;
	}
}

void moe_curve_free(struct moe_curve *c)
{
	free(c->x);
	free(c->y);
}

static enum moe_err take_line(const char *line, size_t n, size_t at, moe_log_line take, void *self, struct moe_diag *d)
{
	json_t *o = json_loadb(line, n, 0, NULL);
	double tokens = moe_log_number(o, "tokens");
	enum moe_err err;

	if (json_is_object(o) && isfinite(tokens))
		err = take(self, o, tokens, d);
	else
		err = moe_fail_at(d, MOE_EINPUT, at, "expected a line of a training log");
	json_decref(o);
	return err;
}

enum moe_err moe_log_walk(const char *log, size_t n, moe_log_line take, void *self, struct moe_diag *d)
{
	const char *end;

	for (const char *line = log; (end = memchr(line, '\n', n - (size_t)(line - log))); line = end + 1)
		MOE_TRY(take_line(line, (size_t)(end - line), (size_t)(line - log), take, self, d));
	return MOE_OK;
}

double moe_log_number(const json_t *line, const char *key)
{
	const json_t *v = json_object_get(line, key);

	return json_is_number(v) ? json_number_value(v) : NAN;
}
