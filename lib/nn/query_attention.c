#include "nn/query_attention.h"

#include <math.h>

#include "base/check.h"

enum { ROWS = 384 };            /* patches at a time */

/* Keys and values of all patches. */
static enum moe_err fill_cache(struct moe_cache *c, const struct moe_cache_pool *blocks, const float *x, size_t n, const struct moe_query_attention_settings *s,
			       const struct moe_query_attention_weights *w, const struct moe_compute *work, struct moe_diag *d)
{
	size_t dim = w->k.weight.rows, most = moe_min(n, ROWS);
	float *normed = moe_arena_get(work->scratch, most * dim, sizeof *normed), *half = moe_arena_get(work->scratch, most * dim, sizeof *half);
	float *key = moe_arena_get(work->scratch, most * dim, sizeof *key), *value = moe_arena_get(work->scratch, most * dim, sizeof *value);

	if (!normed || !half || !key || !value || !moe_cache_plan(c, blocks, n, work->scratch))
		return moe_fail(d, MOE_ENOMEM, "out of memory for %zu patches", n);
	for (size_t at = 0, rows; at < n; at += rows) {
		rows = moe_min(ROWS, n - at);
		moe_norm_forward(normed, dim, x + at * dim, dim, &w->patch_norm, rows, dim, (float)s->eps);
		moe_linear_forward(half, dim, normed, dim, rows, &w->k, work->pool);
		moe_linear_forward(key, dim, half, dim, rows, &w->in_k, work->pool);
		moe_linear_forward(half, dim, normed, dim, rows, &w->v, work->pool);
		moe_linear_forward(value, dim, half, dim, rows, &w->in_v, work->pool);
		moe_cache_store(c, blocks, at, rows, key, value);
	}
	return MOE_OK;
}

/* The queries attend to the n patches of the cache; a and b have room for [n_queries][D], the result is in a. */
static enum moe_err attend(float *a, float *b, size_t n_queries, size_t n, const struct moe_cache *c, const struct moe_query_attention_settings *s,
			   const struct moe_query_attention_weights *w, const struct moe_compute *work, struct moe_diag *d)
{
	size_t width = w->q.weight.rows, heads = (size_t)s->heads, dim = width / heads;
	uint32_t *first = moe_arena_zero(work->scratch, n_queries, sizeof *first), *limit = moe_arena_get(work->scratch, n_queries, sizeof *limit);
	struct moe_attention t = {
		.q = a, .out = b, .rows = n_queries, .heads = heads, .kv_heads = heads, .dim = dim, .scale = 1.0f / sqrtf((float)dim), .first = first,
		.limit = limit, .key = (const float *const *)c->key, .value = (const float *const *)c->value,
	};

	if (!first || !limit)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < n_queries; i++)
		limit[i] = (uint32_t)n;
	moe_norm_forward(a, width, w->query, width, &w->query_norm, n_queries, width, (float)s->eps);
	moe_linear_forward(b, width, a, width, n_queries, &w->q, work->pool);
	moe_linear_forward(a, width, b, width, n_queries, &w->in_q, work->pool);
	moe_attend_rows(&t, work->pool);
	moe_linear_forward(a, width, b, width, n_queries, &w->out, work->pool);
	moe_linear_forward(b, width, a, width, n_queries, &w->linear, work->pool);
	moe_norm_forward(a, width, b, width, &w->mlp_norm, n_queries, width, (float)s->eps);
	return MOE_OK;
}

enum moe_err moe_query_attention_forward(float *feature, size_t n_queries, const float *x, size_t n, const struct moe_query_attention_settings *s,
					 const struct moe_query_attention_weights *w, const struct moe_compute *work, struct moe_diag *d)
{
	size_t dim = w->q.weight.rows, width = (size_t)s->width, hidden = w->mlp_out.weight.rows;
	struct moe_cache_pool blocks = {.kv_heads = (size_t)s->heads, .dim = dim / (size_t)s->heads};
	struct moe_arena_mark mark = moe_arena_mark(work->scratch);
	struct moe_cache cache;
	float *a = moe_arena_get(work->scratch, n_queries * dim, sizeof *a), *b = moe_arena_get(work->scratch, n_queries * dim, sizeof *b);
	float *inner = moe_arena_get(work->scratch, n_queries * width, sizeof *inner);

	if (!a || !b || !inner)
		return moe_fail(d, MOE_ENOMEM, "out of memory for %zu queries", n_queries);
	MOE_TRY(fill_cache(&cache, &blocks, x, n, s, w, work, d));
	MOE_TRY(attend(a, b, n_queries, n, &cache, s, w, work, d));
	moe_linear_forward(inner, width, a, dim, n_queries, &w->mlp_in, work->pool);
	moe_gelu_tanh(inner, inner, n_queries * width);
	moe_linear_forward(feature, hidden, inner, width, n_queries, &w->mlp_out, work->pool);
	moe_arena_release(work->scratch, mark);
	return MOE_OK;
}
