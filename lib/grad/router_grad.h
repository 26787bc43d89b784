/* The router's losses and its backward pass. With z the logits of a row, over the experts of its pool (the logits of others are -inf), p = softmax(z) or sigmoid(z),
 * and I the experts that were chosen, by whomever:
 *
 *     weight    w_i = scale · p_i, over sum of p in I (+ eps) where they are renormalised
 *     balance   LB = sum over layers and pools of E · sum_e f_e P_e: E the experts of the pool; f_e the share of all choices of the step in the pool that fell on e, a
 *               constant; P_e the mean of q_e over the step's rows in the pool, with q = p / sum of p, which is p for softmax (Fedus et al. 2022, eq. 4; for sigmoid
 *               DeepSeek-V3, eq. 18). Of groups of experts: f and P of a group are the sums of its experts', and E is the number of groups (Aria, section 2.2).
 *               Experts that choose are balanced by construction: 0
 *     z         Z = sum over layers of the mean of (log sum exp z)² (Zoph et al. 2022, eq. 5) */
#ifndef MOE_GRAD_ROUTER_GRAD_H
#define MOE_GRAD_ROUTER_GRAD_H

#include <stdint.h>

#include "kernel/kernel.h"
#include "nn/router.h"

/* What a layer's router keeps of rows. k is the width of the tables of choices, whose places without an expert are -1. */
struct moe_router_kept {
	float *logit, *p, *lse;         /* [rows][experts] twice, [rows] */
	int32_t *expert_id;             /* [rows][k] */
	float *weight;                  /* [rows][k] */
};

/* Of some rows of a layer: choices by modality and expert, sums of q by expert, rows by modality, and those that no expert took, and the sum of squares of
 * log sum exp. */
struct moe_router_sums {
	uint64_t *load;                 /* [MOE_N_MODALITIES][experts] */
	double *q;                      /* [experts] */
	uint64_t rows[MOE_N_MODALITIES], unserved;
	double z;
};

/* What is added to a logit for the draw u in [0, 1): log u - log(1 - u), the difference of two Gumbel variables (MoMa, eq. 5). */
float moe_router_noise(double u);

/* lse of the logits, and p of the logits and, for scores by sigmoid, noise [rows][experts] (NULL: none). */
void moe_router_scores(const struct moe_router_kept *r, const float *noise, size_t rows, const struct moe_router_settings *s);

/* weight of given choices. */
void moe_router_weigh(const struct moe_router_kept *r, size_t rows, size_t k, const struct moe_router_settings *s);

/* Adds to the sums. */
void moe_router_measure(struct moe_router_sums *sums, const struct moe_router_kept *r, const uint8_t *modality, size_t rows, size_t k,
			const struct moe_router_settings *s);

/* LB of a layer's sums, with `groups` equal groups of experts, in the order of their ids, in each pool (0: each expert is one of its own). share [experts] =
 * f of each expert; pull [experts] = factor · dLB / dq_e of a row. */
double moe_router_balance(float *pull, double *share, const struct moe_router_sums *sums, const struct moe_router_settings *s, size_t groups, double factor);

/* What the losses add for one row: to the gradient of each q_e, and z · 2 lse softmax(z)_e to that of each logit. */
struct moe_router_pull {
	const float *q;                 /* [experts] */
	float z;
};

/* dlogit [rows][experts] from dweight [rows][k]. */
void moe_router_backward(float *dlogit, const float *dweight, const struct moe_router_kept *r, size_t rows, size_t k, const struct moe_router_settings *s,
			 const struct moe_router_pull *pull);

#endif
