/* Auxiliary routers (MoMa, Lin et al. 2024, section 2.4): a small network per layer and pool foretells, from a row alone, which experts a choice over a group of rows
 * gives it; another with one output, whether the layer passes it. With n the row that the router reads, taken as a constant:
 *
 *     a = W2 silu(W1 n)       loss = -(y log sigmoid(a) + (1 - y) log(1 - sigmoid(a))), y the choice */
#ifndef MOE_GRAD_AUX_GRAD_H
#define MOE_GRAD_AUX_GRAD_H

#include "grad/dense.h"

struct moe_aux_dense { struct moe_dense fc1, fc2; };    /* [inner][hidden], [out][inner]; f32 */

/* Bytes of scratch of either of the following. */
size_t moe_aux_scratch(const struct moe_aux_dense *w, size_t rows);

/* logit [rows][out] of x [rows][hidden]. */
void moe_aux_foretell(const struct moe_aux_dense *w, const float *x, size_t rows, float *logit, void *scratch);

/* Returns the sum of the losses of x [rows][hidden] against target [rows][out] (0 or 1); with dfc1 and dfc2, they += the gradients of `scale` times that sum.
 * logit [rows][out] are the a. */
double moe_aux_loss(const struct moe_aux_dense *w, const float *x, const uint8_t *target, size_t rows, float scale, float *dfc1, float *dfc2, float *logit,
		    void *scratch);

#endif
