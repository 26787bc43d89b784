/* Checked arithmetic: the only way in which a number from a file becomes a size. True means that the result is right. */
#ifndef MOE_BASE_CHECK_H
#define MOE_BASE_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool moe_checked_add(uint64_t a, uint64_t b, uint64_t *out) { return !__builtin_add_overflow(a, b, out); }
static inline bool moe_checked_mul(uint64_t a, uint64_t b, uint64_t *out) { return !__builtin_mul_overflow(a, b, out); }

/* Product of a shape; the empty shape is 1. */
static inline bool moe_product(const uint64_t *shape, unsigned rank, uint64_t *out)
{
	uint64_t n = 1;

	for (unsigned i = 0; i < rank; i++)
		if (!moe_checked_mul(n, shape[i], &n))
			return false;
	*out = n;
	return true;
}

static inline size_t moe_round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }
static inline size_t moe_min(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t moe_max(size_t a, size_t b) { return a > b ? a : b; }

#endif
