#include "nn/attention_weights.h"

#include <string.h>

#include "base/check.h"

struct job {
	const struct moe_attention *a;
	size_t slots;
	float *weight;
};

/* s[u] = scale · q · key of slot base + u, for the slots [lo, hi) of a block, whose keys are [dim][MOE_ATTN_BLOCK]. */
static void score_block(float *s, const float *q, const float *key, size_t dim, float scale, size_t lo, size_t hi)
{
	for (size_t i = 0; i < dim; i++)
		moe_axpy(s + lo, q[i], key + i * MOE_ATTN_BLOCK + lo, hi - lo);
	for (size_t u = lo; u < hi; u++)
		s[u] *= scale;
}

/* Row i % rows of head i / rows. */
static void weigh_row(void *arg, size_t i)
{
	const struct job *j = arg;
	const struct moe_attention *a = j->a;
	size_t head = i / a->rows, row = i % a->rows, kv = head / (a->heads / a->kv_heads), first = a->first[row], limit = a->limit[row];
	const float *q = a->q + (row * a->heads + head) * a->dim;
	float *to = j->weight + i * j->slots, sum;

	memset(to, 0, j->slots * sizeof *to);
	for (size_t base = first - first % MOE_ATTN_BLOCK; base < limit; base += MOE_ATTN_BLOCK)
		score_block(to + base, q, a->key[base / MOE_ATTN_BLOCK] + kv * a->dim * MOE_ATTN_BLOCK, a->dim, a->scale, moe_max(first, base) - base,
			    moe_min(limit - base, MOE_ATTN_BLOCK));
	sum = moe_exp_sum(to + first, to + first, limit - first);
	for (size_t u = first; u < limit; u++)
		to[u] /= sum;
}

void moe_attention_weights(const struct moe_attention *a, size_t slots, float *weight, struct moe_pool *pool)
{
	struct job j = {a, slots, weight};

	moe_pool_run(pool, 2.0 * (double)a->rows * (double)a->heads * (double)a->dim * (double)slots, a->rows * a->heads, weigh_row, &j);
}
