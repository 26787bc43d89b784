/* Balancing experts without a loss: after a step, the bias that a router adds to its scores for the choice alone moves by a fixed rate towards an even load
 * (Wang et al. 2024, "Auxiliary-loss-free load balancing strategy for mixture-of-experts"). */
#ifndef MOE_TRAIN_BALANCE_H
#define MOE_TRAIN_BALANCE_H

#include "train/params.h"

/* bias[e] += rate · sign(mean load - load[e]), in every layer that has a choice bias, unless it is frozen ([tensors], NULL: none). load
 * [layers][2][experts]: choices by text and by image rows in the step (net.h). */
void moe_balance_update(const struct moe_params *params, float *weights, const uint64_t *load, size_t experts, double rate, const bool *frozen);

/* Has any layer a choice bias? */
bool moe_balance_possible(const struct moe_params *params);

#endif
