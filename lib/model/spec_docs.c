#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format/checkpoint.h"
#include "io/source.h"
#include "model/spec_priv.h"

enum { FILE_LIMIT = 16 << 20 };

static enum moe_err parse_json(json_t **out, const char *text, size_t n, const char *path, struct moe_diag *d)
{
	json_error_t e;

	*out = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
	if (!*out || !json_is_object(*out)) {
		if (*out)
			moe_fail(d, MOE_EINPUT, "JSON: expected an object");
		else
			moe_fail_at(d, MOE_EINPUT, (uint64_t)(e.position < 0 ? 0 : e.position), "JSON: line %d: %s", e.line, e.text);
		json_decref(*out);
		*out = NULL;
		return moe_diag_path(d, path);
	}
	return MOE_OK;
}

enum moe_err moe_docs_read(json_t **out, const char *path, struct moe_diag *d)
{
	enum moe_err err;
	char *text;
	size_t n;

	MOE_TRY(moe_read_file(path, FILE_LIMIT, &text, &n, d));
	err = parse_json(out, text, n, path, d);
	free(text);
	return err;
}

enum moe_err moe_docs_load(struct moe_docs *docs, const struct moe_spec_options *o, struct moe_diag *d)
{
	const char *directory = o->directory;

	*docs = (struct moe_docs){directory, false, {{"config", "config.json", NULL}, {"generation_config", "generation_config.json", NULL},
					  {"preprocessor_config", "preprocessor_config.json", NULL}}};
	docs->gguf = !o->config && moe_checkpoint_is_file(directory);
	if (docs->gguf)
		return moe_docs_gguf(&docs->doc[0].json, directory, d);
	if (o->config)
		return parse_json(&docs->doc[0].json, o->config, o->config_nbytes, directory, d);
	for (int i = 0; i < MOE_N_DOCS; i++) {
		char *path;
		enum moe_err err = MOE_OK;
		if (asprintf(&path, "%s/%s", directory, docs->doc[i].file) < 0)
			return moe_fail(d, MOE_ENOMEM, "out of memory");
		if (i == 0 || !access(path, F_OK))
			err = moe_docs_read(&docs->doc[i].json, path, d);
		free(path);
		MOE_TRY(err);
	}
	return MOE_OK;
}

void moe_docs_free(struct moe_docs *docs)
{
	for (int i = 0; i < MOE_N_DOCS; i++)
		json_decref(docs->doc[i].json);
}

json_t *moe_json_descend(json_t *node, const char *path, size_t n)
{
	while (node) {
		size_t step = 0;
		while (step < n && path[step] != '.')
			step++;
		node = json_object_getn(node, path, step);
		if (step == n)
			break;
		path += step + 1;
		n -= step + 1;
	}
	return json_is_null(node) ? NULL : node;
}

json_t *moe_docs_get(const struct moe_docs *docs, const char *ref, size_t n)
{
	const char *colon = memchr(ref, ':', n);
	size_t nword = colon ? (size_t)(colon - ref) : 0;

	for (int i = 0; i < MOE_N_DOCS; i++)
		if (colon ? strlen(docs->doc[i].word) == nword && !memcmp(docs->doc[i].word, ref, nword) : !i)
			return moe_json_descend(docs->doc[i].json, colon ? colon + 1 : ref, colon ? n - nword - 1 : n);
	return NULL;
}

/* "@a/@b" and "@a*@b"; a quotient must come out even. NULL when something is missing. */
static json_t *compute(const struct moe_docs *docs, const char *text, const char *op)
{
	json_t *a = moe_docs_get(docs, text + 1, (size_t)(op - text) - 1), *b = moe_docs_get(docs, op + 2, strlen(op + 2));
	json_int_t x, y;

	if (!json_is_integer(a) || !json_is_integer(b))
		return NULL;
	x = json_integer_value(a);
	y = json_integer_value(b);
	if (*op == '/')
		return y > 0 && x % y == 0 ? json_integer(x / y) : NULL;
	return __builtin_mul_overflow(x, y, &x) ? NULL : json_integer(x);
}

json_t *moe_docs_resolve(const struct moe_docs *docs, json_t *node)
{
	const char *text = json_string_value(node);
	json_t *first = json_array_get(node, 0), *v = NULL;

	if (text && *text == '@') {
		const char *op = strpbrk(text, "/*");
		return op && op[1] == '@' ? compute(docs, text, op) : json_incref(moe_docs_get(docs, text + 1, strlen(text) - 1));
	}
	if (json_string_value(first) && *json_string_value(first) == '@') {
		for (size_t i = 0; i < json_array_size(node) && !v; i++)
			v = moe_docs_resolve(docs, json_array_get(node, i));
		return v;
	}
	return json_incref(node);
}
