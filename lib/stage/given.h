/* Features of pictures that another run of moe-encode has written, in the place of pictures: the tower need not run again for another question. */
#ifndef MOE_STAGE_GIVEN_H
#define MOE_STAGE_GIVEN_H

#include "model/merge.h"
#include "stage/stage.h"

/* Pictures in order; crops of a picture lie behind each other. */
struct moe_given_features {
	struct moe_patch_grid *grid;    /* [n] */
	float **feature;                /* [n] → [grid.features][hidden] */
	size_t n;
	struct moe_arena memory;
};

/* Reads all `features` frames of a stream that was made with model m. Takes over the reader. */
enum moe_err moe_given_read(struct moe_given_features *g, struct moe_reader *in, const struct moe_model *m, const struct moe_identity *id, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_given_free(struct moe_given_features *g);

/* One picture's features, crop by crop: what moe-embed and moe_given_read share. Zeroed before a picture. */
struct moe_crop_features {
	size_t crop, crops;             /* so far, and in all */
	struct moe_patch_grid grid;
	float *feature;
};

/* Takes a `features` frame; *complete says whether it was the picture's last crop. Memory comes from `a`. */
enum moe_err moe_crop_take(struct moe_crop_features *c, struct moe_frame *f, const struct moe_spec *s, struct moe_arena *a, bool *complete, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
