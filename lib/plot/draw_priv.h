/* The kinds of facets, each in a file of its own. They draw from (x, y) on, without the facet's name. */
#ifndef MOE_PLOT_DRAW_PRIV_H
#define MOE_PLOT_DRAW_PRIV_H

#include "plot/draw.h"

struct moe_extent moe_draw_fields(struct moe_pen *p, const struct moe_figure *f, const struct moe_facet *facet, double x, double y, double most);
struct moe_extent moe_draw_picture(struct moe_pen *p, const struct moe_facet *facet, double x, double y, double most);
struct moe_extent moe_draw_text(struct moe_pen *p, const struct moe_facet *facet, double x, double y, double most);
struct moe_extent moe_draw_flow(struct moe_pen *p, const struct moe_facet *facet, double x, double y, double most);
struct moe_extent moe_draw_lines(struct moe_pen *p, const struct moe_facet *facet, double x, double y, double most);

/* A part without meaning to a program. */
static inline struct moe_mark moe_mark(const char *title) { return (struct moe_mark){title, -1, -1, -1, -1, -1}; }

#endif
