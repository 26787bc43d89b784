/* Short pieces and their ids, one cache line each, direct mapped: ordinary text repeats its words. */
#include "text/text_priv.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { N_CACHED = 16 << 10, MAX_NBYTES = 22, MAX_IDS = 10 };

struct moe_cached {
	int32_t id[MAX_IDS];
	uint8_t n_ids, n;
	char s[MAX_NBYTES];
};

static_assert(sizeof(struct moe_cached) == 64, "a cache line");

bool moe_cache_get(const struct moe_bpe *b, const char *s, size_t n, uint64_t hash, struct moe_ids *ids, enum moe_err *err,
		   struct moe_diag *d)
{
	const struct moe_cached *c;

	if (!b->cache || n > MAX_NBYTES)
		return false;
	c = &b->cache[hash % N_CACHED];
	if (c->n != n || memcmp(c->s, s, n))
		return false;
	*err = moe_ids_put(ids, c->id, c->n_ids, d);
	return true;
}

void moe_cache_put(struct moe_bpe *b, const char *s, size_t n, uint64_t hash, const int32_t *id, size_t n_ids)
{
	struct moe_cached *c;

	if (n > MAX_NBYTES || n_ids > MAX_IDS || (!b->cache && !(b->cache = moe_calloc(N_CACHED, sizeof *b->cache))))
		return;
	c = &b->cache[hash % N_CACHED];
	memcpy(c->s, s, n);
	memcpy(c->id, id, n_ids * sizeof *id);
	c->n = (uint8_t)n;
	c->n_ids = (uint8_t)n_ids;
}
