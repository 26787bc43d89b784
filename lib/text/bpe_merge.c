/* The merge table, and the merging of one list of symbols: always the pair of least rank, of equal ranks the leftmost.
 * A queue holds each pair that may merge; entries that a merge made stale are known by their rank and dropped. Every merge
 * removes one symbol and adds at most two entries, so that n symbols take O(n log n) steps whatever the vocabulary is. */
#include "text/text_priv.h"

#include <stdlib.h>

enum { NONE = UINT32_MAX };

struct moe_symbol {
	int32_t id;             /* -1: merged into the one before it */
	uint32_t prev, next;
	uint32_t rank;          /* of the pair with the next symbol; NONE when it does not merge */
	int32_t merged;         /* its id */
};

enum moe_err moe_bpe_reserve(struct moe_bpe *b, size_t n_merges, struct moe_diag *d)
{
	size_t n_slots = 64;
	struct moe_merge *fresh, *old = b->merge;
	size_t n_old = b->n_slots;

	while (n_slots < n_merges + n_merges / 2)
		n_slots *= 2;
	if (n_slots <= n_old)
		return MOE_OK;
	if (!(fresh = calloc(n_slots, sizeof *fresh)))
		return moe_fail(d, MOE_ENOMEM, "out of memory: %zu merges", n_merges);
	b->merge = fresh;
	b->n_slots = n_slots;
	for (size_t i = 0; i < n_old; i++) {
		if (!old[i].pair)
			continue;
		size_t to = moe_hash_pair(old[i].pair, b->secret) & (n_slots - 1);
		while (fresh[to].pair)
			to = (to + 1) & (n_slots - 1);
		fresh[to] = old[i];
	}
	free(old);
	return MOE_OK;
}

/* The slot of the pair, or the free one where it would go. */
static struct moe_merge *slot(const struct moe_bpe *b, uint64_t pair)
{
	size_t i = moe_hash_pair(pair, b->secret) & (b->n_slots - 1);

	while (b->merge[i].pair && b->merge[i].pair != pair)
		i = (i + 1) & (b->n_slots - 1);
	return &b->merge[i];
}

static uint64_t key(int32_t left, int32_t right) { return ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) + 1; }

const struct moe_merge *moe_bpe_find(const struct moe_bpe *b, int32_t left, int32_t right)
{
	const struct moe_merge *m;

	if (!b->n_merges)
		return NULL;
	m = slot(b, key(left, right));
	return m->pair ? m : NULL;
}

enum moe_err moe_bpe_add(struct moe_bpe *b, int32_t left, int32_t right, uint32_t rank, int32_t id, struct moe_diag *d)
{
	struct moe_merge *m;

	MOE_TRY(moe_bpe_reserve(b, b->n_merges + 1, d));
	m = slot(b, key(left, right));
	b->n_merges += !m->pair;
	*m = (struct moe_merge){key(left, right), rank, id};
	return MOE_OK;
}

enum moe_err moe_symbols_push(struct moe_symbols *y, int32_t id, struct moe_diag *d)
{
	if (y->n == NONE - 1)
		return moe_fail(d, MOE_ENOMEM, "a piece of text has more than %u symbols", NONE - 1);
	MOE_TRY(moe_grow(&y->at, &y->cap, y->n + 1, sizeof *y->at, d));
	y->at[y->n].id = id;
	y->n++;
	return MOE_OK;
}

static void sift_up(struct moe_symbols *y, size_t i, uint64_t v)
{
	for (; i && y->heap[(i - 1) / 2] > v; i = (i - 1) / 2, y->n_steps++)
		y->heap[i] = y->heap[(i - 1) / 2];
	y->heap[i] = v;
}

static uint64_t pop(struct moe_symbols *y)
{
	uint64_t least = y->heap[0], v = y->heap[--y->n_heap];
	size_t i = 0, child;

	for (; (child = 2 * i + 1) < y->n_heap; i = child, y->n_steps++) {
		child += child + 1 < y->n_heap && y->heap[child + 1] < y->heap[child];
		if (y->heap[child] >= v)
			break;
		y->heap[i] = y->heap[child];
	}
	y->heap[i] = v;
	return least;
}

/* Looks up the pair that starts at `at` and queues it. The queue has room: see moe_symbols_merge. */
static void offer(struct moe_symbols *y, const struct moe_bpe *b, uint32_t at)
{
	struct moe_symbol *s = &y->at[at];
	const struct moe_merge *m = s->next == NONE ? NULL : moe_bpe_find(b, s->id, y->at[s->next].id);

	s->rank = m ? m->rank : NONE;
	if (m) {
		s->merged = m->id;
		sift_up(y, y->n_heap++, (uint64_t)m->rank << 32 | at);
	}
}

static void join(struct moe_symbols *y, const struct moe_bpe *b, uint32_t at)
{
	struct moe_symbol *s = &y->at[at], *gone = &y->at[s->next];

	s->id = s->merged;
	s->next = gone->next;
	gone->id = -1;
	gone->rank = NONE;
	if (s->next != NONE)
		y->at[s->next].prev = at;
	offer(y, b, at);
	if (s->prev != NONE)
		offer(y, b, s->prev);
}

enum moe_err moe_symbols_merge(struct moe_symbols *y, const struct moe_bpe *b, struct moe_ids *ids, struct moe_diag *d)
{
	uint32_t n = (uint32_t)y->n;

	y->n = y->n_heap = 0;
	if (!n)
		return MOE_OK;
	MOE_TRY(moe_grow(&y->heap, &y->cap_heap, 3 * (size_t)n, sizeof *y->heap, d));   /* n - 1 at first, 2 more for each merge */
	MOE_TRY(moe_grow(&ids->id, &ids->cap, ids->n + n, sizeof *ids->id, d));
	for (uint32_t i = 0; i < n; i++) {
		y->at[i].prev = i ? i - 1 : NONE;
		y->at[i].next = i + 1 < n ? i + 1 : NONE;
	}
	for (uint32_t i = 0; i < n; i++)
		offer(y, b, i);
	while (y->n_heap) {
		uint64_t v = pop(y);
		if (y->at[(uint32_t)v].rank == v >> 32)
			join(y, b, (uint32_t)v);
	}
	for (uint32_t i = 0; i != NONE; i = y->at[i].next)
		ids->id[ids->n++] = y->at[i].id;
	return MOE_OK;
}
