/* Figures on terminals, and as plain text: with colours when there are any, and readable without, since every field has its number. */
#ifndef MOE_PLOT_TERM_H
#define MOE_PLOT_TERM_H

#include <stdio.h>

#include "plot/figure.h"

enum moe_term_colours { MOE_TERM_PLAIN, MOE_TERM_256, MOE_TERM_TRUE };

struct moe_term {
	FILE *f;
	enum moe_term_colours colours;
	size_t width;                   /* columns */
};

/* Prints it; MOE_EIO when it could not be written. */
enum moe_err moe_figure_term(const struct moe_term *t, const struct moe_figure *f, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
