/* Resizing of 8-bit RGB, equal to Pillow's Image.resize byte by byte.
 *
 * Separable: first horizontally, rounded to 8 bits, then vertically; a pass whose size does not change is skipped. Weights are computed in
 * double and rounded to 22 fractional bits. Source of the formulas: share/models/read/SPEC.md, 2d, which restates Pillow's Resample.c. (Pillow 13
 * swaps the passes for some shapes; this is the order of every version before.) */
#ifndef MOE_IMAGE_RESIZE_H
#define MOE_IMAGE_RESIZE_H

#include "base/err.h"
#include "image/picture.h"

enum moe_filter { MOE_BICUBIC, MOE_BILINEAR, MOE_LANCZOS, MOE_BOX, MOE_N_FILTERS };

/* The filter of that name ("bicubic", "bilinear", "lanczos", "box"), or MOE_N_FILTERS. */
enum moe_filter moe_filter_find(const char *name);

/* Resizes `in` to width × height (each 1 to 65535) into `out`, [height][width][3] of the caller's with `stride` bytes from row to row, which
 * is how a picture lands inside a larger canvas. `out` must not overlap `in`. MOE_ENOMEM or MOE_EUSAGE; any thread. */
enum moe_err moe_resize_into(uint8_t *out, size_t stride, uint32_t width, uint32_t height, const struct moe_picture *in,
                             enum moe_filter filter, struct moe_diag *d) MOE_CHECK_RESULT;

/* The same into a picture of its own. */
enum moe_err moe_resize(struct moe_picture *out, uint32_t width, uint32_t height, const struct moe_picture *in, enum moe_filter filter,
                        struct moe_diag *d) MOE_CHECK_RESULT;

#endif
