#include "nn/vit.h"

#include <math.h>

#include "base/check.h"

enum { ROWS = 384 };            /* patches at a time through everything but the keys and values */

/* Buffers for ROWS patches. */
struct parts {
	float *normed, *a, *b;          /* [ROWS][hidden] */
	float *inner;                   /* [ROWS][width] */
	uint32_t *first, *limit;        /* [ROWS]: every patch sees all */
};

uint32_t moe_vit_bucket(uint32_t i, uint32_t n, uint32_t g)
{
	float f = (float)i * (1.0f / (float)n), most = (float)(1.0 - 1e-6);
	uint32_t bucket = (uint32_t)((uint64_t)i * g / n);

	f = f < most ? f : most;
	while (bucket && (float)((double)bucket / g) > f)
		bucket--;
	while (bucket + 1 < g && (float)((double)(bucket + 1) / g) <= f)
		bucket++;
	return bucket;
}

void moe_vit_embed(float *embed, const float *pixel, size_t rows, size_t columns, const struct moe_vit_settings *s, const struct moe_vit_weights *w,
		   struct moe_pool *pool)
{
	size_t hidden = (size_t)s->hidden, n = rows * columns, width = w->patch.weight.cols;
	uint32_t grid = (uint32_t)s->position_grid;

	moe_linear_forward(embed, hidden, pixel, width, n, &w->patch, pool);
	for (size_t i = 0; i < n; i++) {
		uint32_t row = moe_vit_bucket((uint32_t)(i / columns), (uint32_t)rows, grid), column = moe_vit_bucket((uint32_t)(i % columns), (uint32_t)columns, grid);
		moe_add(embed + i * hidden, w->position + ((size_t)row * grid + column) * hidden, hidden);
	}
}

static bool plan(struct parts *p, const struct moe_vit_settings *s, size_t n, struct moe_arena *scratch)
{
	size_t rows = moe_min(n, ROWS), hidden = (size_t)s->hidden;

	p->normed = moe_arena_get(scratch, rows * hidden, sizeof(float));
	p->a = moe_arena_get(scratch, rows * hidden, sizeof(float));
	p->b = moe_arena_get(scratch, rows * hidden, sizeof(float));
	p->inner = moe_arena_get(scratch, rows * (size_t)s->width, sizeof(float));
	p->first = moe_arena_zero(scratch, rows, sizeof(uint32_t));
	p->limit = moe_arena_get(scratch, rows, sizeof(uint32_t));
	for (size_t i = 0; p->limit && i < rows; i++)
		p->limit[i] = (uint32_t)n;
	return p->normed && p->a && p->b && p->inner && p->first && p->limit;
}

/* Keys and values of all patches. */
static void fill_cache(struct moe_cache *c, const struct moe_cache_pool *blocks, const float *x, size_t n, const struct moe_vit_settings *s,
		       const struct moe_vit_layer *w, struct parts *p, struct moe_pool *pool)
{
	size_t hidden = (size_t)s->hidden;

	for (size_t at = 0, rows; at < n; at += rows) {
		rows = moe_min(ROWS, n - at);
		moe_norm_forward(p->normed, hidden, x + at * hidden, hidden, &w->norm1, rows, hidden, (float)s->eps);
		moe_linear_forward(p->a, hidden, p->normed, hidden, rows, &w->k, pool);
		moe_linear_forward(p->b, hidden, p->normed, hidden, rows, &w->v, pool);
		moe_cache_store(c, blocks, at, rows, p->a, p->b);
	}
}

/* x += o(attention(q(norm1(x)))), x += fc2(gelu(fc1(norm2(x)))), for `rows` rows. */
static void run_rows(float *x, size_t rows, const struct moe_cache *c, const struct moe_vit_settings *s, const struct moe_vit_layer *w, struct parts *p,
		     struct moe_pool *pool)
{
	size_t hidden = (size_t)s->hidden, width = (size_t)s->width, heads = (size_t)s->heads, dim = hidden / heads;
	struct moe_attention a = {
		.q = p->a, .out = p->b, .rows = rows, .heads = heads, .kv_heads = heads, .dim = dim, .scale = 1.0f / sqrtf((float)dim), .first = p->first,
		.limit = p->limit, .key = (const float *const *)c->key, .value = (const float *const *)c->value,
	};

	moe_norm_forward(p->normed, hidden, x, hidden, &w->norm1, rows, hidden, (float)s->eps);
	moe_linear_forward(p->a, hidden, p->normed, hidden, rows, &w->q, pool);
	moe_attend_rows(&a, pool);
	moe_linear_forward(p->a, hidden, p->b, hidden, rows, &w->o, pool);
	moe_add(x, p->a, rows * hidden);
	moe_norm_forward(p->normed, hidden, x, hidden, &w->norm2, rows, hidden, (float)s->eps);
	moe_linear_forward(p->inner, width, p->normed, hidden, rows, &w->fc1, pool);
	moe_gelu_tanh(p->inner, p->inner, rows * width);
	moe_linear_forward(p->a, hidden, p->inner, width, rows, &w->fc2, pool);
	moe_add(x, p->a, rows * hidden);
}

enum moe_err moe_vit_forward(float *x, size_t n, const struct moe_vit_settings *s, const struct moe_vit_weights *w, const struct moe_compute *work,
			     struct moe_diag *d)
{
	struct moe_cache_pool blocks = {.kv_heads = (size_t)s->heads, .dim = (size_t)(s->hidden / s->heads)};
	struct moe_arena_mark mark = moe_arena_mark(work->scratch);
	struct moe_cache cache = {0};
	struct parts p;
	enum moe_err err = plan(&p, s, n, work->scratch) ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory for %zu patches", n);

	if (!err)
		err = moe_cache_reserve(&cache, &blocks, n, d);
	for (int64_t l = 0; l < s->layers && !err; l++) {
		fill_cache(&cache, &blocks, x, n, s, &w->layer[l], &p, work->pool);
		for (size_t at = 0; at < n; at += ROWS)
			run_rows(x + at * (size_t)s->hidden, moe_min(ROWS, n - at), &cache, s, &w->layer[l], &p, work->pool);
	}
	moe_cache_free(&cache, &blocks);
	moe_cache_pool_free(&blocks);
	moe_arena_release(work->scratch, mark);
	return err;
}
