/* The stage that joins the streams of a layer whose experts were shared out (partial_experts.h): it sums up as the layer itself does, slot by slot, then does
 * all else that the layer does, so that the bytes are those of a layer that was never cut.
 *
 * One stream is read as every stage reads, the others in lock-step with it: frame by frame they must say the same but for what they computed. MOE_EMATCH for
 * streams that do not belong together; MOE_EINPUT, with row and slot, for a result that is missing or comes twice. */
#ifndef MOE_STAGE_JOIN_H
#define MOE_STAGE_JOIN_H

#include "stage/stage.h"

enum { MOE_MOST_JOINED = 64 };

struct moe_join {
	struct moe_model *model;
	struct moe_pool *pool;
	size_t layer;
	bool any_order;
	struct moe_joined {
		struct moe_reader *in;          /* the caller's; of the first stream, what moe_stage_loop reads */
		struct moe_frame frame;         /* state: of the others, what was read last */
		struct moe_account account;
	} stream[MOE_MOST_JOINED];
	size_t n;

	struct moe_arena scratch;               /* state */
};

struct moe_stage moe_join_stage(struct moe_join *j);
void moe_join_free(struct moe_join *j);

#endif
