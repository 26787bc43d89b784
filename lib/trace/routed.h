/* `routed` frames, as they go from stage to stage, as blocks of a trace of one layer. */
#ifndef MOE_TRACE_ROUTED_H
#define MOE_TRACE_ROUTED_H

#include "trace/trace.h"

/* A frame, cut into blocks. Zeroed: nothing left of it. */
struct moe_routed_frame {
	struct moe_trace_info info;     /* of one layer; kept as it is while frames are of the same layer */
	size_t layer;
	struct moe_trace_block all;     /* of the whole frame, but for `expert`, `position` and `rows` */
	const int32_t *id;              /* [rows][k], -1: none */
	size_t rows, at;                /* rows in all, and in blocks so far */
};

/* Takes a frame, checked as stages check it. `score` and `experts` (0: not known) are what it does not say itself; MOE_EMATCH where the number of experts
 * is not known at all. A layer that routes nothing (K = 0) has no rows. */
enum moe_err moe_routed_take(struct moe_routed_frame *r, struct moe_frame *f, enum moe_trace_score score, size_t experts, struct moe_diag *d) MOE_CHECK_RESULT;

/* Its next block, with memory from `a`; MOE_END when there is nothing left. */
enum moe_err moe_routed_next(struct moe_routed_frame *r, struct moe_trace_block *b, struct moe_arena *a, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
