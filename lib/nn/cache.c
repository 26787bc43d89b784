#include "nn/cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "kernel/kernel.h"

static size_t block_floats(const struct moe_cache_pool *pool) { return pool->kv_heads * pool->dim * MOE_ATTN_BLOCK; }

static float *take_block(struct moe_cache_pool *pool)
{
	if (!pool->n_idle)
		return moe_calloc(block_floats(pool), sizeof(float));
	return pool->idle[--pool->n_idle];
}

static void give_block(struct moe_cache_pool *pool, float *block)
{
	if (moe_grow(&pool->idle, &pool->idle_cap, pool->n_idle + 1, sizeof *pool->idle, NULL))
		free(block);
	else
		pool->idle[pool->n_idle++] = block;
}

enum moe_err moe_cache_reserve(struct moe_cache *c, struct moe_cache_pool *pool, size_t n_slots, struct moe_diag *d)
{
	size_t need = (n_slots + MOE_ATTN_BLOCK - 1) / MOE_ATTN_BLOCK;

	MOE_TRY(moe_grow(&c->key, &c->block_cap, need, sizeof *c->key, d));
	MOE_TRY(moe_grow(&c->value, &c->value_cap, need, sizeof *c->value, d));
	while (c->n_blocks < need) {
		float *key = take_block(pool), *value = key ? take_block(pool) : NULL;
		if (!value) {
			free(key);
			return moe_fail(d, MOE_ENOMEM, "out of memory for the attention cache (%zu slots)", n_slots);
		}
		c->key[c->n_blocks] = key;
		c->value[c->n_blocks++] = value;
	}
	return MOE_OK;
}

bool moe_cache_plan(struct moe_cache *c, const struct moe_cache_pool *shape, size_t n_slots, struct moe_arena *a)
{
	size_t block = block_floats(shape), n = (n_slots + MOE_ATTN_BLOCK - 1) / MOE_ATTN_BLOCK;
	float *key = moe_arena_get(a, n * block, sizeof *key), *value = moe_arena_get(a, n * block, sizeof *value);

	*c = (struct moe_cache){.key = moe_arena_get(a, n, sizeof *c->key), .value = moe_arena_get(a, n, sizeof *c->value), .n_blocks = n};
	if (!key || !value || !c->key || !c->value)
		return false;
	for (size_t i = 0; i < n; i++) {
		c->key[i] = key + i * block;
		c->value[i] = value + i * block;
	}
	if (n) {
		memset(c->key[n - 1], 0, block * sizeof *key);
		memset(c->value[n - 1], 0, block * sizeof *value);
	}
	return true;
}

void moe_cache_put(const struct moe_cache *c, const struct moe_cache_pool *pool, size_t first, size_t n, const float *key, const float *value)
{
	size_t width = pool->kv_heads * pool->dim;

	for (size_t i = 0, rows; i < n; i += rows) {
		size_t slot = first + i, block = slot / MOE_ATTN_BLOCK, at = slot % MOE_ATTN_BLOCK;
		float *k = c->key[block] + at, *v = c->value[block];
		rows = moe_min(moe_min(n - i, MOE_ATTN_BLOCK - at), 16);        /* few enough that their lines stay near */
		for (size_t j = 0; j < width; j++)
			for (size_t r = 0; r < rows; r++)
				k[j * MOE_ATTN_BLOCK + r] = key[(i + r) * width + j];
		for (size_t r = 0; r < rows; r++)
			for (size_t h = 0; h < pool->kv_heads; h++)
				memcpy(v + (h * MOE_ATTN_BLOCK + at + r) * pool->dim, value + (i + r) * width + h * pool->dim, pool->dim * sizeof *v);
	}
}

void moe_cache_store(struct moe_cache *c, const struct moe_cache_pool *pool, size_t first, size_t n, const float *key, const float *value)
{
	moe_cache_put(c, pool, first, n, key, value);
	c->n_slots = first + n;
}

enum moe_err moe_cache_see(struct moe_cache *c, size_t start, const uint8_t *taken, size_t n, size_t *slot, struct moe_diag *d)
{
	size_t at;

	if (start > c->n_rows)
		return moe_fail(d, MOE_EUSAGE, "a layer has seen %zu rows of a sequence, not %zu", c->n_rows, start);
	MOE_TRY(moe_grow(&c->before, &c->before_cap, start + n, sizeof *c->before, d));
	*slot = at = start < c->n_rows ? c->before[start] : c->n_slots;
	for (size_t i = 0; i < n; i++) {
		c->before[start + i] = (uint32_t)at;
		at += taken[i];
	}
	return MOE_OK;
}

void moe_cache_clear(struct moe_cache *c, struct moe_cache_pool *pool)
{
	while (c->n_blocks) {
		give_block(pool, c->key[--c->n_blocks]);
		give_block(pool, c->value[c->n_blocks]);
	}
	c->n_slots = c->n_rows = 0;
}

void moe_cache_free(struct moe_cache *c, struct moe_cache_pool *pool)
{
	moe_cache_clear(c, pool);
	free(c->key);
	free(c->value);
	free(c->before);
	*c = (struct moe_cache){0};
}

void moe_cache_pool_free(struct moe_cache_pool *pool)
{
	while (pool->n_idle)
		free(pool->idle[--pool->n_idle]);
	free(pool->idle);
	*pool = (struct moe_cache_pool){0};
}
