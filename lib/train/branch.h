/* A run that leaves another one at a checkpoint and cools down from there: the learning rate falls to its floor over a number of tokens, on the data that would have
 * come next. So one long run at a constant rate gives models of many lengths. */
#ifndef MOE_TRAIN_BRANCH_H
#define MOE_TRAIN_BRANCH_H

#include <stdint.h>

#include "base/err.h"

/* Makes the run's folder `to` (which is not there, or was begun by this) from the run in `from`: the checkpoint of that step, which is its last or one that it kept; the log up
 * to there; and the recipe, whose stage at hand now ends `tokens` later, all of which are decay. MOE_EUSAGE when there is no such checkpoint. */
enum moe_err moe_branch(const char *from, uint64_t step, uint64_t tokens, const char *to, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
