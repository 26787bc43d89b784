/* The operations, as plans. */
#ifndef MOE_GRAFT_GRAFT_OPERATIONS_H
#define MOE_GRAFT_GRAFT_OPERATIONS_H

#include "graft/graft.h"
#include "graft/graft_plan.h"

/* What must hold of the outputs, and why, where nothing does. */
struct moe_graft_promise {
	enum moe_graft_claim claim;
	const char *why;
	bool *dropped;                  /* [layers][experts], from the plan's memory, or NULL: it holds where none of these was chosen */
	double rounded;                 /* what the types of the output change of a tensor, relative to its root mean square, at most */
	bool other_types;               /* some tensor has another type than in the source */
};

/* Makes the plan, which begins with zeros and is freed in any case. */
enum moe_err moe_graft_operate(struct moe_graft_plan *out, const struct moe_graft_index *source, size_t n, const struct moe_graft_options *o,
			       struct moe_graft_promise *promise, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
