#include "nn/pick.h"

#include <string.h>

uint64_t moe_pick_key(float x, size_t i)
{
	float positive = x + 0.0f;      /* -0 becomes 0 */
	uint32_t u;

	memcpy(&u, &positive, sizeof u);
	u = u >> 31 ? ~u : u | 1u << 31;
	return (uint64_t)u << 32 | (~(uint64_t)i & 0xffffffff);
}

/* The limit is found byte by byte from the top, so that the time does not depend on the numbers. */
uint64_t moe_pick_limit(const uint64_t *key, size_t count, size_t n)
{
	uint64_t limit = 0, known = 0;

	for (unsigned shift = 64; shift;) {
		size_t with[256] = {0}, byte = 255;
		shift -= 8;
		for (size_t i = 0; i < count; i++)
			if ((key[i] & known) == limit)
				with[key[i] >> shift & 255]++;
		for (; with[byte] < n; byte--)
			n -= with[byte];
		limit |= (uint64_t)byte << shift;
		known |= (uint64_t)255 << shift;
		if (with[byte] == n)    /* all of these are among the largest */
			break;
	}
	return limit;
}
