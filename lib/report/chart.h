/* A chart as SVG: lines and points over two axes. Small, without a background, readable on light and on dark paper. */
#ifndef MOE_REPORT_CHART_H
#define MOE_REPORT_CHART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/err.h"

enum { MOE_CHART_SERIES = 8 };

struct moe_series {
	const char *name;               /* in the legend */
	const double *x, *y;            /* [n]; pairs that are not finite are left out, and break a line */
	size_t n;
	bool points;                    /* else a line */
};

struct moe_chart {
	const char *title, *x_label, *y_label;
	bool log_x, log_y;              /* then pairs that are not above 0 are left out */
	struct moe_series series[MOE_CHART_SERIES];
	size_t n_series;
};

/* Prints it. Without any pair to show the picture says so. MOE_EIO when it could not be written. */
enum moe_err moe_chart_print(FILE *f, const struct moe_chart *c, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
