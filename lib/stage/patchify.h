/* moe-patchify: decodes pictures and cuts them into patches. A filter behind `tokens`, or the first stage of a stream of `patches`. */
#ifndef MOE_STAGE_PATCHIFY_H
#define MOE_STAGE_PATCHIFY_H

#include "image/crops.h"
#include "image/feed.h"
#include "model/spec.h"
#include "stage/stage.h"

struct moe_patchify {
	const struct moe_spec *spec;
	struct moe_feed *feed;
	struct moe_image_plan plan;     /* made from the spec by moe_patchify_init */
	uint64_t wanted, given;         /* pictures that placeholders asked for; pictures that the feed gave */
	struct moe_feed_item ahead;     /* a picture that nobody has asked for yet, if has_ahead */
	bool has_ahead;
	struct moe_arena memory;
};

/* What a user may choose where the family leaves a choice; zeroed: what the model's files say. */
struct moe_image_choice {
	int64_t size;                   /* one of image.sizes; 0: image.size */
	const char *split;              /* "none", "original" or "hf"; NULL: image.split */
};

/* The image settings of a spec in the form that image/ works with. A choice that the family does not leave fails with MOE_EUSAGE. */
enum moe_err moe_plan_from_spec(struct moe_image_plan *plan, const struct moe_spec *s, const struct moe_image_choice *choice, struct moe_diag *d) MOE_CHECK_RESULT;

/* The most features that a picture may give. */
size_t moe_plan_most_features(const struct moe_image_plan *p, const struct moe_spec *s);

/* How pictures are to be decoded for a spec. */
struct moe_decode_options moe_decode_from_spec(const struct moe_spec *s);

enum moe_err moe_patchify_init(struct moe_patchify *p, const struct moe_spec *s, const struct moe_image_choice *choice, struct moe_feed *feed,
				struct moe_diag *d) MOE_CHECK_RESULT;
void moe_patchify_free(struct moe_patchify *p);

struct moe_stage moe_patchify_stage(struct moe_patchify *p);

/* As the first stage: head, `patches` frames (or `failed`) of one picture after the other, end. */
enum moe_err moe_patchify_source(struct moe_patchify *p, const struct moe_identity *id, struct moe_output *out, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
