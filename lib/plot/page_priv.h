/* The parts of a page that have a file of their own. */
#ifndef MOE_PLOT_PAGE_PRIV_H
#define MOE_PLOT_PAGE_PRIV_H

#include "plot/page.h"

/* A text in the colours of its experts: words that flow with the page, each with a bar for every layer. */
void moe_page_words(FILE *f, const struct moe_text_facet *t);

/* The numbers of a facet. */
enum moe_err moe_page_table(FILE *f, const struct moe_facet *facet, struct moe_diag *d) MOE_CHECK_RESULT;

/* Tokens and their experts, for the page's program: a script element of JSON. Nothing where no figure has a text. */
enum moe_err moe_page_data(FILE *f, const struct moe_page *p, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
