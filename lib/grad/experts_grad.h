/* Experts over the rows of a batch, forward and backward: (row, slot) pairs are sorted by expert, and each expert is three products over its rows.
 *
 *     y[row] += sum over slots of weight · down (silu(gate h) · (up h)) */
#ifndef MOE_GRAD_EXPERTS_GRAD_H
#define MOE_GRAD_EXPERTS_GRAD_H

#include "grad/dense.h"

/* Gate and up are one matrix [2 · width][hidden], one behind the other. */
struct moe_expert_dense { struct moe_dense gate_up, down; };

/* Which pairs each expert gets: pairs [first[e], first[e + 1]) are its own, in the order of rows; pair p is slot slot[p] of row row[p]. A slot without an
 * expert (-1) is none's. */
struct moe_expert_pairs {
	size_t experts, k, n;
	uint32_t *first;                /* [experts + 1] */
	uint32_t *row, *slot;           /* [rows · k] */
};

enum moe_err moe_expert_pairs_make(struct moe_expert_pairs *p, const int32_t *expert_id, size_t rows, size_t k, size_t experts, struct moe_arena *a,
				   struct moe_diag *d) MOE_CHECK_RESULT;

/* Pairs of the busiest expert. */
size_t moe_expert_pairs_most(const struct moe_expert_pairs *p);

/* Bytes of scratch for an expert with so many pairs. */
size_t moe_experts_scratch(size_t pairs, size_t hidden, size_t width);

/* y [rows][hidden] += ...; h [rows][hidden] numbers, weight [rows][k], kept [pairs][2 · width] numbers. */
void moe_experts_keep(const struct moe_expert_dense *w, const struct moe_expert_pairs *p, float *y, const void *h, const float *weight, void *kept,
		      void *scratch);

/* With dy [rows][hidden] f32 and, as numbers, dyn: dh [rows][hidden] += what the experts' inputs get, dweight [rows][k] = the slots' gradients, and
 * gate_up[e] [2 · width][hidden], down[e] [hidden][width] += those of the weights. */
void moe_experts_backward(const struct moe_expert_dense *w, const struct moe_expert_pairs *p, float *dh, float *dweight, float *const *gate_up,
			  float *const *down, const void *dyn, const void *h, const float *weight, const void *kept, void *scratch);

#endif
