/* The experts, grouped: (row, slot) pairs are sorted by expert, and each expert is one matrix product over its rows.
 * X_e(h) = down_e (silu(gate_e h) · (up_e h)) (Shazeer 2020, SwiGLU without biases). */
#ifndef MOE_NN_EXPERTS_H
#define MOE_NN_EXPERTS_H

#include "kernel/kernel.h"
#include "nn/batch.h"

struct moe_expert_weights {
	struct moe_mat gate, up, down;
};

struct moe_ffn_weights {
	const float *norm;                      /* [hidden] */
	struct moe_mat router;                  /* [experts][hidden] */
	const struct moe_expert_weights *expert;
};

/* x[r] += sum over slots i, in order, of weight[r][i] · X_{expert_id[r][i]}(normed[r]), for all rows r of the batch. normed [rows] → [hidden];
 * expert_id and weight [rows][k]; `width` is the experts' inner one. The ids must have been checked. */
enum moe_err moe_experts_forward(const struct moe_batch *b, float *const *normed, const int32_t *expert_id, const float *weight, size_t k,
				 const struct moe_expert_weights *expert, size_t n_experts, size_t width, const struct moe_compute *work,
				 struct moe_diag *d) MOE_CHECK_RESULT;

#endif
