/* The kinds of facets on a terminal. Each function prints lines that are all as wide as it returns, in columns. */
#ifndef MOE_PLOT_TERM_PRIV_H
#define MOE_PLOT_TERM_PRIV_H

#include "plot/term.h"

size_t moe_term_fields(const struct moe_term *t, const struct moe_figure *f, const struct moe_facet *facet);
/* Are there fields that have no room for numbers, and digits for places on the scale in their stead? */
bool moe_term_narrow(const struct moe_term *t, const struct moe_figure *f);
size_t moe_term_picture(const struct moe_term *t, const struct moe_facet *facet);
size_t moe_term_text(const struct moe_term *t, const struct moe_facet *facet);
size_t moe_term_flow(const struct moe_term *t, const struct moe_facet *facet);
size_t moe_term_lines(const struct moe_term *t, const struct moe_facet *facet);

/* What follows is in these colours (NULL: the terminal's own), up to moe_term_off. Nothing without colours. */
void moe_term_on(const struct moe_term *t, const struct moe_rgb *ink, const struct moe_rgb *paper);
void moe_term_strong(const struct moe_term *t);
void moe_term_off(const struct moe_term *t);

/* Columns that a text takes, control characters as U+FFFD. */
size_t moe_term_columns(const char *s);

/* The text, cut or filled with spaces to `width` columns, at its left or right end. */
void moe_term_left(const struct moe_term *t, const char *s, size_t width);
void moe_term_right(const struct moe_term *t, const char *s, size_t width);

/* A coloured field of `width` columns with a text at its left. */
void moe_term_field(const struct moe_term *t, struct moe_rgb paper, const char *s, size_t width);

void moe_term_spaces(const struct moe_term *t, size_t n);

#endif
