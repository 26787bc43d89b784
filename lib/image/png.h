/* Writing pictures as PNG: 8-bit RGB, no ancillary chunks; the same pixels give the same bytes. */
#ifndef MOE_IMAGE_PNG_H
#define MOE_IMAGE_PNG_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* The writer keeps its memory from picture to picture. One per thread. */
struct moe_png;
enum moe_err moe_png_new(struct moe_png **out, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_png_free(struct moe_png *p);

/* The file of rgb, [height][width][3], both sides from 1 to 65535. *bytes is valid until the next call. */
enum moe_err moe_png_encode(struct moe_png *p, const uint8_t *rgb, uint32_t width, uint32_t height, const uint8_t **bytes, size_t *n, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
