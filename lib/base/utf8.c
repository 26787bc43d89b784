#include "base/utf8.h"

size_t moe_utf8_step(const char *s, size_t left, bool *good)
{
	unsigned c = (unsigned char)*s, lo = 0x80, hi = 0xbf;
	size_t want = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0, n = 1;

	if (c == 0xe0)
		lo = 0xa0;
	else if (c == 0xed)
		hi = 0x9f;
	else if (c == 0xf0)
		lo = 0x90;
	else if (c == 0xf4)
		hi = 0x8f;
	for (; n < want && n < left; n++, lo = 0x80, hi = 0xbf)
		if ((unsigned char)s[n] < lo || (unsigned char)s[n] > hi)
			break;
	*good = n == want;
	return n;
}

size_t moe_utf8_prefix(const char *s, size_t n)
{
	size_t i = 0, step;
	bool good;

	while (i < n && (step = moe_utf8_step(s + i, n - i, &good), good))
		i += step;
	return i;
}

unsigned moe_utf8_get(const char *s, size_t n)
{
	unsigned rune = (unsigned char)*s & (n == 1 ? 0x7f : 0xffu >> (n + 1));

	for (size_t i = 1; i < n; i++)
		rune = rune << 6 | ((unsigned char)s[i] & 0x3f);
	return rune;
}

size_t moe_utf8_put(char *to, unsigned u)
{
	if (u < 0x80) {
		to[0] = (char)u;
		return 1;
	}
	if (u < 0x800) {
		to[0] = (char)(0xc0 | u >> 6);
		to[1] = (char)(0x80 | (u & 0x3f));
		return 2;
	}
	if (u < 0x10000) {
		to[0] = (char)(0xe0 | u >> 12);
		to[1] = (char)(0x80 | (u >> 6 & 0x3f));
		to[2] = (char)(0x80 | (u & 0x3f));
		return 3;
	}
	to[0] = (char)(0xf0 | u >> 18);
	to[1] = (char)(0x80 | (u >> 12 & 0x3f));
	to[2] = (char)(0x80 | (u >> 6 & 0x3f));
	to[3] = (char)(0x80 | (u & 0x3f));
	return 4;
}
