/* Keys and values of one sequence in one layer, in blocks of 128 absolute slots (kernel.h), and the pool that the blocks come from. */
#ifndef MOE_NN_CACHE_H
#define MOE_NN_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

/* Blocks for kv_heads heads of dim; freed blocks are kept for the next sequence. One thread at a time. */
struct moe_cache_pool {
	size_t kv_heads, dim;
	float **idle;
	size_t n_idle, idle_cap;
};

struct moe_cache {
	float **key, **value;   /* [n_blocks] */
	size_t n_blocks, block_cap, value_cap;
	size_t n_slots;         /* filled */
	size_t n_rows;          /* of the sequence that the layer has seen (layer.h keeps it) */
	uint32_t *before;       /* with mixture-of-depths, where not every row has a slot: [n_rows], slots filled before each */
	size_t before_cap;
};

/* Makes room for slots below n_slots. New blocks are zero. */
enum moe_err moe_cache_reserve(struct moe_cache *c, struct moe_cache_pool *pool, size_t n_slots, struct moe_diag *d) MOE_CHECK_RESULT;

/* A cache of n_slots in memory of the arena, for one pass: it is neither reserved, cleared nor freed. The slots are to be filled; those of the last block
 * are zero before. `shape` says how wide the blocks are. False: no memory. */
bool moe_cache_plan(struct moe_cache *c, const struct moe_cache_pool *shape, size_t n_slots, struct moe_arena *a);

/* Stores keys and values [n][kv_heads · dim] at slots first, first + 1, ..., which must be reserved; n_slots becomes first + n. */
void moe_cache_store(struct moe_cache *c, const struct moe_cache_pool *pool, size_t first, size_t n, const float *key, const float *value);

/* The same without n_slots: threads may put keys and values at different slots at once. */
void moe_cache_put(const struct moe_cache *c, const struct moe_cache_pool *pool, size_t first, size_t n, const float *key, const float *value);

/* Of a layer where not every row gets a slot: takes note of rows start, start + 1, ..., of which those with taken[i] get one each, from *slot on, the first
 * slot that is free before row `start`. A start that the layer has not come to fails with MOE_EUSAGE. */
enum moe_err moe_cache_see(struct moe_cache *c, size_t start, const uint8_t *taken, size_t n, size_t *slot, struct moe_diag *d) MOE_CHECK_RESULT;

/* Gives the blocks back; the cache is empty and usable. */
void moe_cache_clear(struct moe_cache *c, struct moe_cache_pool *pool);
void moe_cache_free(struct moe_cache *c, struct moe_cache_pool *pool);
void moe_cache_pool_free(struct moe_cache_pool *pool);

#endif
