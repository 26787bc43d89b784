/* A chart as SVG: lines and points over two axes. Small, without a background, readable on light and on dark paper. */
#ifndef MOE_REPORT_CHART_H
#define MOE_REPORT_CHART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/err.h"

enum { MOE_CHART_SERIES = 32, MOE_CHART_COLOURS = 8, MOE_CHART_ROWS = 64 };

struct moe_series {
	const char *name;               /* in the legend; NULL: it is not there */
	const double *x, *y;            /* [n]; pairs that are not finite are left out, and break a line */
	size_t n;
	bool points;                    /* else a line */
	bool dashed;                    /* the line */
	size_t colour;                  /* 1 to MOE_CHART_COLOURS, each with a mark of its own for points; 0: by its place among the series */
};

struct moe_chart {
	const char *title, *x_label, *y_label;
	bool log_x, log_y;              /* then pairs that are not above 0 are left out */
	const char *const *row;         /* [n_rows] what stands beside y = 0, 1, ..., from top to bottom, in place of numbers and y_label; NULL: numbers */
	size_t n_rows;                  /* up to MOE_CHART_ROWS */
	struct moe_series series[MOE_CHART_SERIES];
	size_t n_series;
};

/* "#3388ff": told apart with each of the common kinds of colour blindness, and from white and from dark paper. `number` counts from 0. */
const char *moe_chart_colour(size_t number);

/* Prints it. Without any pair to show the picture says so. MOE_EIO when it could not be written. */
enum moe_err moe_chart_print(FILE *f, const struct moe_chart *c, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
