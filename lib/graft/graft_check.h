/* Two models side by side on the same input. */
#ifndef MOE_GRAFT_GRAFT_CHECK_H
#define MOE_GRAFT_GRAFT_CHECK_H

#include "graft/graft_operations.h"

/* Compares the logits of the model in the folder `made` with those of `m` on tokens that are drawn at random, and a picture where it takes some; MOE_EMATCH
 * where the promise is not kept. Sets what *out does not have yet. */
enum moe_err moe_graft_compare(struct moe_graft_check *out, struct moe_model *m, const char *made, const struct moe_graft_promise *promise,
			       const struct moe_graft_options *o, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
