/* Features of pictures that were seen before: a tower runs once for a picture, however many questions are asked about it. */
#ifndef MOE_RUN_FEATURES_H
#define MOE_RUN_FEATURES_H

#include "stage/encode.h"

struct moe_feature_cache;

/* Keeps at most max_nbytes of features; what was not asked for longest goes first. Any thread may use it. */
enum moe_err moe_feature_cache_new(struct moe_feature_cache **out, size_t max_nbytes, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_feature_cache_free(struct moe_feature_cache *c);

/* As moe_picture_encode, from the cache if the same pixels were encoded with this cache before. One plan and model per cache. NULL: no cache. */
enum moe_err moe_feature_cache_encode(struct moe_feature_cache *c, const struct moe_model *m, const struct moe_image_plan *plan, const struct moe_picture *p,
				      float **feature, struct moe_patch_grid *grid, const struct moe_compute *work, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
