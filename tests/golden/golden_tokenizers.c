/* tokenizer.json against cases.jsonl (text, ids, decoded) and decode.jsonl (ids, decoded, decoded so far after each id). */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden.h"
#include "io/source.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"

enum { SHOWN = 10, LIMIT = 256 << 20 };

static char *read_file(const char *dir, const char *name, size_t *n)
{
	char path[4096], *bytes;
	struct moe_diag d = {0};

	snprintf(path, sizeof path, "%s/%s", dir, name);
	return moe_read_file(path, LIMIT, &bytes, n, &d) ? NULL : bytes;
}

static bool same(json_t *want, const char *text, size_t n) { return json_string_length(want) == n && !memcmp(text, json_string_value(want), n); }

/* ids of a case against the reference's. */
static int check_ids(struct moe_tokenizer *t, json_t *c)
{
	json_t *text = json_object_get(c, "text"), *want = json_object_get(c, "ids");
	struct moe_ids ids = {0};
	struct moe_diag d = {0};
	bool good = !moe_tokenizer_encode(t, json_string_value(text), json_string_length(text), json_is_true(json_object_get(c, "add_special_tokens")), &ids, &d);

	good = good && ids.n == json_array_size(want);
	for (size_t i = 0; good && i < ids.n; i++)
		good = ids.id[i] == json_integer_value(json_array_get(want, i));
	free(ids.id);
	return !good;
}

static int32_t *read_ids(json_t *ids, size_t *n)
{
	int32_t *id = malloc((json_array_size(ids) + 1) * sizeof *id);

	*n = json_array_size(ids);
	for (size_t i = 0; i < *n; i++)
		id[i] = (int32_t)json_integer_value(json_array_get(ids, i));
	return id;
}

static bool decodes_to(struct moe_tokenizer *t, const int32_t *id, size_t n, json_t *want, bool skip)
{
	size_t len = 0, cap = 0;
	char *text = NULL;
	struct moe_diag d = {0};
	bool good = !moe_tokenizer_decode(t, id, n, skip, &text, &len, &cap, &d) && same(want, text, len);

	free(text);
	return good;
}

/* What the stream has given must be how every later text begins; at the end it must be the whole. `prefixes` may be NULL. */
static bool streams_to(struct moe_tokenizer *t, const int32_t *id, size_t n, json_t *want, json_t *prefixes, bool skip)
{
	char *given = calloc(1, json_string_length(want) + 1);
	size_t n_given = 0, more, later = 0;
	struct moe_text_stream *s;
	struct moe_diag d = {0};
	const char *text;
	bool good = !moe_text_stream_new(&s, t, skip, &d);

	for (size_t i = 0; i <= n && good; i++) {
		good = !(i < n ? moe_text_stream_push(s, id[i], &text, &more, &d) : moe_text_stream_finish(s, &text, &more, &d));
		good = good && more <= json_string_length(want) - n_given;
		if (!good)
			break;
		memcpy(given + n_given, text, more);
		n_given += more;
		for (later = i; later < n && prefixes && good; later++) {
			json_t *p = json_array_get(prefixes, later);
			good = n_given <= json_string_length(p) && !memcmp(given, json_string_value(p), n_given);
		}
	}
	good = good && same(want, given, n_given);
	moe_text_stream_free(s);
	free(given);
	return good;
}

static int check_text(struct moe_tokenizer *t, json_t *ids, json_t *want, json_t *prefixes, bool skip, unsigned long *compared)
{
	size_t n;
	int32_t *id = read_ids(ids, &n);
	int bad = !decodes_to(t, id, n, want, skip) + !streams_to(t, id, n, want, prefixes, skip);

	*compared += 2;
	for (size_t i = 0; i < json_array_size(prefixes); i++, ++*compared)
		bad += !decodes_to(t, id, i + 1, json_array_get(prefixes, i), skip);
	free(id);
	return bad;
}

static int check_case(struct moe_tokenizer *t, json_t *c, unsigned long *n)
{
	json_t *ids = json_object_get(c, "ids"), *v;
	int bad = 0;

	if (json_object_get(c, "text")) {
		bad += check_ids(t, c);
		++*n;
	}
	if ((v = json_object_get(c, "decoded_skip")))
		bad += check_text(t, ids, v, NULL, true, n);
	if ((v = json_object_get(c, "decoded_keep")))
		bad += check_text(t, ids, v, NULL, false, n);
	if ((v = json_object_get(c, "decoded")))
		bad += check_text(t, ids, v, json_object_get(c, "prefixes"), json_is_true(json_object_get(c, "skip_special_tokens")), n);
	return bad;
}

static int check_lines(struct moe_tokenizer *t, const char *dir, const char *name, unsigned long *n)
{
	size_t nbytes;
	char *lines = read_file(dir, name, &nbytes), *end;
	int bad = 0;

	for (char *p = lines; p && p < lines + nbytes; p = end + 1) {
		json_t *c;
		int wrong;
		end = memchr(p, '\n', (size_t)(lines + nbytes - p));
		if (!end)
			end = lines + nbytes;
		c = json_loadb(p, (size_t)(end - p), JSON_ALLOW_NUL, NULL);
		wrong = c ? check_case(t, c, n) : 1;
		if (wrong && bad < SHOWN)
			fprintf(stderr, "FAIL %s/%s: %.*s\n", dir, name, (int)(end - p > 200 ? 200 : end - p), p);
		bad += wrong;
		json_decref(c);
	}
	free(lines);
	return bad;
}

int golden_tokenizers(const char *dir, unsigned long *n_compared)
{
	struct moe_tokenizer *t;
	struct moe_diag d = {0};
	size_t n;
	char *json = read_file(dir, "tokenizer.json", &n);
	int bad;

	if (!json || moe_tokenizer_load(&t, json, n, &d)) {
		fprintf(stderr, "FAIL %s: %s\n", dir, json ? d.text : "no tokenizer.json");
		free(json);
		++*n_compared;
		return 1;
	}
	free(json);
	bad = check_lines(t, dir, "cases.jsonl", n_compared) + check_lines(t, dir, "decode.jsonl", n_compared);
	moe_tokenizer_free(t);
	return bad;
}
