#include "text/text_priv.h"

#include <stdlib.h>
#include <string.h>

enum moe_err moe_buf_put(struct moe_buf *b, const char *s, size_t n, struct moe_diag *d)
{
	if (n > SIZE_MAX / 2 - b->n)
		return moe_fail(d, MOE_ENOMEM, "out of memory: a text of %zu bytes", n);
	MOE_TRY(moe_grow(&b->p, &b->cap, b->n + n, 1, d));
	if (n)
		memcpy(b->p + b->n, s, n);
	b->n += n;
	return MOE_OK;
}

void moe_buf_free(struct moe_buf *b)
{
	free(b->p);
	*b = (struct moe_buf){0};
}

/* Length that a lead byte announces and the bounds of the byte behind it (Unicode table 3-7); 0 for what cannot lead. */
static unsigned lead(unsigned c, unsigned *low, unsigned *high)
{
	*low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
	*high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
	return c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
}

/* Bytes at s that fit together, at most *want, which is what the lead byte announces. */
static unsigned fitting(const unsigned char *s, size_t left, unsigned *want)
{
	unsigned low, high, n = 1;

	*want = lead(s[0], &low, &high);
	while (n < *want && n < left && s[n] >= low && s[n] <= high) {
		low = 0x80;
		high = 0xbf;
		n++;
	}
	return n;
}

unsigned moe_utf8_length(const char *s, size_t left)
{
	unsigned want, n = fitting((const unsigned char *)s, left, &want);

	return n == want ? n : 0;
}

unsigned moe_utf8_broken(const char *s, size_t left, bool *cut)
{
	unsigned want, n = fitting((const unsigned char *)s, left, &want);

	*cut = n < want && n == left;
	return n;
}

size_t moe_utf8_check(const char *s, size_t n)
{
	size_t i = 0;
	uint64_t eight;

	while (i < n) {
		unsigned step;
		while (n - i >= 8) {
			memcpy(&eight, s + i, 8);
			if (eight & UINT64_C(0x8080808080808080))
				break;
			i += 8;
		}
		if (i == n || !(step = moe_utf8_length(s + i, n - i)))
			break;
		i += step;
	}
	return i;
}

unsigned moe_utf8_put(char *to, uint32_t c)
{
	if (c < 0x80) {
		to[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		to[0] = (char)(0xc0 | c >> 6);
		to[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		to[0] = (char)(0xe0 | c >> 12);
		to[1] = (char)(0x80 | (c >> 6 & 0x3f));
		to[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	to[0] = (char)(0xf0 | c >> 18);
	to[1] = (char)(0x80 | (c >> 12 & 0x3f));
	to[2] = (char)(0x80 | (c >> 6 & 0x3f));
	to[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

uint32_t moe_utf8_get(const char *s)
{
	const unsigned char *u = (const unsigned char *)s;

	switch (moe_utf8_step(s)) {
	case 1:
		return u[0];
	case 2:
		return (u[0] & 0x1fu) << 6 | (u[1] & 0x3fu);
	case 3:
		return (u[0] & 0xfu) << 12 | (u[1] & 0x3fu) << 6 | (u[2] & 0x3fu);
	default:
		return (u[0] & 7u) << 18 | (u[1] & 0x3fu) << 12 | (u[2] & 0x3fu) << 6 | (u[3] & 0x3fu);
	}
}
