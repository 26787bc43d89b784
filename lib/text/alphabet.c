/* UTF-8, and the byte alphabet of byte-level BPE (Radford et al. 2019): printable Latin-1 characters stand for themselves, the other 68 bytes for
 * U+0100 and up, in order. */
#include "text/text_priv.h"

static bool printable(unsigned b) { return (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae; }

unsigned moe_byte_to_rune(unsigned char byte)
{
	unsigned rune = 0x100;

	if (printable(byte))
		return byte;
	for (unsigned b = 0; b < byte; b++)
		rune += !printable(b);
	return rune;
}

int moe_rune_to_byte(unsigned rune)
{
	if (rune < 0x100)
		return printable(rune) ? (int)rune : -1;
	for (unsigned b = 0, r = 0x100; b < 256; b++)
		if (!printable(b) && r++ == rune)
			return (int)b;
	return -1;
}

size_t moe_put_rune(char *to, unsigned u)
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

unsigned moe_get_rune(const char *s, size_t left, size_t *n)
{
	unsigned char c = (unsigned char)*s;
	unsigned rune;

	*n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	if (*n > left)
		*n = left;
	rune = *n == 1 ? c : c & (0xffu >> (*n + 1));
	for (size_t i = 1; i < *n; i++)
		rune = rune << 6 | ((unsigned char)s[i] & 0x3f);
	return rune;
}
