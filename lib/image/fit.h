/* From a picture of any size to the patches that a model takes: fit into a canvas, pad, normalise, cut.
 *
 *   struct moe_fit f = {...};                          the settings of the family (image.* of the spec)
 *   size_t g = moe_fit_choose(&f, p.width, p.height);  which grid, hence the size of the canvas
 *   moe_fit_canvas(&f, g, &p, canvas, d);              u8 [H][W][3], H = rows × patch_height, W = columns × patch_width
 *   moe_fit_patches(&f, g, canvas, pixel);             f32 [P, 3·ph·pw]
 *
 * Source of the formulas: share/models/read/SPEC.md, section 2. All functions are pure; any thread. */
#ifndef MOE_IMAGE_FIT_H
#define MOE_IMAGE_FIT_H

#include "base/err.h"
#include "image/picture.h"
#include "image/resize.h"

enum { MOE_FIT_MAX_GRIDS = 64, MOE_FIT_CHANNELS = 3, MOE_FIT_MAX_SIDE = 65535, MOE_FIT_MAX_PIXELS = 64 << 20 };   /* of a canvas */

enum moe_fit_pad {
	MOE_FIT_PAD_CONSTANT,           /* pad_colour */
	MOE_FIT_PAD_BORDER_MEDIAN,      /* per channel the lower median of the source's outermost ring of pixels */
};

/* Vertically the picture is always in the middle: row (H - h) / 2. */
enum moe_fit_place {
	MOE_FIT_LEFT,                   /* column 0 */
	MOE_FIT_CENTRE,                 /* column (W - w) / 2 */
};

struct moe_grid { uint32_t rows, cols; };       /* in patches */

struct moe_fit {
	struct moe_grid grid[MOE_FIT_MAX_GRIDS];
	size_t n_grids;
	uint32_t patch_height, patch_width;
	enum moe_filter filter;
	enum moe_fit_pad pad;
	enum moe_fit_place place;
	uint8_t pad_colour[MOE_FIT_CHANNELS];
	float mean[MOE_FIT_CHANNELS], std[MOE_FIT_CHANNELS];    /* of u8 values: pixel = (u8 - mean) / std */
};

/* Are the settings usable: 1 to MOE_FIT_MAX_GRIDS grids, no side 0, canvases within the limits above, std not 0? The
 * other functions rely on it. */
enum moe_err moe_fit_check(const struct moe_fit *f, struct moe_diag *d) MOE_CHECK_RESULT;

/* Size in which a w × h picture fits into W × H: the larger side touches, the other is rounded half up, both at least 1. */
void moe_fit_size(uint32_t w, uint32_t h, uint32_t W, uint32_t H, uint32_t *nw, uint32_t *nh);

/* The grid on whose canvas the least share is padding once the picture is fitted; of equal ones the first listed. */
size_t moe_fit_choose(const struct moe_fit *f, uint32_t w, uint32_t h);

/* Pixels of grid g's canvas, its patches, and the floats of one patch. */
static inline uint32_t moe_fit_height(const struct moe_fit *f, size_t g) { return f->grid[g].rows * f->patch_height; }
static inline uint32_t moe_fit_width(const struct moe_fit *f, size_t g) { return f->grid[g].cols * f->patch_width; }
static inline size_t moe_fit_n_patches(const struct moe_fit *f, size_t g) { return (size_t)f->grid[g].rows * f->grid[g].cols; }
static inline size_t moe_fit_patch_size(const struct moe_fit *f)
{
	return (size_t)MOE_FIT_CHANNELS * f->patch_height * f->patch_width;
}

/* Pad colour for a picture of at least one pixel. */
void moe_fit_pad_colour(const struct moe_fit *f, const struct moe_picture *in, uint8_t rgb[MOE_FIT_CHANNELS]);

/* Lays the picture on the canvas of grid g: canvas is [H][W][3] of the caller's. A picture that has the fitted size is copied, not
 * resampled. MOE_ENOMEM, or MOE_EUSAGE for a picture without pixels. */
enum moe_err moe_fit_canvas(const struct moe_fit *f, size_t g, const struct moe_picture *in, uint8_t *canvas, struct moe_diag *d)
	MOE_CHECK_RESULT;

/* Cuts the canvas into patches, row-major over the grid, and normalises: pixel is [P][3][ph][pw], i.e. [P, 3·ph·pw]. The value is
 * ((float)u8 - mean) / std in float arithmetic. */
void moe_fit_patches(const struct moe_fit *f, size_t g, const uint8_t *canvas, float *pixel);

/* Patches and planes: pixel [rows·cols][n_channels][ph][pw] <-> planes [n_channels][rows·ph][cols·pw]. */
struct moe_patching { uint32_t rows, cols, n_channels, patch_height, patch_width; };

/* Cuts a canvas [rows·ph][cols·pw][n_channels]: pixel is [rows·cols][n_channels][ph][pw], value[c][v] of a byte v in channel c. */
void moe_patches_from_pixels(float *pixel, const uint8_t *canvas, const struct moe_patching *p, const float (*value)[256]);

void moe_planes_from_patches(float *planes, const float *pixel, const struct moe_patching *p);
void moe_patches_from_planes(float *pixel, const float *planes, const struct moe_patching *p);

#endif
