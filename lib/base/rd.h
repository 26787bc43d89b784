/* Bounded reader with a sticky error: untrusted bytes go through it. After a failure every read gives 0, so that a parser may check once. */
#ifndef MOE_BASE_RD_H
#define MOE_BASE_RD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct moe_rd {
	const uint8_t *beg, *p, *end;
	bool bad;
};

static inline void moe_rd_init(struct moe_rd *r, const void *bytes, size_t n)
{
	r->beg = r->p = bytes;
	r->end = r->beg + n;
	r->bad = false;
}

static inline size_t moe_rd_left(const struct moe_rd *r) { return (size_t)(r->end - r->p); }

static inline bool moe_rd_need(struct moe_rd *r, uint64_t n)
{
	if (n <= moe_rd_left(r))
		return true;
	r->bad = true;
	r->p = r->end;
	return false;
}

/* n bytes in place, NULL when fewer are left. */
static inline const uint8_t *moe_rd_bytes(struct moe_rd *r, uint64_t n)
{
	const uint8_t *p = r->p;

	if (!moe_rd_need(r, n))
		return NULL;
	r->p += n;
	return p;
}

/* An unsigned number of n <= 8 bytes in either order. */
static inline uint64_t moe_rd_le(struct moe_rd *r, unsigned n)
{
	const uint8_t *p = moe_rd_bytes(r, n);
	uint64_t v = 0;

	for (unsigned i = 0; p && i < n; i++)
		v |= (uint64_t)p[i] << 8 * i;
	return v;
}

static inline uint64_t moe_rd_be(struct moe_rd *r, unsigned n)
{
	const uint8_t *p = moe_rd_bytes(r, n);
	uint64_t v = 0;

	for (unsigned i = 0; p && i < n; i++)
		v = v << 8 | p[i];
	return v;
}

#endif
