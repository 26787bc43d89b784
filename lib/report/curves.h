/* Numbers of a training log (train/trainlog.h) as curves over the run. */
#ifndef MOE_REPORT_CURVES_H
#define MOE_REPORT_CURVES_H

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"

/* Zeroed: no points yet; moe_curve_free at the end. */
struct moe_curve {
	double *x, *y;                  /* [n] */
	size_t n, x_cap, y_cap;
};

enum moe_err moe_curve_add(struct moe_curve *c, double x, double y, struct moe_diag *d) MOE_CHECK_RESULT;

/* Puts what y was on the average up to each point in its place: an exponential mean over about a fiftieth of the run, without the bias of its beginning
 * (as AdamW's). What is not finite has no part in it; NAN before the first that is. */
void moe_curve_smooth(struct moe_curve *c);

void moe_curve_free(struct moe_curve *c);

/* Takes a line of the log: an object, and the tokens of training so far. */
typedef enum moe_err (*moe_log_line)(void *self, const json_t *line, double tokens, struct moe_diag *d);

/* Calls `take` with each of the lines in n bytes of a log, until it fails. A last line that is cut short is passed over; another that is no such object fails
 * with MOE_EINPUT and its byte. */
enum moe_err moe_log_walk(const char *log, size_t n, moe_log_line take, void *self, struct moe_diag *d) MOE_CHECK_RESULT;

/* A number of the line; NAN where it has none. */
double moe_log_number(const json_t *line, const char *key);

#endif
