/* moe-embed: looks tokens up, puts a picture's features in the place of its placeholder; `tokens` + `features` → `hidden`. */
#ifndef MOE_STAGE_EMBED_H
#define MOE_STAGE_EMBED_H

#include "model/merge.h"
#include "stage/given.h"
#include "stage/stage.h"

struct moe_embed {
	const struct moe_model *model;
	size_t chunk;                   /* rows per frame, 0: all in one; rounded up to the end of a bidirectional image */
	const struct moe_given_features *given; /* in the place of pictures, or NULL */
	struct moe_frame tokens;        /* a sequence whose features are still coming */
	bool waiting;
	struct moe_patch_grid *grid;          /* [pictures] that it wants */
	float **feature;
	size_t wanted, have;
	struct moe_crop_features coming;        /* a picture of which some crops are there */
	struct moe_arena memory;        /* of one sequence */
};

/* The hidden states of a layout's rows into x [l->rows][hidden]: embeddings of its tokens, and the features [rows · columns][hidden] of picture i,
 * whose grid is grid[i], in their place. */
enum moe_err moe_rows_forward(const struct moe_model *m, const struct moe_layout *l, const struct moe_patch_grid *grid, float *const *feature, float *x,
			      struct moe_diag *d) MOE_CHECK_RESULT;

struct moe_stage moe_embed_stage(struct moe_embed *e);
void moe_embed_free(struct moe_embed *e);

#endif
