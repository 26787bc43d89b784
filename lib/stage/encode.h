/* moe-encode: the tower; `patches` → `features`. */
#ifndef MOE_STAGE_ENCODE_H
#define MOE_STAGE_ENCODE_H

#include "image/crops.h"
#include "stage/stage.h"

struct moe_encode {
	const struct moe_model *model;
	struct moe_pool *pool;
	/* Told of the codes of each picture, of a model with image tokens; NULL: nobody is. */
	enum moe_err (*seen)(void *to, const int32_t *code, struct moe_diag *d);
	void *to;
	struct moe_arena scratch;
};

/* Features of a whole picture, crop by crop: *feature [grid->features][hidden] from work->scratch. */
enum moe_err moe_picture_encode(const struct moe_model *m, const struct moe_image_plan *plan, const struct moe_picture *p, float **feature,
				struct moe_patch_grid *grid, const struct moe_compute *work, struct moe_diag *d) MOE_CHECK_RESULT;

struct moe_stage moe_encode_stage(struct moe_encode *e);
void moe_encode_free(struct moe_encode *e);

/* The grid of a `patches` or `features` frame: rows and columns of patches. It must be one of the model's. */
enum moe_err moe_frame_grid(struct moe_frame *f, const struct moe_spec *s, uint32_t *rows, uint32_t *columns, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
