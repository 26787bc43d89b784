/* From a plan to the tensors of the output: names and shapes as the first source has them, and how their numbers are made. */
#ifndef MOE_GRAFT_GRAFT_TENSORS_H
#define MOE_GRAFT_GRAFT_TENSORS_H

#include "convert/targets.h"
#include "graft/graft_plan.h"

/* Lists the tensors that a plan makes; what the targets need beside the mapped sources is in the plan's memory. */
enum moe_err moe_graft_tensors(struct moe_graft_plan *p, struct moe_targets *out, const struct moe_types *types, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
