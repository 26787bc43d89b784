/* Bytes and characters: buffers, white space, and the byte alphabet of byte-level BPE (Radford et al. 2019), in which printable Latin-1 characters
 * stand for themselves, the other 68 bytes, in order, for U+0100 and up: 0 to 32, 127 to 160, and 173. */
#include "text/text_priv.h"

#include <string.h>

enum { FIRST = 0x100, DELETE = 127, NO_BREAK_SPACE = 160, SOFT_HYPHEN = 173, N_LOW = 33, N_MIDDLE = 34 };

unsigned moe_byte_to_rune(unsigned char byte)
{
	if (byte < N_LOW)
		return FIRST + byte;
	if (byte >= DELETE && byte <= NO_BREAK_SPACE)
		return FIRST + N_LOW + byte - DELETE;
	return byte == SOFT_HYPHEN ? FIRST + N_LOW + N_MIDDLE : byte;
}

int moe_rune_to_byte(unsigned rune)
{
	if (rune < FIRST)
		return moe_byte_to_rune((unsigned char)rune) == rune ? (int)rune : -1;
	rune -= FIRST;
	if (rune < N_LOW)
		return (int)rune;
	rune -= N_LOW;
	if (rune < N_MIDDLE)
		return (int)rune + DELETE;
	return rune == N_MIDDLE ? SOFT_HYPHEN : -1;
}

enum moe_err moe_bytes_to_alphabet(const char *s, size_t n, struct buffer *out, struct moe_diag *d)
{
	MOE_TRY(moe_grow(&out->s, &out->cap, out->n + 2 * n + 1, 1, d));
	for (size_t i = 0; i < n; i++)
		out->n += moe_utf8_put(out->s + out->n, moe_byte_to_rune((unsigned char)s[i]));
	return MOE_OK;
}

enum moe_err moe_buffer_add(struct buffer *b, const char *s, size_t n, struct moe_diag *d)
{
	if (!n)
		return MOE_OK;
	if (n > b->cap - b->n)
		MOE_TRY(moe_grow(&b->s, &b->cap, b->n + n, 1, d));
	memcpy(b->s + b->n, s, n);
	b->n += n;
	return MOE_OK;
}

enum moe_err moe_buffer_insert(struct buffer *b, size_t at, const char *s, struct moe_diag *d)
{
	size_t n = strlen(s);

	MOE_TRY(moe_grow(&b->s, &b->cap, b->n + n, 1, d));
	memmove(b->s + at + n, b->s + at, b->n - at);
	memcpy(b->s + at, s, n);
	b->n += n;
	return MOE_OK;
}

bool moe_rune_is_space(unsigned rune)
{
	return rune == ' ' || (rune >= '\t' && rune <= '\r') || rune == 0x85 || rune == 0xa0 || rune == 0x1680 || (rune >= 0x2000 && rune <= 0x200a)
	       || rune == 0x2028 || rune == 0x2029 || rune == 0x202f || rune == 0x205f || rune == 0x3000;
}

size_t moe_leading_space(const char *s, size_t n)
{
	size_t i = 0, step;
	bool good;

	while (i < n && (step = moe_utf8_step(s + i, n - i, &good), good && moe_rune_is_space(moe_utf8_get(s + i, step))))
		i += step;
	return i;
}

size_t moe_trailing_space(const char *s, size_t n)
{
	size_t end = n, at;

	while (end) {
		for (at = end - 1; at && ((unsigned char)s[at] & 0xc0) == 0x80; at--)
			;
		if (!moe_rune_is_space(moe_utf8_get(s + at, end - at)))
			break;
		end = at;
	}
	return n - end;
}
