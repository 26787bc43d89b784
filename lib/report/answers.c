#include "report/answers.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static void print_escaped(FILE *f, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];
		if (c == '\n')
			fputs("\\n", f);
		else if (c == '\t')
			fputs("\\t", f);
		else if (c == '\\')
			fputs("\\\\", f);
		else if (c < 0x20 || c == 0x7f)
			fprintf(f, "\\x%02x", c);
		else
			fputc(c, f);
	}
}

/* A JSON string of bytes that may not be UTF-8 (file names): what is not becomes U+FFFD. */
static json_t *json_text(const char *s, size_t n)
{
	json_t *j = json_stringn(s, n);
	char *copy;

	if (j)
		return j;
	copy = malloc(3 * n + 1);
	if (!copy)
		return NULL;
	size_t m = 0;
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

static bool print_json(FILE *f, const struct moe_answer *a, const struct moe_answer_style *style)
{
	json_t *o = json_object(), *ids = json_array();
	bool ok;

	if (a->name)
		json_object_set_new(o, "name", json_text(a->name, strlen(a->name)));
	if (a->error) {
		json_object_set_new(o, "error", json_text(a->error, strlen(a->error)));
		json_decref(ids);
	} else {
		for (size_t i = 0; i < a->ids.n; i++)
			json_array_append_new(ids, json_integer(a->ids.id[i]));
		json_object_set_new(o, "text", json_text(a->text, a->n_text));
		json_object_set_new(o, "ids", ids);
		json_object_set_new(o, "logprob", json_real(a->logprob));
		json_object_set_new(o, "prompt_tokens", json_integer((json_int_t)a->n_prompt));
		json_object_set_new(o, "generated_tokens", json_integer((json_int_t)a->ids.n));
		if (style->seconds > 0)
			json_object_set_new(o, "seconds", json_real(style->seconds));
	}
	ok = o && !json_dumpf(o, f, JSON_COMPACT | JSON_REAL_PRECISION(9)) && fputc('\n', f) != EOF;
	json_decref(o);
	return ok;
}

static void print_text(FILE *f, const struct moe_answer *a, const struct moe_answer_style *style)
{
	if (style->names && a->name) {
		print_escaped(f, a->name, strlen(a->name));
		fputc('\t', f);
	}
	if (style->lines)
		print_escaped(f, a->text, a->n_text);
	else
		fwrite(a->text, 1, a->n_text, f);
	fputc('\n', f);
}

enum moe_err moe_answer_print(FILE *f, const struct moe_answer *a, const struct moe_answer_style *style, struct moe_diag *d)
{
	bool ok = true;

	if (style->json)
		ok = print_json(f, a, style);
	else if (!a->error)             /* that the caller reports on standard error */
		print_text(f, a, style);
	return ok && !fflush(f) && !ferror(f) ? MOE_OK : moe_fail_errno(d, "cannot write the answer");
}
