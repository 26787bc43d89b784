/* A layer whose experts are shared out over processes. Each computes what some of the experts give and hands it on unsummed; join.h sums up.
 *
 * A partial frame is a `routed` frame behind the stage "N.partial" with
 *
 *     filled [T][K]       U8, 1 where the result of the row's slot is in this frame
 *     part   [P][hidden]  F32, these P results, row by row and slot by slot, before their weights
 *
 * The process of expert 0 passes on all that the frame has; the others only these two, and `expert_id` and `weight`, which name what was chosen. */
#ifndef MOE_STAGE_PARTIAL_EXPERTS_H
#define MOE_STAGE_PARTIAL_EXPERTS_H

#include "stage/flow.h"

/* The experts of this process, both included. */
struct moe_partial {
	size_t first, last;
};

/* The frames of a flow behind the router of `layer` become partial ones, and are emitted. */
enum moe_err moe_partial_forward(const struct moe_partial *p, struct moe_flow *flow, const struct moe_model *m, size_t layer, const struct moe_compute *work,
				 struct moe_output *out, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
