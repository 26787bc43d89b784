/* Figures as one HTML page that needs nothing else: no network, no font, no program but its own, and that one only for pointing and choosing. Screen
 * readers find headings, a description of each picture, and all numbers as tables. */
#ifndef MOE_PLOT_PAGE_H
#define MOE_PLOT_PAGE_H

#include <stdio.h>

#include "plot/figure.h"

struct moe_page {
	const char *title, *about;
	const char *provenance;         /* lines, at its end; or NULL */
	const char *style, *program;    /* the texts of share/plot/page.css and page.js */
	const struct moe_figure *figure;
	size_t n;
};

enum moe_err moe_page_print(FILE *f, const struct moe_page *p, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
