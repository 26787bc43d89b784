/* What scenes and panels draw with: colours that keep apart, characters as outlines, and what a camera or a screen does to the picture. */
#ifndef MOE_SYNTH_INK_H
#define MOE_SYNTH_INK_H

#include "synth/synth.h"

struct moe_ink { double r, g, b; };     /* 0 .. 255 */

void moe_ink_set(cairo_t *c, struct moe_ink ink);

/* Each channel moved by up to `by`, within 0 .. 255. */
struct moe_ink moe_ink_jitter(struct moe_draw *r, struct moe_ink ink, double by);

/* a + t (b - a). */
struct moe_ink moe_ink_mix(struct moe_ink a, struct moe_ink b, double t);

/* Distance of two colours, half of it by how light they are, since thin blue on black or yellow on white is hard to read; black and white are 441 apart. */
double moe_ink_distance(struct moe_ink a, struct moe_ink b);

/* A colour for a surface that is at least `least` away from each of n colours, light, dark or tinted by chance; of those that were tried the farthest
 * when none is. *distance gets how far. */
struct moe_ink moe_ink_ground(struct moe_draw *r, const struct moe_ink *ink, size_t n, double least, double *distance);

struct moe_rect { double x0, y0, x1, y1; };

/* Adds to the path the outline of a text whose ink is centred on (x, y), as large as fits into width x height (in user units). False when the face draws
 * nothing. Outlines are unhinted: the same shape at every size. */
bool moe_ink_text(cairo_t *c, cairo_font_face_t *face, const char *text, double x, double y, double width, double height);

/* The exact extents of the current path in pixels. */
struct moe_rect moe_ink_extents(cairo_t *c);

/* Slopes of light, noise, blur and compression, so that what is `detail` pixels wide stays readable. */
enum moe_err moe_ink_weather(struct moe_synth_sample *p, struct moe_draw *r, double detail, struct moe_diag *d) MOE_CHECK_RESULT;

/* A side of a picture in pixels: 64 or a little more, seldom up to three times as much. */
uint32_t moe_ink_side(struct moe_draw *r);

#endif
