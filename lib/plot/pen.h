/* What figures are drawn with: boxes, text and lines on a sheet, as SVG (pen_svg.c), as pixels (pen_pixels.c), or on nothing, to measure. Lengths are in
 * pixels of a screen, y grows downwards. */
#ifndef MOE_PLOT_PEN_H
#define MOE_PLOT_PEN_H

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"
#include "image/picture.h"
#include "plot/palette.h"

/* Inks with a meaning follow the paper, which is light or dark; colours are the same on both. */
enum moe_paint { MOE_PAINT_TEXT, MOE_PAINT_FAINT, MOE_PAINT_RULE, MOE_PAINT_PAPER, MOE_PAINT_COLOUR, MOE_N_PAINTS = MOE_PAINT_COLOUR };

struct moe_ink {
	enum moe_paint paint;
	struct moe_rgb rgb;             /* of MOE_PAINT_COLOUR */
	double alpha;                   /* 0 to 1 */
};

static inline struct moe_ink moe_ink(enum moe_paint paint) { return (struct moe_ink){.paint = paint, .alpha = 1}; }
static inline struct moe_ink moe_ink_rgb(struct moe_rgb c, double alpha) { return (struct moe_ink){MOE_PAINT_COLOUR, c, alpha}; }

enum moe_anchor { MOE_ANCHOR_START, MOE_ANCHOR_MIDDLE, MOE_ANCHOR_END };

struct moe_type {
	double size;
	enum moe_anchor anchor;
	bool bold, halo;                /* halo: a rim of the other ink around the letters, for text over a picture */
	double turn;                    /* degrees, clockwise, about (x, y) */
};

/* A part of a drawing that has a meaning of its own: SVG shows `title` to who points at it or has it read aloud, and a page's program finds it by the
 * numbers. */
struct moe_mark {
	const char *title;
	long token, layer, expert, next;        /* -1: none; next: expert in the next layer */
	long picture;
};

struct moe_pen;

void moe_pen_box(struct moe_pen *p, double x, double y, double w, double h, double round, struct moe_ink fill);
void moe_pen_frame(struct moe_pen *p, double x, double y, double w, double h, double round, struct moe_ink ink, double width);
void moe_pen_disc(struct moe_pen *p, double x, double y, double r, struct moe_ink fill);

/* Through n points. */
void moe_pen_line(struct moe_pen *p, const double *x, const double *y, size_t n, struct moe_ink ink, double width, bool dashed);

/* From the edge (x0, y0) to (x0, y0 + h) to the edge (x1, y1) to (x1, y1 + h), in two curves. */
void moe_pen_ribbon(struct moe_pen *p, double x0, double y0, double x1, double y1, double h, struct moe_ink fill);

/* (x, y): on the baseline. `s` may be any bytes; what is not UTF-8, and control characters, become U+FFFD. */
void moe_pen_text(struct moe_pen *p, double x, double y, const struct moe_type *t, struct moe_ink ink, const char *s);

/* A picture, of which the same number always stands for the same; in grey or in its colours. */
void moe_pen_image(struct moe_pen *p, const struct moe_picture *picture, unsigned number, bool grey, double x, double y, double w, double h);

void moe_pen_begin(struct moe_pen *p, const struct moe_mark *part);
void moe_pen_end(struct moe_pen *p);

/* Draws nothing. Static storage. */
struct moe_pen *moe_pen_none(void);
static inline bool moe_pen_draws(struct moe_pen *p) { return p != moe_pen_none(); }

/* SVG elements on f. Pictures are used by their number, under which moe_pen_svg_picture defines one. */
enum moe_err moe_pen_svg_new(struct moe_pen **out, FILE *f, struct moe_diag *d) MOE_CHECK_RESULT;
enum moe_err moe_pen_svg_picture(struct moe_pen *p, const struct moe_picture *picture, unsigned number, struct moe_diag *d) MOE_CHECK_RESULT;

/* Pixels: a sheet of w × h, of scale × scale pixels each. MOE_ENOMEM for sheets that are too large. */
enum moe_err moe_pen_pixels_new(struct moe_pen **out, double w, double h, double scale, struct moe_diag *d) MOE_CHECK_RESULT;
/* Writes them as PNG. */
enum moe_err moe_pen_pixels_write(struct moe_pen *p, FILE *f, struct moe_diag *d) MOE_CHECK_RESULT;

void moe_pen_free(struct moe_pen *p);

/* Text for XML on f: escaped, and what is no UTF-8 or not allowed there as U+FFFD. */
void moe_print_xml(FILE *f, const char *s);

/* How wide a text comes out at most in the usual fonts without serifs. */
double moe_text_width(const char *s, double size, bool bold);

#endif
