/* The experts, grouped: (row, slot) pairs are sorted by expert, and each expert is one matrix product over its rows.
 * X_e(h) = down_e (silu(gate_e h) · (up_e h)) (Shazeer 2020, SwiGLU without biases). */
#ifndef MOE_NN_EXPERTS_H
#define MOE_NN_EXPERTS_H

#include "kernel/kernel.h"
#include "nn/batch.h"
#include "nn/linear.h"

struct moe_expert_weights {
	struct moe_mat gate, up, down;
};

struct moe_ffn_weights {
	struct moe_norm norm;                   /* [hidden]: of what they read or, `post`, of what they give together */
	bool post;
	float eps;                              /* of a norm behind them */
	struct moe_mat router;                  /* [experts][hidden] */
	const float *router_bias, *choice_bias; /* [experts], [choice_biases][experts]; or NULL */
	const struct moe_expert_weights *expert;        /* [experts]; NULL in a dense layer */
	struct moe_expert_weights shared;       /* what every token passes: shared experts as one unit, or the dense layer's; no data: none */
	struct moe_mat shared_gate;             /* [1][hidden]; no data: none */
};

/* x[r] += sum over slots i, in order, of weight[r][i] · X_{expert_id[r][i]}(normed[r]), then S(normed[r]) of the shared experts, times
 * sigmoid(shared_gate · normed[r]) where there is such a gate (Qwen1.5-MoE), for all rows r of the batch: summed from +0 by fma, then (`post`) normed, then added to x. A span
 * with `parts` gets the summands there. normed [rows] → [hidden]; expert_id and
 * weight [rows][k], k 0 in a dense layer. The ids must have been checked. */
enum moe_err moe_experts_forward(const struct moe_batch *b, float *const *normed, const int32_t *expert_id, const float *weight, size_t k,
				 const struct moe_ffn_weights *w, size_t n_experts, const struct moe_compute *work, struct moe_diag *d) MOE_CHECK_RESULT;

/* Its two halves. First result[rows · k]: X_{expert_id}(normed of the row) [hidden] for each pair that has an expert, in memory of work->scratch, and NULL for
 * the others. Then the sums, of results that may come from elsewhere. Each result depends on its row and its expert alone, bit for bit. */
enum moe_err moe_experts_each(const float **result, const struct moe_batch *b, float *const *normed, const int32_t *expert_id, size_t k,
			      const struct moe_expert_weights *expert, size_t n_experts, const struct moe_compute *work, struct moe_diag *d) MOE_CHECK_RESULT;
enum moe_err moe_experts_add(const struct moe_batch *b, float *const *normed, const int32_t *expert_id, const float *weight, size_t k,
			     const float *const *result, const struct moe_ffn_weights *w, const struct moe_compute *work, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
