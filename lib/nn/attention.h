/* Attention with its cache: x + Wo · attention(norm(x)). Grouped-query attention (Ainslie et al. 2023), rotary positions (Su et al. 2021)
 * on one or two axes, optional norms of q and k (Henry et al. 2020), causal or with bidirectional images. */
#ifndef MOE_NN_ATTENTION_H
#define MOE_NN_ATTENTION_H

#include <stdbool.h>

#include "kernel/kernel.h"
#include "nn/batch.h"
#include "nn/linear.h"
#include "nn/rope.h"

enum moe_mask { MOE_MASK_CAUSAL, MOE_MASK_BIDIRECTIONAL_IMAGE };
enum moe_qk_norm { MOE_QK_NORM_NONE, MOE_QK_NORM_FULL, MOE_QK_NORM_HEAD };

struct moe_attention_settings {
	int64_t heads, kv_heads, head_dim;
	int kind;                       /* one choice so far: gqa */
	int qk_norm;                    /* enum moe_qk_norm */
	int mask;                       /* enum moe_mask */
	struct moe_rope_settings rope;
	double clip;                    /* q, k and v are clamped to ± this; 0 is off */
	bool qkv_bias, o_bias;
	int64_t window;                 /* a row sees itself and the window - 1 slots before it; 0: all (Beltagy et al. 2020; Mistral) */
};

struct moe_attention_weights {
	struct moe_norm norm;           /* [hidden] */
	struct moe_mat q, k, v, o;
	const float *q_bias, *k_bias, *v_bias;          /* [heads · dim], [kv_heads · dim]; NULL: none */
	const float *o_bias;            /* [hidden] or NULL */
	const float *q_norm, *k_norm;   /* full: [heads · dim], [kv_heads · dim]; head: [dim]; none: NULL */
};

/* Runs layer `layer` on the batch: keys and values of all rows go into the caches, from each span's start on, and the attention's output is added
 * to x. Of a span with `keep`, only so many rows at its end are computed and stay in the batch: its first, n, start and x are set to them
 * (positions and images are not, so this is for the last attention of a batch). A span with `attention` gets the weights there. */
enum moe_err moe_attention_forward(struct moe_batch *b, size_t layer, const struct moe_attention_weights *w, const struct moe_attention_settings *s,
				   float eps, const struct moe_compute *work, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
