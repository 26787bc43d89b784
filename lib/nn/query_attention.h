/* The projector of Aria (Li et al. 2024; transformers.models.aria, AriaProjector): learned queries attend to a picture's patches, and a small MLP leads
 * into the language model's width. There is no residual connection, and two projections stand one behind the other on each side of the attention. */
#ifndef MOE_NN_QUERY_ATTENTION_H
#define MOE_NN_QUERY_ATTENTION_H

#include "nn/batch.h"
#include "nn/linear.h"

struct moe_query_attention_settings {
	int64_t queries, heads;         /* learned queries in all */
	int64_t width;                  /* inner width of the MLP */
	double eps;
};

struct moe_query_attention_weights {
	const float *query;             /* [queries][D] */
	struct moe_norm query_norm, patch_norm, mlp_norm;
	struct moe_linear q, k, v;      /* [D][D], no biases */
	struct moe_linear in_q, in_k, in_v, out, linear;        /* [D][D] */
	struct moe_linear mlp_in, mlp_out;      /* [width][D], [hidden][width], no biases */
};

/* feature [n_queries][hidden] from a picture's patches x [n][D]: the first n_queries of the queries,
 *
 *     q = in_q(q(LN(query)));  k = in_k(k(LN(x)));  v = in_v(v(LN(x)));  a = linear(out(softmax(q kᵀ / √dim) v))
 *     feature = mlp_out(gelu_tanh(mlp_in(LN(a)))) */
enum moe_err moe_query_attention_forward(float *feature, size_t n_queries, const float *x, size_t n, const struct moe_query_attention_settings *s,
					 const struct moe_query_attention_weights *w, const struct moe_compute *work, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
