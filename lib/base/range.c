#include "base/range.h"

/* Digits at *p, at least one. */
static bool read_number(const char **p, const char *end, uint64_t *out)
{
	const char *from = *p;

	for (*out = 0; *p < end && **p >= '0' && **p <= '9'; ++*p)
		if (__builtin_mul_overflow(*out, 10, out) || __builtin_add_overflow(*out, (uint64_t)(**p - '0'), out))
			return false;
	return *p > from;
}

bool moe_range_read(const char **p, const char *end, uint64_t most, uint64_t *first, uint64_t *last)
{
	if (!read_number(p, end, first))
		return false;
	*last = *first;
	if (*p < end && **p == '-') {
		++*p;
		*last = most;
		if (*p < end && **p != ',' && !read_number(p, end, last))
			return false;
	}
	return *first <= *last && *last <= most;
}
