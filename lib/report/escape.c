#include "report/escape.h"

#include <stdlib.h>
#include <string.h>

size_t moe_print_escaped(FILE *f, const char *s, size_t n)
{
	size_t printed = 0;

	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i], next = i + 1 < n ? (unsigned char)s[i + 1] : 0;
		char text[5] = {(char)c};
		if (c == '\n' || c == '\t' || c == '\\')
			snprintf(text, sizeof text, "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : '\\');
		else if (c < 0x20 || c == 0x7f || (c == 0xc2 && next >= 0x80 && next < 0xa0))    /* the last: U+0080 to U+009F */
			snprintf(text, sizeof text, "\\x%02x", c);
		fputs(text, f);
		printed += strlen(text);
	}
	return printed;
}

json_t *moe_json_text(const char *s, size_t n)
{
	json_t *j = json_stringn(s, n);
	char *copy = j ? NULL : malloc(3 * n + 1);
	size_t m = 0;

	if (j || !copy)
		return j;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] < 0x80) {
			copy[m++] = s[i];
		} else {
			memcpy(copy + m, "\xef\xbf\xbd", 3);
			m += 3;
		}
	j = json_stringn(copy, m);
	free(copy);
	return j;
}

/* The text of a token alone, n bytes to be freed; NULL: there is none. */
static char *token_text(const struct moe_tokenizer *t, int32_t id, size_t *n)
{
	char *text = NULL;
	size_t cap = 0;

	*n = 0;
	if (t && moe_tokenizer_decode(t, &id, 1, false, &text, n, &cap, NULL)) {
		free(text);
		text = NULL;
	}
	return text;
}

json_t *moe_json_token(const struct moe_tokenizer *t, int32_t id)
{
	json_t *o = json_pack("{s:i}", "id", (int)id);
	size_t n;
	char *text = token_text(t, id, &n);

	if (text)
		json_object_set_new(o, "text", moe_json_text(text, n));
	free(text);
	return o;
}

void moe_print_token(FILE *f, const struct moe_tokenizer *t, int32_t id)
{
	size_t n;
	char *text = token_text(t, id, &n);

	if (n) {
		fputc('"', f);
		moe_print_escaped(f, text, n);
		fputc('"', f);
	} else {
		fprintf(f, "#%d", id);
	}
	free(text);
}

bool moe_print_json(FILE *f, json_t *o)
{
	bool ok = o && !json_dumpf(o, f, JSON_COMPACT | JSON_REAL_PRECISION(9)) && fputc('\n', f) != EOF;

	json_decref(o);
	return ok;
}
