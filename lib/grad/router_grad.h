/* The router's losses and its backward pass, for scores by softmax. With z the logits of a row, p = softmax(z), and I the experts that were chosen:
 *
 *     weight    w_i = scale · p_i, over sum of p in I (+ eps) where they are renormalised
 *     balance   LB = sum over layers of E · sum_e f_e P_e: f_e the share of all choices of the step that fell on e, a constant, P_e the mean of p_e over the
 *               step's rows (Fedus et al. 2022, eq. 4)
 *     z         Z = sum over layers of the mean of (log sum exp z)² (Zoph et al. 2022, eq. 5) */
#ifndef MOE_GRAD_ROUTER_GRAD_H
#define MOE_GRAD_ROUTER_GRAD_H

#include <stdint.h>

#include "kernel/kernel.h"
#include "nn/router.h"

/* Of some rows of a layer: choices and sums of p by expert, and the sum of squares of log sum exp. */
struct moe_router_sums {
	uint64_t *load;                 /* [2][experts]: text, image */
	double *p;                      /* [experts] */
	double z;
};

/* p [rows][experts] and lse [rows] of the logits. */
void moe_router_scores(float *p, float *lse, const float *logit, size_t rows, const struct moe_router_settings *s);

/* weight [rows][k] of given choices. */
void moe_router_weigh(float *weight, const float *p, const int32_t *expert_id, size_t rows, const struct moe_router_settings *s);

/* Adds to the sums. `modality` [rows]: 0 text, 1 image. */
void moe_router_measure(struct moe_router_sums *sums, const float *p, const float *lse, const int32_t *expert_id, const uint8_t *modality, size_t rows,
			const struct moe_router_settings *s);

/* What the losses add for one row: balance · E · f_e / rows for each p_e, and z · 2 lse p_e / rows for each logit. */
struct moe_router_pull {
	const float *p;                 /* [experts] */
	float z;
};

/* dlogit [rows][experts] from dweight [rows][k]. */
void moe_router_backward(float *dlogit, const float *dweight, const float *p, const float *lse, const int32_t *expert_id, const float *weight, size_t rows,
			 const struct moe_router_settings *s, const struct moe_router_pull *pull);

#endif
