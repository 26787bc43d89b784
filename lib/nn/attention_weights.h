/* What attention looked at: the weights themselves, which the kernel (kernel.h) never holds whole. */
#ifndef MOE_NN_ATTENTION_WEIGHTS_H
#define MOE_NN_ATTENTION_WEIGHTS_H

#include "kernel/kernel.h"

/* weight [heads][rows][slots] = softmax over the slots that a row sees of q · k · scale, and 0 for the others; no row's limit exceeds `slots`, all of which
 * the blocks hold. Scores are those of moe_attend_rows; the softmax is over all slots at once. a->out and a->value are not used. */
void moe_attention_weights(const struct moe_attention *a, size_t slots, float *weight, struct moe_pool *pool);

#endif
