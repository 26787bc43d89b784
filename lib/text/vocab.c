/* Hash tables of the vocabulary and the merges. */
#include "text/text_priv.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <xxhash.h>

static uint64_t seed;
static pthread_once_t seeded = PTHREAD_ONCE_INIT;

/* Ids do not depend on it, only the time that a hostile file takes. */
static void make_seed(void)
{
	if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed)
		seed = (uint64_t)(uintptr_t)&seed ^ (uint64_t)time(NULL);
}

uint64_t moe_text_hash(const void *bytes, size_t n)
{
	pthread_once(&seeded, make_seed);
	return XXH3_64bits_withSeed(bytes, n, seed);
}

static size_t power_of_two(size_t n)
{
	size_t p = 16;

	while (p < n * 2)
		p *= 2;
	return p;
}

enum moe_err moe_vocab_reserve(struct vocab *v, size_t n, struct moe_diag *d)
{
	struct vocab old = *v;

	if (n * 2 <= v->n_slots)
		return MOE_OK;
	*v = (struct vocab){.n_slots = power_of_two(n)};
	v->slot = calloc(v->n_slots, sizeof *v->slot);
	if (!v->slot) {
		*v = old;
		return moe_fail(d, MOE_ENOMEM, "out of memory for a vocabulary of %zu tokens", n);
	}
	for (size_t i = 0; i < old.n_slots; i++)
		if (old.slot[i].text)
			moe_vocab_add(v, old.slot[i].text, old.slot[i].n, old.slot[i].id);
	free(old.slot);
	return MOE_OK;
}

static struct vocab_entry *vocab_slot(const struct vocab *v, const char *text, size_t n)
{
	size_t i = (size_t)moe_text_hash(text, n) & (v->n_slots - 1);

	while (v->slot[i].text && (v->slot[i].n != n || memcmp(v->slot[i].text, text, n)))
		i = (i + 1) & (v->n_slots - 1);
	return &v->slot[i];
}

bool moe_vocab_add(struct vocab *v, const char *text, size_t n, int32_t id)
{
	struct vocab_entry *e = vocab_slot(v, text, n);

	if (e->text)
		return false;
	*e = (struct vocab_entry){text, (uint32_t)n, id};
	v->used++;
	return true;
}

int32_t moe_vocab_find(const struct vocab *v, const char *text, size_t n)
{
	const struct vocab_entry *e;

	if (!v->n_slots)
		return NONE;
	e = vocab_slot(v, text, n);
	return e->text ? e->id : NONE;
}

static struct merge *merge_slot(const struct merges *m, int32_t left, int32_t right)
{
	int32_t pair[2] = {left, right};
	size_t i = (size_t)moe_text_hash(pair, sizeof pair) & (m->n_slots - 1);

	while (m->slot[i].rank != NONE && (m->slot[i].left != left || m->slot[i].right != right))
		i = (i + 1) & (m->n_slots - 1);
	return &m->slot[i];
}

enum moe_err moe_merges_reserve(struct merges *m, size_t n, struct moe_diag *d)
{
	struct merges old = *m;

	if (n * 2 <= m->n_slots)
		return MOE_OK;
	*m = (struct merges){.n_slots = power_of_two(n)};
	m->slot = malloc(m->n_slots * sizeof *m->slot);
	if (!m->slot) {
		*m = old;
		return moe_fail(d, MOE_ENOMEM, "out of memory for %zu merges", n);
	}
	for (size_t i = 0; i < m->n_slots; i++)
		m->slot[i].rank = NONE;
	for (size_t i = 0; i < old.n_slots; i++)
		if (old.slot[i].rank != NONE)
			moe_merges_add(m, old.slot[i]);
	free(old.slot);
	return MOE_OK;
}

bool moe_merges_add(struct merges *m, struct merge one)
{
	struct merge *s = merge_slot(m, one.left, one.right);

	if (s->rank != NONE)
		return false;
	*s = one;
	m->used++;
	return true;
}

const struct merge *moe_merges_find(const struct merges *m, int32_t left, int32_t right)
{
	const struct merge *s;

	if (!m->n_slots)
		return NULL;
	s = merge_slot(m, left, right);
	return s->rank == NONE ? NULL : s;
}
