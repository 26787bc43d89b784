/* From a decoded picture to what the tower sees: one canvas of patches, or several crops of the picture, one after the other.
 *
 *   moe_crops_open(&c, &plan, &picture, d);
 *   while (!(err = moe_crops_next(&c, &patches, arena, d))) ...        MOE_END after the last of c.n
 *   moe_crops_close(&c); */
#ifndef MOE_IMAGE_CROPS_H
#define MOE_IMAGE_CROPS_H

#include <stdbool.h>

#include "image/canvas.h"
#include "image/fit.h"

/* How the pictures of a model are prepared; any thread may use it. */
struct moe_image_plan {
	bool on_canvas;                 /* else fitted into one of the grids */
	struct moe_fit fit;
	struct moe_canvas canvas;
};

/* Floats of a patch. */
size_t moe_plan_patch_size(const struct moe_image_plan *p);

/* The most crops that any picture may give, and the most patches of all its crops together. */
size_t moe_plan_most_crops(const struct moe_image_plan *p);
size_t moe_plan_most_patches(const struct moe_image_plan *p);

struct moe_crops {
	const struct moe_image_plan *plan;
	const struct moe_picture *picture;
	struct moe_picture tiled;       /* the picture as it is cut, when it is split */
	struct moe_tiling tiling;
	size_t n, at;                   /* crops in all, and given so far */
};

/* Prepares the picture, which is used until the crops are closed. The plan's settings have been checked (moe_fit_check, moe_canvas_check). After a
 * failure (MOE_EUSAGE: no pixels; MOE_ENOMEM) the crops are still to be closed. */
enum moe_err moe_crops_open(struct moe_crops *c, const struct moe_image_plan *p, const struct moe_picture *in, struct moe_diag *d) MOE_CHECK_RESULT;

/* The grid of the next crop, of which there must be one. All crops of a picture have as many features. */
void moe_crops_grid(const struct moe_crops *c, uint32_t *rows, uint32_t *columns);

/* The next crop's patches, from the arena; the caller may release them before it asks for the next, so that one canvas is held at a time. MOE_END after the
 * last. */
enum moe_err moe_crops_next(struct moe_crops *c, struct moe_patches *out, struct moe_arena *a, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_crops_close(struct moe_crops *c);

#endif
