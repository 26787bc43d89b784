/* UTF-8 (Unicode 15, section 3.9, table 3-7): no surrogates, no overlong forms, nothing above U+10FFFF. */
#ifndef MOE_BASE_UTF8_H
#define MOE_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Length of what begins at s, of which left >= 1 bytes are there: a well-formed character, or (*good = false) the longest piece that one could
 * begin with, at least 1, which stands for one U+FFFD. */
size_t moe_utf8_step(const char *s, size_t left, bool *good);

/* Length of the well-formed text that n bytes begin with. */
size_t moe_utf8_prefix(const char *s, size_t n);
static inline bool moe_utf8_valid(const char *s, size_t n) { return moe_utf8_prefix(s, n) == n; }

/* The character of n bytes that moe_utf8_step found good. */
unsigned moe_utf8_get(const char *s, size_t n);

/* Writes a character into to[4]; returns its length. */
size_t moe_utf8_put(char *to, unsigned rune);

#endif
