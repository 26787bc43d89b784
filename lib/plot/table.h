/* Figures as tables: what they show, as tab-separated values and as JSON lines. */
#ifndef MOE_PLOT_TABLE_H
#define MOE_PLOT_TABLE_H

#include <stdio.h>

#include "plot/figure.h"

/* A line for each field, patch, token and layer, stream, or point. The first line names the columns; those of figures of another kind than the first cannot
 * stand under it: MOE_EUSAGE. */
enum moe_err moe_figures_tsv(FILE *f, const struct moe_figure *figure, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;

/* An object for each, on a line of its own; of any figures. */
enum moe_err moe_figures_json(FILE *f, const struct moe_figure *figure, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;

enum moe_cell_kind { MOE_CELL_NONE, MOE_CELL_TEXT, MOE_CELL_WHOLE, MOE_CELL_REAL, MOE_CELL_CHOSEN };

struct moe_cell {
	const char *name;
	enum moe_cell_kind kind;
	const char *text;
	double number;
	struct moe_chosen chosen;       /* MOE_CELL_CHOSEN: two columns, experts and weights */
	size_t k;
};

/* Calls `row` for each row of a facet; all have cells of the same names. Stops at the first failure. */
typedef enum moe_err moe_row(void *self, const struct moe_cell *cell, size_t n, struct moe_diag *d);
enum moe_err moe_facet_rows(const struct moe_facet *facet, moe_row *row, void *self, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
