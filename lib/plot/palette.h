/* Colours: one for each expert, and those of scales. They are told apart with each of the common kinds of colour blindness: tests/lib/plot.c measures
 * it. No picture relies on colour alone: wherever there is room, the number stands in the coloured field. */
#ifndef MOE_PLOT_PALETTE_H
#define MOE_PLOT_PALETTE_H

#include <stddef.h>
#include <stdint.h>

enum { MOE_EXPERT_COLOURS = 64 };       /* then they begin anew */

struct moe_rgb { uint8_t r, g, b; };

struct moe_rgb moe_expert_colour(size_t expert);

/* Black or white, whichever is easier to read on it. */
struct moe_rgb moe_ink_on(struct moe_rgb paper);

/* From a (share 0) to b (share 1), evenly for the eye (in Oklab). */
struct moe_rgb moe_mix_colours(struct moe_rgb a, struct moe_rgb b, double share);

/* Without its colour, as the filter grayscale() of CSS has it. */
struct moe_rgb moe_grey(struct moe_rgb c);

/* How bright it looks, from 0 to 1 (Oklab's L). */
double moe_lightness(struct moe_rgb c);

/* The colour of the 6 × 6 × 6 cube and the greys of terminals with 256 colours that is closest to it: 16 to 255. */
unsigned moe_colour_256(struct moe_rgb c);

/* What the colour of a field says of its value. */
enum moe_scale_kind {
	MOE_SCALE_NONE,
	MOE_SCALE_RATIO,        /* value / chance, by its logarithm: from a quarter or less to four times or more; white: chance */
	MOE_SCALE_SHARE,        /* 0 to `most` */
	MOE_SCALE_CHANGE,       /* -most to most; white: none */
};

struct moe_scale {
	enum moe_scale_kind kind;
	double most;
};

/* Where it lies on the scale, 0 to 1. */
double moe_scale_place(const struct moe_scale *s, double value, double chance);

/* The colour at a place. */
struct moe_rgb moe_scale_colour(const struct moe_scale *s, double place);

#endif
