/* The small parts that several networks are made of: a linear map with a bias, and the two norms. */
#ifndef MOE_NN_LINEAR_H
#define MOE_NN_LINEAR_H

#include "kernel/kernel.h"

/* y = W x + b. */
struct moe_linear {
	struct moe_mat weight;          /* [out][in] */
	const float *bias;              /* [out] or NULL */
};

/* y[i] = W x[i] + b for m rows; ldx and ldy are row strides in elements. */
void moe_linear_forward(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const struct moe_linear *l, struct moe_pool *pool);

/* Adds bias [n] (NULL: nothing) to each of m rows. */
void moe_bias_add(float *y, size_t ldy, size_t m, const float *bias, size_t n);

/* LayerNorm with a bias, or RMSNorm, which has none. */
struct moe_norm {
	const float *weight, *bias;     /* [n]; bias NULL: RMSNorm */
};

/* out[i] = norm(x[i]) for `rows` rows of n; strides in elements; out may be x. */
void moe_norm_forward(float *out, size_t ldo, const float *x, size_t ldx, const struct moe_norm *w, size_t rows, size_t n, float eps);

#endif
