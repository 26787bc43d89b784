/* What a pen is made of. */
#ifndef MOE_PLOT_PEN_PRIV_H
#define MOE_PLOT_PEN_PRIV_H

#include "plot/pen.h"

struct moe_pen_ops {
	void (*box)(struct moe_pen *p, double x, double y, double w, double h, double round, struct moe_ink ink, double width);        /* width 0: filled */
	void (*disc)(struct moe_pen *p, double x, double y, double r, struct moe_ink fill);
	void (*line)(struct moe_pen *p, const double *x, const double *y, size_t n, struct moe_ink ink, double width, bool dashed);
	void (*ribbon)(struct moe_pen *p, double x0, double y0, double x1, double y1, double h, struct moe_ink fill);
	void (*text)(struct moe_pen *p, double x, double y, const struct moe_type *t, struct moe_ink ink, const char *s);
	void (*image)(struct moe_pen *p, const struct moe_picture *picture, unsigned number, bool grey, double x, double y, double w, double h);
	void (*begin)(struct moe_pen *p, const struct moe_mark *part);
	void (*end)(struct moe_pen *p);
	void (*free)(struct moe_pen *p);
};

struct moe_pen { const struct moe_pen_ops *ops; };

/* The inks of light paper. */
struct moe_rgb moe_paint_light(enum moe_paint p);

/* Length of the character at s, of which NUL ends the text, and what it is: U+FFFD for what is no UTF-8 and for control characters. */
size_t moe_rune_next(const char *s, unsigned *rune);

#endif
