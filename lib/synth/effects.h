/* What happens to a picture between the screen and the model: blur, noise, gradients, compression. All work in place on u8 [height][width][3]. */
#ifndef MOE_SYNTH_EFFECTS_H
#define MOE_SYNTH_EFFECTS_H

#include "synth/synth.h"

/* Gaussian blur, sigma in pixels. */
void moe_effect_blur(struct moe_synth_sample *p, double sigma);

/* Gaussian noise of this standard deviation, in grey or for each channel. */
void moe_effect_noise(struct moe_synth_sample *p, struct moe_draw *r, double deviation, bool grey);

/* Adds a slope: from -x to x left to right and from -y to y top to bottom, for each channel scaled by tint[3]. */
void moe_effect_slope(struct moe_synth_sample *p, double x, double y, const double tint[3]);

/* Compresses as JPEG of this quality (1 to 100) and decodes again. */
enum moe_err moe_effect_jpeg(struct moe_synth_sample *p, int quality, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
