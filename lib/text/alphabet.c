/* The byte alphabet of GPT-2: printable Latin-1 bytes stand for themselves, the others for U+0100 onwards in their order. */
#include "text/text_priv.h"

#define R4(x) (x), (x) + 1, (x) + 2, (x) + 3
#define R16(x) R4(x), R4((x) + 4), R4((x) + 8), R4((x) + 12)

const uint16_t moe_alphabet[256] = {
	R16(0x100), R16(0x110), 0x120, 0x21, 0x22, 0x23, R4(0x24), R4(0x28), R4(0x2c), R16(0x30), R16(0x40), R16(0x50), R16(0x60),
	R4(0x70), R4(0x74), R4(0x78), 0x7c, 0x7d, 0x7e, 0x121,
	R16(0x122), R16(0x132), 0x142, 0xa1, 0xa2, 0xa3, R4(0xa4), R4(0xa8), 0xac, 0x143, 0xae, 0xaf, R16(0xb0), R16(0xc0), R16(0xd0),
	R16(0xe0), R16(0xf0),
};

int moe_alphabet_byte(uint32_t c)
{
	if (c < 0x100)
		return moe_alphabet[c] == c ? (int)c : -1;
	if (c <= 0x120)
		return (int)c - 0x100;
	if (c <= 0x142)
		return (int)c - 0x121 + 0x7f;
	return c == 0x143 ? 0xad : -1;
}

size_t moe_alphabet_write(char *to, const char *s, size_t n)
{
	size_t out = 0;

	for (size_t i = 0; i < n; i++)
		out += moe_utf8_put(to + out, moe_alphabet[(unsigned char)s[i]]);
	return out;
}
