/* Vision transformer (Dosovitskiy et al. 2021): pre-norm layers, attention over all patches of one picture. Positions of NaViT (Dehghani et al. 2023) and biases
 * everywhere as in SigLIP and Idefics2, or layers as those of a language model: RMSNorm, no biases, a gated unit. */
#ifndef MOE_NN_VIT_H
#define MOE_NN_VIT_H

#include "nn/batch.h"
#include "nn/linear.h"

enum moe_vit_act { MOE_VIT_GELU_TANH, MOE_VIT_GELU, MOE_VIT_SILU };

struct moe_vit_settings {
	int64_t hidden, layers, heads, width;   /* width: the inner one of the MLP */
	int64_t position_grid;          /* rows and columns of the table of positions */
	int act;                        /* enum moe_vit_act; of the gated unit it is silu */
	bool gated;                     /* fc2(silu(gate x) · fc1 x) (Shazeer 2020) in the place of fc2(act(fc1 x)) */
	double eps;
};

struct moe_vit_layer {
	struct moe_norm norm1, norm2;
	struct moe_linear q, k, v, o;   /* [hidden][hidden] */
	struct moe_linear gate, fc1, fc2;       /* [width][hidden], where gated; [width][hidden], [hidden][width] */
};

struct moe_vit_weights {
	struct moe_linear patch;        /* [hidden][channels · patch · patch] */
	const float *position;          /* [position_grid²][hidden] */
	struct moe_vit_layer *layer;    /* [layers] */
};

/* Row of the table of positions, along one axis, for patch i of n: which of g equal buckets i/n falls into, in the arithmetic of
 * transformers.models.idefics3 (Idefics3VisionEmbeddings): floor(g·i/n), but where rounding puts i/n below the border. */
uint32_t moe_vit_bucket(uint32_t i, uint32_t n, uint32_t g);

/* embed [rows · columns][hidden]: patches and positions. pixel [rows · columns][channels · patch · patch] of a picture of rows × columns patches. */
void moe_vit_embed(float *embed, const float *pixel, size_t rows, size_t columns, const struct moe_vit_settings *s, const struct moe_vit_weights *w,
		   struct moe_pool *pool);

/* x [n][hidden] goes through all layers, in place; no norm follows the last. n >= 1. The bits are the same for any number of threads. work->scratch gives,
 * beside x, 8·n·hidden bytes for keys and values and 192·(12·hidden + 4·width) bytes for each thread, of gated layers 4·width more: 45 MB and 6 MB for 4,900
 * patches of 1,152 with width 4,304. Scores are never more than a tile. MOE_ENOMEM when there is no memory. */
enum moe_err moe_vit_forward(float *x, size_t n, const struct moe_vit_settings *s, const struct moe_vit_weights *w, const struct moe_compute *work,
			     struct moe_diag *d) MOE_CHECK_RESULT;

#endif
