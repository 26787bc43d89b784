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

const char *moe_docs_reference(const json_t *node, json_t **table)
{
	json_t *words = (json_t *)(uintptr_t)node;
	const char *text = json_is_object(node) && json_object_size(node) == 1 ? json_object_iter_key(json_object_iter(words)) : json_string_value(node);

	if (!text || *text != '@')
		return NULL;
	*table = json_is_object(node) ? json_object_get(node, text) : NULL;
	return text;
}

/* The value of one reference. */
static json_t *follow(const struct moe_docs *docs, const char *text)
{
	const char *op = strpbrk(text, "/*");

	return op && op[1] == '@' ? compute(docs, text, op) : json_incref(moe_docs_get(docs, text + 1, strlen(text) - 1));
}

/* What a word stands for. */
static enum moe_err translate(json_t **out, const char *text, json_t *table, struct moe_diag *d)
{
	json_t *word = *out, *v = json_object_get(table, json_string_value(word) ? json_string_value(word) : "");
	char known[200] = "", *is;
	const char *key;
	json_t *value;

	*out = json_incref(v);
	if (v) {
		json_decref(word);
		return MOE_OK;
	}
	json_object_foreach(table, key, value)
		snprintf(known + strlen(known), sizeof known - strlen(known), " %s", key);
	is = json_dumps(word, JSON_COMPACT | JSON_ENCODE_ANY);
	moe_fail(d, MOE_EINPUT, "%s is %.60s, expected one of:%s", text + 1, is ? is : "?", known);
	free(is);
	json_decref(word);
	return MOE_EINPUT;
}

enum moe_err moe_docs_resolve(json_t **out, const struct moe_docs *docs, json_t *node, struct moe_diag *d)
{
	json_t *table;
	const char *text = moe_docs_reference(node, &table);

	*out = NULL;
	if (text) {
		*out = follow(docs, text);
		return *out && table ? translate(out, text, table, d) : MOE_OK;
	}
	if (!json_is_array(node) || !moe_docs_reference(json_array_get(node, 0), &table)) {
		*out = json_incref(node);
		return MOE_OK;
	}
	for (size_t i = 0; i < json_array_size(node) && !*out; i++)
		MOE_TRY(moe_docs_resolve(out, docs, json_array_get(node, i), d));
	return MOE_OK;
}

bool moe_docs_say(const struct moe_docs *docs, json_t *node)
{
	bool list = json_is_array(node), references = false, said = false;
	json_t *table;

	for (size_t i = 0; i < (list ? json_array_size(node) : 1) && !said; i++) {
		const char *text = moe_docs_reference(list ? json_array_get(node, i) : node, &table);
		json_t *v = text ? follow(docs, text) : NULL;
		references |= text != NULL;
		said = v != NULL;
		json_decref(v);
	}
	return said || !references;
}
