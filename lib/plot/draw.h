/* Figures as SVG and PNG: one below the other on one sheet. The same figures give the same bytes; where the fonts are the same, the same pixels, too. */
#ifndef MOE_PLOT_DRAW_H
#define MOE_PLOT_DRAW_H

#include <stdio.h>

#include "plot/figure.h"
#include "plot/pen.h"

enum moe_err moe_figures_svg(FILE *f, const struct moe_figure *figure, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;

/* `scale`: pixels of the file for one of SVG. */
enum moe_err moe_figures_png(FILE *f, const struct moe_figure *figure, size_t n, double scale, struct moe_diag *d) MOE_CHECK_RESULT;

struct moe_extent { double width, height; };

/* Draws a facet with its name from (x, y) on, and says how much room it took; not wider than `most` where that can be helped. With moe_pen_none it is
 * measured. */
struct moe_extent moe_facet_draw(struct moe_pen *p, const struct moe_figure *f, const struct moe_facet *facet, double x, double y, double most);

/* The key of a figure: experts and their colours, or the scale. */
struct moe_extent moe_key_draw(struct moe_pen *p, const struct moe_figure *f, double x, double y, double most);

/* The style of the inks, for within <style>. */
extern const char moe_svg_style[];

/* Defines the pictures of a figure's facets for a pen of SVG (pen.h), each once. */
enum moe_err moe_figure_define(const struct moe_figure *f, struct moe_pen *svg, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
