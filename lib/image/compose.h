/* From a decoder's channels to upright RGB. Pure functions; any thread. */
#ifndef MOE_IMAGE_COMPOSE_H
#define MOE_IMAGE_COMPOSE_H

#include <stddef.h>
#include <stdint.h>

/* n pixels of 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha) channels to RGB. The alpha channel is laid over `background` with Pillow's
 * integer formula (AlphaComposite.c, for an opaque picture below), or dropped where background is NULL. in and out do not overlap. */
void moe_compose_rgb(uint8_t *out, const uint8_t *in, size_t n, unsigned n_channels, const uint8_t *background);

/* Turns a stored picture [h][w][3] upright by its EXIF orientation (1 to 8): out is [h][w][3], for 5 to 8 [w][h][3]. No overlap. */
void moe_compose_upright(uint8_t *out, const uint8_t *in, uint32_t w, uint32_t h, unsigned orientation);

#endif
