#include "image/fit.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/check.h"

enum { C = MOE_FIT_CHANNELS };

static bool side_ok(uint32_t n, uint32_t unit) { return n && unit && n <= MOE_FIT_MAX_SIDE / unit; }

enum moe_err moe_fit_check(const struct moe_fit *f, struct moe_diag *d)
{
	if (!f->n_grids || f->n_grids > MOE_FIT_MAX_GRIDS)
		return moe_fail(d, MOE_EUSAGE, "%zu grids: expected 1 to %d", f->n_grids, MOE_FIT_MAX_GRIDS);
	for (size_t g = 0; g < f->n_grids; g++)
		if (!side_ok(f->grid[g].rows, f->patch_height) || !side_ok(f->grid[g].cols, f->patch_width) ||
		    (uint64_t)moe_fit_height(f, g) * moe_fit_width(f, g) > MOE_FIT_MAX_PIXELS)
			return moe_fail(d, MOE_EUSAGE, "grid %zu: %u x %u patches of %u x %u pixels cannot be", g, f->grid[g].rows, f->grid[g].cols,
			                f->patch_height, f->patch_width);
	for (int c = 0; c < C; c++)
		if (!isfinite(f->mean[c]) || !isfinite(f->std[c]) || f->std[c] == 0)
			return moe_fail(d, MOE_EUSAGE, "channel %d: mean %g and deviation %g cannot be", c, (double)f->mean[c], (double)f->std[c]);
	if (f->filter >= MOE_N_FILTERS)
		return moe_fail(d, MOE_EUSAGE, "unknown filter %d", (int)f->filter);
	return MOE_OK;
}

static uint32_t clamp(uint64_t n, uint32_t most) { return n < 1 ? 1 : n > most ? most : (uint32_t)n; }

void moe_fit_size(uint32_t w, uint32_t h, uint32_t W, uint32_t H, uint32_t *nw, uint32_t *nh)
{
	if ((uint64_t)w * H >= (uint64_t)h * W) {
		*nw = W;
		*nh = clamp((2ull * h * W + w) / (2ull * w), H);
	} else {
		*nw = clamp((2ull * w * H + h) / (2ull * h), W);
		*nh = H;
	}
}

size_t moe_fit_choose(const struct moe_fit *f, uint32_t w, uint32_t h)
{
	uint64_t best_used = 0, best_area = 1;
	size_t best = 0;

	for (size_t g = 0; g < f->n_grids; g++) {
		uint32_t W = moe_fit_width(f, g), H = moe_fit_height(f, g), nw, nh;
		moe_fit_size(w, h, W, H, &nw, &nh);
		/* used / area > best_used / best_area; areas are below 2^26 */
		if ((uint64_t)nw * nh * best_area > best_used * W * H) {
			best = g;
			best_used = (uint64_t)nw * nh;
			best_area = (uint64_t)W * H;
		}
	}
	return best;
}

static void count_pixel(uint64_t count[C][256], const uint8_t *p)
{
	for (int c = 0; c < C; c++)
		count[c][p[c]]++;
}

/* Lower median: element (n - 1) / 2 of the sorted ring; by counting, since there are 256 values. */
static void border_median(const struct moe_picture *in, uint8_t rgb[C])
{
	uint64_t count[C][256] = {0}, n = 0;
	size_t row = (size_t)in->width * C;

	for (uint32_t y = 0; y < in->height; y++) {
		bool whole = y == 0 || y == in->height - 1 || in->width == 1;
		uint32_t step = whole ? 1 : in->width - 1;
		for (uint32_t x = 0; x < in->width; x += step, n++)
			count_pixel(count, in->rgb + y * row + (size_t)x * C);
	}
	for (int c = 0; c < C; c++) {
		uint64_t below = 0;
		unsigned v = 0;
		while ((below += count[c][v]) <= (n - 1) / 2)
			v++;
		rgb[c] = (uint8_t)v;
	}
}

void moe_fit_pad_colour(const struct moe_fit *f, const struct moe_picture *in, uint8_t rgb[C])
{
	if (f->pad == MOE_FIT_PAD_BORDER_MEDIAN)
		border_median(in, rgb);
	else
		memcpy(rgb, f->pad_colour, C);
}

enum moe_err moe_fit_canvas(const struct moe_fit *f, size_t g, const struct moe_picture *in, uint8_t *canvas, struct moe_diag *d)
{
	uint32_t W = moe_fit_width(f, g), H = moe_fit_height(f, g), nw, nh;
	size_t row = (size_t)W * C, x, y;
	uint8_t colour[C];

	if (!in->width || !in->height)
		return moe_fail(d, MOE_EUSAGE, "a picture without pixels");
	moe_fit_pad_colour(f, in, colour);
	for (size_t i = 0; i < row; i++)
		canvas[i] = colour[i % C];
	for (uint32_t i = 1; i < H; i++)
		memcpy(canvas + i * row, canvas, row);
	moe_fit_size(in->width, in->height, W, H, &nw, &nh);
	x = f->place == MOE_FIT_CENTRE ? (W - nw) / 2 : 0;
	y = (H - nh) / 2;
	return moe_resize_into(canvas + y * row + x * C, row, nw, nh, in, f->filter, d);
}

void moe_fit_patches(const struct moe_fit *f, size_t g, const uint8_t *canvas, float *pixel)
{
	struct moe_patching p = {f->grid[g].rows, f->grid[g].cols, C, f->patch_height, f->patch_width};
	float value[C][256];

	for (int c = 0; c < C; c++)
		for (int v = 0; v < 256; v++)
			value[c][v] = ((float)v - f->mean[c]) / f->std[c];
	moe_patches_from_pixels(pixel, canvas, &p, (const float (*)[256])value);
}

/* Where row y of patch (i, j) lies in plane c. */
static size_t plane_at(const struct moe_patching *p, uint32_t i, uint32_t j, uint32_t c, uint32_t y)
{
	size_t height = (size_t)p->rows * p->patch_height, width = (size_t)p->cols * p->patch_width;

	return (c * height + (size_t)i * p->patch_height + y) * width + (size_t)j * p->patch_width;
}

/* Calls for every row of every patch in the order of the patches. */
#define EACH_ROW(p) \
	for (uint32_t i = 0; i < (p)->rows; i++) \
		for (uint32_t j = 0; j < (p)->cols; j++) \
			for (uint32_t c = 0; c < (p)->n_channels; c++) \
				for (uint32_t y = 0; y < (p)->patch_height; y++)

void moe_patches_from_pixels(float *pixel, const uint8_t *canvas, const struct moe_patching *p, const float (*value)[256])
{
	size_t row = (size_t)p->cols * p->patch_width * p->n_channels;

	EACH_ROW(p) {
		const uint8_t *s = canvas + ((size_t)i * p->patch_height + y) * row + (size_t)j * p->patch_width * p->n_channels + c;
		for (uint32_t x = 0; x < p->patch_width; x++)
			*pixel++ = value[c][s[(size_t)x * p->n_channels]];
	}
}

void moe_planes_from_patches(float *planes, const float *pixel, const struct moe_patching *p)
{
	EACH_ROW(p) {
		memcpy(planes + plane_at(p, i, j, c, y), pixel, p->patch_width * sizeof *pixel);
		pixel += p->patch_width;
	}
}

void moe_patches_from_planes(float *pixel, const float *planes, const struct moe_patching *p)
{
	EACH_ROW(p) {
		memcpy(pixel, planes + plane_at(p, i, j, c, y), p->patch_width * sizeof *pixel);
		pixel += p->patch_width;
	}
}
