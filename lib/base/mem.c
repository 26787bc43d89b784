#include "base/mem.h"

#include <stdint.h>
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/check.h"

enum { ALIGN = 64, LEAST_BLOCK = 64 << 10, HUGE_PAGE = 2 << 20 };

struct moe_arena_block {
	struct moe_arena_block *next;
	size_t nbytes;          /* payload behind the header */
};

static_assert(sizeof(struct moe_arena_block) <= ALIGN, "the block header fits before the first aligned payload");

static void *aligned(size_t nbytes)
{
	void *p;

	return posix_memalign(&p, ALIGN, moe_max(nbytes, 1)) ? NULL : p;
}

/* A block of an arena; large pages for a large one, whose first use would else be thousands of page faults. */
static void *new_block(size_t nbytes)
{
	char *p = aligned(nbytes);
	size_t before = p ? moe_round_up((uintptr_t)p, HUGE_PAGE) - (uintptr_t)p : 0;

	if (p && nbytes >= 4 * HUGE_PAGE)
		madvise(p + before, (nbytes - before) / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
	return p;
}

void *moe_calloc(size_t n, size_t size)
{
	uint64_t nbytes;
	void *p;

	if (!moe_checked_mul(n, size, &nbytes) || nbytes > PTRDIFF_MAX || !(p = aligned(nbytes)))
		return NULL;
	return memset(p, 0, nbytes);
}

enum moe_err moe_grow(void *p, size_t *cap, size_t need, size_t size, struct moe_diag *d)
{
	uint64_t nbytes;
	void *old, *grown;
	size_t want = moe_max(need, *cap * 2);

	if (need <= *cap)
		return MOE_OK;
	memcpy(&old, p, sizeof old);
	if (!moe_checked_mul(want, size, &nbytes) || nbytes > PTRDIFF_MAX || !(grown = realloc(old, nbytes)))
		return moe_fail(d, MOE_ENOMEM, "out of memory: %zu elements of %zu bytes", want, size);
	memcpy(p, &grown, sizeof grown);
	*cap = want;
	return MOE_OK;
}

char *moe_strdup(const char *s)
{
	size_t n = strlen(s) + 1;
	char *copy = malloc(n);

	return copy ? memcpy(copy, s, n) : NULL;
}

static void *payload(struct moe_arena_block *b) { return (char *)b + ALIGN; }

/* Makes a block with room for nbytes the current one: the next kept block if it is large enough, else a new one in its place, so that sizes that grow a little
 * from one use to the next do not leave a block each. */
static bool next_block(struct moe_arena *a, size_t nbytes)
{
	struct moe_arena_block *b = a->now ? a->now->next : a->first;

	if (!b || b->nbytes < nbytes) {
		size_t room = moe_max(moe_max(nbytes, LEAST_BLOCK), a->now ? 2 * a->now->nbytes : 0);
		struct moe_arena_block *fresh = new_block(ALIGN + room);
		if (!fresh)
			return false;
		fresh->next = b ? b->next : NULL;
		free(b);
		fresh->nbytes = room;
		if (a->now) {
			a->now->next = fresh;
		} else {
			a->first = fresh;
			a->first_room = room;
		}
		b = fresh;
	}
	a->now = b;
	a->used = 0;
	a->room = b->nbytes;
	return true;
}

void *moe_arena_get(struct moe_arena *a, size_t n, size_t size)
{
	uint64_t nbytes;
	char *p;

	if (!moe_checked_mul(n, size, &nbytes) || nbytes > PTRDIFF_MAX / 4)
		return NULL;
	nbytes = moe_round_up(moe_max(nbytes, 1), ALIGN);
	if (a->room - a->used < nbytes && !next_block(a, nbytes))
		return NULL;
	p = (char *)payload(a->now) + a->used;
	a->used += nbytes;
	return p;
}

void *moe_arena_zero(struct moe_arena *a, size_t n, size_t size)
{
	void *p = moe_arena_get(a, n, size);

	return p ? memset(p, 0, n * size) : NULL;
}

char *moe_arena_string(struct moe_arena *a, const char *s, size_t n)
{
	char *p = n < SIZE_MAX ? moe_arena_get(a, n + 1, 1) : NULL;

	if (p) {
		memcpy(p, s, n);
		p[n] = 0;
	}
	return p;
}

void moe_arena_reset(struct moe_arena *a)
{
	a->now = a->first;
	a->used = 0;
	a->room = a->first_room;
}

struct moe_arena_mark moe_arena_mark(const struct moe_arena *a) { return (struct moe_arena_mark){a->now, a->used}; }

void moe_arena_release(struct moe_arena *a, struct moe_arena_mark m)
{
	a->now = m.now;
	a->used = m.used;
	a->room = m.now ? m.now->nbytes : 0;
}

void moe_arena_free(struct moe_arena *a)
{
	struct moe_arena_block *b, *next;

	for (b = a->first; b; b = next) {
		next = b->next;
		free(b);
	}
	*a = (struct moe_arena){0};
}
