/* The byte alphabet of byte-level BPE (Radford et al. 2019): printable Latin-1 characters stand for themselves, the other 68 bytes, in order, for
 * U+0100 and up: 0 to 32, 127 to 160, and 173. */
#include "text/text_priv.h"

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
