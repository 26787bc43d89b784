/* A picture in the top left corner of a square canvas, as Aria takes it (transformers.models.aria, AriaImageProcessor): the longer side becomes the
 * canvas's, the shorter follows but is at least min_side, the rest is padding. Patches that are all padding are never made. */
#ifndef MOE_IMAGE_CANVAS_H
#define MOE_IMAGE_CANVAS_H

#include <stdbool.h>

#include "base/err.h"
#include "base/mem.h"
#include "image/picture.h"
#include "image/resize.h"

enum { MOE_MAX_RATIOS = 32, MOE_MAX_CROPS = 1024 };

/* How a picture is split into several canvases. */
enum moe_split {
	MOE_SPLIT_NONE,
	MOE_SPLIT_ORIGINAL,     /* as Aria was trained: the whole picture, then its tiles, stretched to the ratio of sides that is closest to its own */
	MOE_SPLIT_HF,           /* as transformers splits: tiles only, the picture fitted into the middle of the best resolution */
	MOE_N_SPLITS,
};

/* "none", "original", "hf", or MOE_N_SPLITS. */
enum moe_split moe_split_find(const char *name);

struct moe_canvas {
	uint32_t size, min_side, patch; /* pixels */
	enum moe_filter filter;
	enum moe_split split;
	uint32_t ratio[MOE_MAX_RATIOS][2];      /* columns and rows of tiles */
	size_t n_ratios;
	float value[3][256];            /* of a pixel, by channel */
};

/* Are the settings usable: a size of whole patches, at least min_side, within the limits of fit.h; so is every picture that is cut into tiles, of which
 * there are at most MOE_MAX_CROPS? MOE_EUSAGE otherwise. The other functions rely on it. */
enum moe_err moe_canvas_check(const struct moe_canvas *c, struct moe_diag *d) MOE_CHECK_RESULT;

/* value[c][v] = ((float)(v · (1 / 255)) - mean[c]) / std[c]: the product in double, the rest in float, as the processor does. */
void moe_canvas_values(struct moe_canvas *c, const double mean[3], const double std[3]);

/* Size of a w × h picture on the canvas. */
void moe_canvas_size(const struct moe_canvas *c, uint32_t w, uint32_t h, uint32_t *nw, uint32_t *nh);

/* One canvas cut into patches. */
struct moe_patches {
	float *pixel;           /* [rows · columns][3 · patch · patch] */
	uint32_t rows, columns; /* patches with at least one pixel of the picture; they begin in the top left corner */
	uint32_t height, width; /* of the picture on the canvas, in pixels */
};

/* Lays the picture on the canvas and cuts it; memory from the arena. */
enum moe_err moe_canvas_patches(struct moe_patches *out, const struct moe_canvas *c, const struct moe_picture *in, struct moe_arena *a, struct moe_diag *d) MOE_CHECK_RESULT;

/* The ratio that a w × h picture is stretched to by MOE_SPLIT_ORIGINAL: that whose quotient is closest to w/h; of two equally close the later one if
 * the picture has more than half of its pixels (rhymes-ai/Aria, vision_processor.py, _split_image). An index into ratio. */
size_t moe_split_ratio(const struct moe_canvas *c, uint32_t w, uint32_t h);

/* The ratio whose resolution (in units of 490 pixels, rows and columns exchanged) MOE_SPLIT_HF fits the picture into: the one that keeps most of its
 * pixels, then the one that wastes least (transformers, select_best_resolution). */
size_t moe_split_resolution(const struct moe_canvas *c, uint32_t w, uint32_t h);

/* How a picture is cut once its ratio is chosen: MOE_SPLIT_ORIGINAL makes as many tiles as the ratio says, MOE_SPLIT_HF a picture of so many units, of
 * which the last tiles may be smaller than the canvas. */
struct moe_tiling {
	uint32_t width, height;         /* of the picture that is cut, in pixels */
	uint32_t columns, rows;         /* of tiles */
	bool overview;                  /* the whole picture comes before the tiles: with more than one of them */
};
struct moe_tiling moe_split_tiling(const struct moe_canvas *c, size_t ratio);

#endif
