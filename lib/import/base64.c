#include <stdlib.h>

#include "import/import_priv.h"

/* 0 to 63, or -1. */
static int value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static enum moe_err wrong(struct moe_diag *d, size_t *bad, size_t at, const char *what)
{
	*bad = at;
	return moe_fail(d, MOE_EINPUT, "base64: %s", what);
}

/* Groups of four characters are three bytes; the last group may be two or three characters, filled up with "=". */
static enum moe_err decode(uint8_t *out, size_t *n_out, const char *text, size_t n, size_t *bad, struct moe_diag *d)
{
	unsigned bits = 0, have = 0, fill = 0;

	for (size_t i = 0; i < n; i++) {
		int v = value(text[i]);
		if (text[i] == ' ' || text[i] == '\n' || text[i] == '\r' || text[i] == '\t')
			continue;
		if (text[i] == '=' && have >= 2 && have + fill < 4) {
			fill++;
			continue;
		}
		if (v < 0 || fill)
			return wrong(d, bad, i, v < 0 ? "a character that has no place in it" : "it goes on behind its end");
		bits = bits << 6 | (unsigned)v;
		if (++have < 4)
			continue;
		out[(*n_out)++] = (uint8_t)(bits >> 16);
		out[(*n_out)++] = (uint8_t)(bits >> 8);
		out[(*n_out)++] = (uint8_t)bits;
		have = 0;
	}
	if (have == 1 || (fill && have + fill != 4))
		return wrong(d, bad, n, "it is cut off");
	if (have >= 2)
		out[(*n_out)++] = (uint8_t)(bits >> (have == 2 ? 4 : 10));
	if (have == 3)
		out[(*n_out)++] = (uint8_t)(bits >> 2);
	return MOE_OK;
}

enum moe_err moe_base64_decode(uint8_t **out, size_t *n_out, const char *text, size_t n, size_t *bad, struct moe_diag *d)
{
	enum moe_err err;

	*n_out = 0;
	*bad = 0;
	*out = malloc(n / 4 * 3 + 4);
	if (!*out)
		return moe_fail(d, MOE_ENOMEM, "out of memory for base64");
	err = decode(*out, n_out, text, n, bad, d);
	if (err) {
		free(*out);
		*out = NULL;
	}
	return err;
}
