/* Attention over packed sequences, forward and backward: a picture's rows, which see each other or those before them, and behind them segments of text, of which each sees the
 * picture and its own rows up to itself (block-diagonal and causal). A sequence without a picture has segments alone. */
#ifndef MOE_GRAD_ATTENTION_GRAD_H
#define MOE_GRAD_ATTENTION_GRAD_H

#include "grad/dense.h"

/* The rows of a sequence: `first` is its first row in the batch; the picture's come first, then those of the text. */
struct moe_packed_rows {
	size_t first, n_image, n_text;
	const uint32_t *segment;        /* [n_segments + 1]: rows of the text at which segments begin; the last is n_text */
	size_t n_segments, longest;     /* rows of the longest segment */
};

struct moe_heads {
	enum moe_unit unit;
	size_t heads, kv_heads, dim;    /* dim even */
	bool causal;                    /* a picture's row sees those up to itself, else all of its picture */
};

/* Numbers of a row of queries, keys and values: heads, then kv_heads, then kv_heads, of dim each. */
static inline size_t moe_heads_width(const struct moe_heads *h) { return (h->heads + 2 * h->kv_heads) * h->dim; }

/* Numbers of the probabilities that a sequence keeps. */
size_t moe_attention_kept(const struct moe_heads *h, const struct moe_packed_rows *s);

/* Bytes of scratch that either pass takes for a sequence. */
size_t moe_attention_scratch(const struct moe_heads *h, const struct moe_packed_rows *s);

/* out [n][heads · dim] numbers of the sequence's rows, from qkv [n][width] numbers, whose queries are scaled; both begin at the sequence's first row. kept
 * gets the probabilities. */
void moe_attention_keep(const struct moe_heads *h, const struct moe_packed_rows *s, void *out, const void *qkv, void *kept, void *scratch);

/* dqkv [n][width] f32 from dout [n][heads · dim] numbers. */
void moe_attention_backward(const struct moe_heads *h, const struct moe_packed_rows *s, float *dqkv, const void *dout, const void *qkv, const void *kept,
			    void *scratch);

#endif
