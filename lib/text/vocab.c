/* Token strings and their ids: one pool of bytes, a table by id, and a hash table by string. No allocation per token. */
#include "text/text_priv.h"

#include <stdlib.h>
#include <string.h>

struct moe_slot {
	uint32_t hash;
	uint32_t id;            /* plus one; 0: free */
};

/* A product of 128 bits, folded: without the secret nobody can choose strings that collide. */
static uint64_t fold(uint64_t a, uint64_t b)
{
	__extension__ typedef unsigned __int128 wide;
	wide p = (wide)a * b;

	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

uint64_t moe_hash_pair(uint64_t pair, uint64_t secret) { return fold(pair ^ secret, secret); }

uint64_t moe_hash(const char *s, size_t n, uint64_t secret)
{
	uint64_t h = n ^ secret, v = 0;

	for (; n >= 8; s += 8, n -= 8) {
		memcpy(&v, s, 8);
		h = fold(h ^ v, secret);
	}
	v = 0;
	if (n & 4) {
		uint32_t four;
		memcpy(&four, s, 4);
		v = four;
		s += 4;
	}
	for (n &= 3; n; n--)
		v = v << 8 | (unsigned char)*s++;
	return fold(h ^ v, secret);
}

static void place(struct moe_slot *slot, size_t n_slots, struct moe_slot x)
{
	size_t i = x.hash & (n_slots - 1);

	while (slot[i].id)
		i = (i + 1) & (n_slots - 1);
	slot[i] = x;
}

static enum moe_err rehash(struct moe_vocab *v, size_t n_tokens, struct moe_diag *d)
{
	size_t n_slots = 64;
	struct moe_slot *slot;

	while (n_slots < 2 * n_tokens)
		n_slots *= 2;
	if (n_slots <= v->n_slots)
		return MOE_OK;
	if (!(slot = calloc(n_slots, sizeof *slot)))
		return moe_fail(d, MOE_ENOMEM, "out of memory: a vocabulary of %zu tokens", n_tokens);
	for (size_t i = 0; i < v->n_slots; i++)
		if (v->slot[i].id)
			place(slot, n_slots, v->slot[i]);
	free(v->slot);
	v->slot = slot;
	v->n_slots = n_slots;
	return MOE_OK;
}

/* calloc and not moe_grow: pages of ids that no token has are never touched, however large the largest id is. */
static enum moe_err widen(struct moe_vocab *v, size_t n_ids, struct moe_diag *d)
{
	struct moe_token *token;

	if (n_ids <= v->n_ids)
		return MOE_OK;
	if (!(token = calloc(n_ids, sizeof *token)))
		return moe_fail(d, MOE_ENOMEM, "out of memory: a vocabulary of %zu ids", n_ids);
	if (v->n_ids)
		memcpy(token, v->token, v->n_ids * sizeof *token);
	free(v->token);
	v->token = token;
	v->n_ids = n_ids;
	return MOE_OK;
}

enum moe_err moe_vocab_reserve(struct moe_vocab *v, size_t n_ids, size_t n_tokens, struct moe_diag *d)
{
	MOE_TRY(widen(v, n_ids, d));
	return rehash(v, n_tokens, d);
}

static int32_t find(const struct moe_vocab *v, const char *s, size_t n, uint32_t hash)
{
	if (!v->n_slots)
		return -1;
	for (size_t i = hash & (v->n_slots - 1); v->slot[i].id; i = (i + 1) & (v->n_slots - 1)) {
		const struct moe_token *t = &v->token[v->slot[i].id - 1];
		if (v->slot[i].hash == hash && t->n == n && !memcmp(v->pool.p + t->at - 1, s, n))
			return (int32_t)(v->slot[i].id - 1);
	}
	return -1;
}

int32_t moe_vocab_find(const struct moe_vocab *v, const char *s, size_t n) { return find(v, s, n, (uint32_t)moe_hash(s, n, v->secret)); }

int32_t moe_vocab_find_model(const struct moe_vocab *v, const char *s, size_t n)
{
	int32_t id = moe_vocab_find(v, s, n);

	return id >= 0 && v->token[id].flags & MOE_TOKEN_MODEL ? id : -1;
}

const char *moe_vocab_get(const struct moe_vocab *v, int32_t id, size_t *n)
{
	const struct moe_token *t = id >= 0 && (size_t)id < v->n_ids ? &v->token[id] : NULL;

	if (!t || !t->at)
		return NULL;
	*n = t->n;
	return v->pool.p + t->at - 1;
}

enum moe_err moe_vocab_add(struct moe_vocab *v, struct moe_span where, size_t id, unsigned flags, uint64_t byte, struct moe_diag *d)
{
	const char *s = v->pool.p + where.at;
	uint32_t hash = (uint32_t)moe_hash(s, where.n, v->secret);
	int shown = (int)(where.n < 60 ? where.n : 60);
	int32_t old = find(v, s, where.n, hash);

	if (old >= 0)
		return moe_fail_at(d, MOE_EINPUT, byte, "tokenizer.json: token \"%.*s\" has two ids, %d and %zu", shown, s, old, id);
	if (v->token[id].at)
		return moe_fail_at(d, MOE_EINPUT, byte, "tokenizer.json: id %zu has two tokens, the second is \"%.*s\"", id, shown, s);
	MOE_TRY(rehash(v, v->n_tokens + 1, d));
	v->token[id] = (struct moe_token){(uint32_t)where.at + 1, (uint32_t)where.n, flags};
	place(v->slot, v->n_slots, (struct moe_slot){hash, (uint32_t)id + 1});
	v->n_tokens++;
	return MOE_OK;
}

void moe_vocab_free(struct moe_vocab *v)
{
	moe_buf_free(&v->pool);
	free(v->token);
	free(v->slot);
}
