/* What the layers may put into the frames for those who look inside: the weights of attention, and what each expert gave. The rows themselves stay as they
 * are, bit for bit. Tensors are named after their layer, so that those of several layers stand side by side:
 *
 *     N.attention [heads][T][slots]   weights of the T rows over the slots of the sequence so far
 *     N.residual  [R][hidden]         the rows before the experts: the last R of the frame
 *     N.expert_id, N.weight [R][k]    the choice
 *     N.part      [R][k][hidden]      what each chosen expert gave, before its weight; 0 where none was chosen
 *     N.shared    [R][hidden]         what every token passes: shared experts, or the dense layer's
 *
 * hidden = residual + (sum over i, in order, by fma from +0, of weight[i] · part[i]; + shared). */
#ifndef MOE_STAGE_INSIGHT_H
#define MOE_STAGE_INSIGHT_H

#include "stage/flow.h"

enum { MOE_MOST_INSIGHT = 1 << 30 };    /* bytes that are added to a frame */

enum moe_insight_parts { MOE_PARTS_NONE, MOE_PARTS_ALL, MOE_PARTS_WANTED };

/* Zeroed: nothing is added. */
struct moe_insight {
	bool attention;
	enum moe_insight_parts parts;   /* of all rows, or of those whose logits are wanted */
	struct moe_arena kept;          /* state: what the frames borrow until they are written */
	uint64_t nbytes;
};

void moe_insight_free(struct moe_insight *in);

/* Does it add anything? Then frames should come one by one, so that no more than MOE_MOST_INSIGHT is in memory. */
bool moe_insight_adds(const struct moe_insight *in);

/* Forgets what it has lent. */
void moe_insight_reset(struct moe_insight *in);

/* Around the attention of a layer, and around its experts, for the frames of a flow. The first of each pair makes room, the second puts the tensors into the
 * frames. MOE_ENOMEM when a frame would get too much. */
enum moe_err moe_insight_attend(struct moe_insight *in, struct moe_flow *flow, const struct moe_model *m, struct moe_diag *d) MOE_CHECK_RESULT;
enum moe_err moe_insight_attended(struct moe_insight *in, struct moe_flow *flow, const struct moe_model *m, size_t layer, struct moe_diag *d) MOE_CHECK_RESULT;

/* Between the two: fewer rows go on than attention had. */
enum moe_err moe_insight_cut(struct moe_insight *in, struct moe_flow *flow, size_t layer, struct moe_diag *d) MOE_CHECK_RESULT;

enum moe_err moe_insight_expert(struct moe_insight *in, struct moe_flow *flow, const struct moe_model *m, size_t layer, struct moe_diag *d) MOE_CHECK_RESULT;
enum moe_err moe_insight_experted(struct moe_insight *in, struct moe_flow *flow, size_t layer, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
