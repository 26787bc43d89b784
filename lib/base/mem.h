/* Memory: checked allocation, a growable byte buffer, and the arena for values that live together. */
#ifndef MOE_BASE_MEM_H
#define MOE_BASE_MEM_H

#include <stddef.h>

#include "base/err.h"

/* n × size bytes, zeroed, aligned to 64; NULL when there is no memory or the product overflows. Release with free(). */
void *moe_calloc(size_t n, size_t size);

/* Grows *p (elements of `size` bytes) to hold at least `need`, at least doubling; *cap counts elements. Old content is kept. */
enum moe_err moe_grow(void *p, size_t *cap, size_t need, size_t size, struct moe_diag *d) MOE_CHECK_RESULT;

char *moe_strdup(const char *s);

/* Bump allocator. Everything that it gave since a mark, or since the reset, is released together; the memory is kept, so that a steady loop
 * allocates nothing. */
struct moe_arena {
	struct moe_arena_block *first, *now;
	size_t used, room, first_room;  /* bytes used of `now`, its size, and that of `first`: kept here, so that a reset touches no other memory */
};

/* 64-byte aligned, not zeroed, never NULL for n = 0; NULL when there is no memory. */
void *moe_arena_get(struct moe_arena *a, size_t n, size_t size);
void *moe_arena_zero(struct moe_arena *a, size_t n, size_t size);
char *moe_arena_string(struct moe_arena *a, const char *s, size_t n);
void moe_arena_reset(struct moe_arena *a);

/* Release forgets what was given since the mark. */
struct moe_arena_mark {
	struct moe_arena_block *now;
	size_t used;
};
struct moe_arena_mark moe_arena_mark(const struct moe_arena *a);
void moe_arena_release(struct moe_arena *a, struct moe_arena_mark m);
void moe_arena_free(struct moe_arena *a);

#endif
