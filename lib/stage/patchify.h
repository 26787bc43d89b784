/* moe-patchify: decodes pictures and cuts them into patches. A filter behind `tokens`, or the first stage of a stream of `patches`. */
#ifndef MOE_STAGE_PATCHIFY_H
#define MOE_STAGE_PATCHIFY_H

#include "image/feed.h"
#include "image/fit.h"
#include "model/spec.h"
#include "stage/stage.h"

struct moe_patchify {
	const struct moe_spec *spec;
	struct moe_feed *feed;
	struct moe_fit fit;             /* made from the spec by moe_patchify_init */
	uint64_t wanted, given;         /* pictures that placeholders asked for; pictures that the feed gave */
	struct moe_feed_item ahead;     /* a picture that nobody has asked for yet, if has_ahead */
	bool has_ahead;
	struct moe_arena memory;
};

/* The image settings of a spec in the form that image/ works with. */
enum moe_err moe_fit_from_spec(struct moe_fit *fit, const struct moe_spec *s, struct moe_diag *d) MOE_CHECK_RESULT;

/* How pictures are to be decoded for a spec. */
struct moe_decode_options moe_decode_from_spec(const struct moe_spec *s);

enum moe_err moe_patchify_init(struct moe_patchify *p, const struct moe_spec *s, struct moe_feed *feed, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_patchify_free(struct moe_patchify *p);

struct moe_stage moe_patchify_stage(struct moe_patchify *p);

/* As the first stage: head, one `patches` frame (or `failed`) per picture, end. */
enum moe_err moe_patchify_source(struct moe_patchify *p, const struct moe_identity *id, struct moe_output *out, struct moe_diag *d) MOE_CHECK_RESULT;

/* A picture's patches from `memory`: pixel [rows · columns][channels · patch · patch]; valid[2]: rows and columns of pixels that are not padding. */
enum moe_err moe_picture_patches(const struct moe_fit *fit, const struct moe_picture *in, struct moe_arena *memory, float **pixel, int32_t grid[2],
				 int32_t valid[2], struct moe_diag *d) MOE_CHECK_RESULT;

#endif
