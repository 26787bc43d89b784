/* Balancing experts without a loss: after a step, the bias that a router adds to its scores for the choice alone moves by a fixed rate towards an even load
 * (Wang et al. 2024, "Auxiliary-loss-free load balancing strategy for mixture-of-experts"). */
#ifndef MOE_TRAIN_BALANCE_H
#define MOE_TRAIN_BALANCE_H

#include "train/params.h"

/* bias[e] += rate · sign(mean load of the expert's pool - load[e]); bias [experts], load [n][experts]: choices by n modalities. */
void moe_balance_step(float *bias, const uint64_t *load, size_t n, const struct moe_router_settings *s, double rate);

/* That, in every layer that has a choice bias, unless it is frozen ([tensors], NULL: none). load [layers][MOE_N_MODALITIES][experts]: the choices of the step
 * (net.h). Where each modality has a bias of its own, it follows that one's choices. */
void moe_balance_update(const struct moe_params *params, float *weights, const uint64_t *load, const struct moe_router_settings *s, double rate, const bool *frozen);

/* Has any layer a choice bias? */
bool moe_balance_possible(const struct moe_params *params);

#endif
