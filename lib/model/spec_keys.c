/* From settings back to the keys of a model's own file: what spec.c reads, said again. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/spec_priv.h"

/* The word of a choice. */
static json_t *choice(const char *choices, int index)
{
	while (index--)
		choices += strcspn(choices, " ") + 1;
	return json_stringn(choices, strcspn(choices, " "));
}

/* The shortest number with the same f32: what was a round one before it passed through an f32 is so again. */
static json_t *real(double v)
{
	char text[32];

	for (int digits = 1; digits < 10; digits++) {
		snprintf(text, sizeof text, "%.*g", digits, v);
		if ((float)strtod(text, NULL) == (float)v)
			return json_real(strtod(text, NULL));
	}
	return json_real(v);
}

/* Tokens are an id or a list; layers are a list in any case. */
static json_t *ids_of(const struct moe_ints *ids, bool tokens)
{
	json_t *list;

	if (ids->n == 1 && tokens)
		return json_integer(ids->v[0]);
	list = json_array();
	for (size_t i = 0; i < ids->n; i++)
		json_array_append_new(list, json_integer(ids->v[i]));
	return list;
}

static json_t *pools_of(const struct moe_pools *p, int64_t experts)
{
	json_t *list = json_array();

	for (size_t m = 0; m < p->n; m++) {
		json_t *pool = json_array();
		for (int64_t e = 0; e < experts; e++)
			if (p->of[e] == m)
				json_array_append_new(pool, json_integer(e));
		json_array_append_new(list, pool);
	}
	return list;
}

json_t *moe_setting_get(const struct moe_spec *spec, const struct moe_setting *s)
{
	const void *at = (const char *)spec + s->offset;

	switch (s->type) {
	case MOE_SET_INT: return json_integer(*(const int64_t *)at);
	case MOE_SET_REAL: return real(*(const double *)at);
	case MOE_SET_BOOL: return json_boolean(*(const bool *)at);
	case MOE_SET_CHOICE: return choice(s->choices, *(const int *)at);
	case MOE_SET_IDS: return ids_of(at, !strncmp(s->path, "text.", 5));
	case MOE_SET_POOLS: return pools_of(at, spec->router.experts);
	default: return NULL;
	}
}

struct moe_convs_at moe_setting_convs(const struct moe_spec *spec, const struct moe_setting *s)
{
	struct moe_spec *of = (struct moe_spec *)(uintptr_t)spec;

	return s->offset == offsetof(struct moe_spec, tower.conv) ? (struct moe_convs_at){of->tower.conv, &of->tower.n_conv}
								   : (struct moe_convs_at){of->image_tokens.decoder, &of->image_tokens.n_decoder};
}

bool moe_setting_unsaid(const struct moe_spec *spec, const struct moe_setting *s)
{
	json_t *v, *absent;
	bool same;

	if (s->only_if && !strcmp(s->only_if, "dense") && !spec->dense.width)
		return true;
	if (!s->newer)
		return false;
	if (s->type == MOE_SET_CONVS)
		return !*moe_setting_convs(spec, s).n;
	v = moe_setting_get(spec, s);
	absent = json_loads(s->absent, JSON_DECODE_ANY, NULL);
	same = json_is_number(v) ? json_number_value(v) == json_number_value(absent) : json_equal(v, absent);
	json_decref(v);
	json_decref(absent);
	return same;
}

/* A key of the model's main file alone: neither one of another file nor a product. */
static const char *key_of(const json_t *ref, json_t **table)
{
	const char *text = moe_docs_reference(ref, table);

	return text && !strpbrk(text, ":*/") ? text + 1 : NULL;
}

/* The word of a table that stands for the value, or the value where there is no table; borrowed from neither. NULL: there is none. */
static json_t *word_for(json_t *v, json_t *table)
{
	const char *word;
	json_t *value;

	json_object_foreach(table, word, value)
		if (json_equal(value, v))
			return json_string(word);
	return table ? NULL : json_incref(v);
}

/* Is it the value that stands for "there is none"? Some programs take a key with such a value for more than its absence. */
static bool is_nothing(const json_t *v)
{
	return (json_is_number(v) && json_number_value(v) == 0) || (json_is_array(v) && !json_array_size(v)) ||
	       (json_is_string(v) && !strcmp(json_string_value(v), "none"));
}

/* Settings of a scaled rope say nothing where it is not scaled. */
static bool idle(const struct moe_spec *s, const char *key)
{
	return strstr(key, "scaling") && s->attention.rope.scaling <= MOE_ROPE_DEFAULT;
}

/* A number of tokens is a whole one in every file. */
static bool is_length(const struct moe_setting *row) { return row->offset == offsetof(struct moe_spec, attention.rope.original); }

/* Sets the keys of one setting: its first reference, or (`others`) those behind it, where no setting has come first. Of config.json, whose newer spellings are
 * nested, these are plain keys alone. */
static void put_setting(json_t *keys, const struct moe_spec *s, const struct moe_setting *row, json_t *node, bool others, bool gguf)
{
	size_t n = json_is_array(node) ? json_array_size(node) : 1;
	json_t *v = is_length(row) ? json_integer((json_int_t)s->attention.rope.original) : moe_setting_get(s, row), *last = json_array_get(node, n - 1);
	bool first = true, is_id = row->type == MOE_SET_IDS && json_is_integer(v);

	for (size_t i = 0; v && i < n; i++) {
		json_t *table;
		const char *key = key_of(json_is_array(node) ? json_array_get(node, i) : node, &table);
		if (!key)
			continue;
		if ((first != others) && !idle(s, key) && !(!is_id && is_nothing(v) && (!last || json_equal(last, v) || is_nothing(last))) && !json_object_get(keys, key) &&
		    strncmp(key, "gguf.", 5) && (first || (gguf ? strncmp(key, "tokenizer.", 10) != 0 : !strchr(key, '.'))))
			json_object_set_new(keys, key, word_for(v, table));
		first = false;
	}
	json_decref(v);
}

enum moe_err moe_spec_keys(json_t **out, const struct moe_spec *s, bool gguf, struct moe_diag *d)
{
	struct moe_spec to;
	const char *key;
	json_t *v, *section, *keys = json_object();
	enum moe_err err = moe_spec_for(&to, s, gguf, d);

	if (err || !keys) {
		json_decref(keys);
		return err ? err : moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	section = gguf ? json_object_get(s->file, "gguf") : to.doc;
	json_object_foreach(json_object_get(section, "match"), key, v)
		json_object_set(keys, key, v);
	json_object_foreach(json_object_get(section, "require"), key, v)
		json_object_set(keys, key, v);
	for (int others = 0; others < 2; others++)
		for (size_t i = 0; i < moe_n_settings; i++)
			if (moe_setting_counts(&to, &moe_settings[i]) && !moe_setting_unsaid(&to, &moe_settings[i]))
				put_setting(keys, &to, &moe_settings[i], moe_json_descend(section, moe_settings[i].path, strlen(moe_settings[i].path)), others, gguf);
	json_decref(to.doc);
	*out = keys;
	return MOE_OK;
}

enum moe_err moe_spec_for(struct moe_spec *out, const struct moe_spec *s, bool gguf, struct moe_diag *d)
{
	*out = *s;
	if (gguf && !json_object_get(s->file, "gguf"))
		return moe_fail(d, MOE_EUSAGE, "models of the family %s have no form as a GGUF file (its family file has no section \"gguf\"): name a folder as output",
				s->family);
	out->doc = json_deep_copy(s->file);
	if (!out->doc)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	out->gguf = gguf;
	if (gguf)
		moe_family_use_gguf(out->doc);
	else
		json_object_del(out->doc, "gguf");
	return MOE_OK;
}

/* What does not bear on numbers, or says nothing. */
static bool passed_over(const struct moe_spec *s, const char *path, bool turned)
{
	return !strncmp(path, "text.", 5) || !strncmp(path, "chat.", 5) || (turned && !strcmp(path, "attention.rope.pairs")) ||
	       (!strncmp(path, "attention.rope.scaling.", 23) && s->attention.rope.scaling <= MOE_ROPE_DEFAULT);
}

static bool same_value(const json_t *a, const json_t *b)
{
	if (json_is_real(a) && json_is_real(b))
		return (float)json_real_value(a) == (float)json_real_value(b);
	return json_equal(a, b);
}

enum moe_err moe_spec_same(const struct moe_spec *a, const struct moe_spec *b, bool turned, struct moe_diag *d)
{
	if ((a->attention.rope.scaling > MOE_ROPE_DEFAULT) != (b->attention.rope.scaling > MOE_ROPE_DEFAULT))
		return moe_fail(d, MOE_EMATCH, "the output's format cannot say how the rope of this model is scaled (attention.rope.scaling.kind)");
	for (size_t i = 0; i < moe_n_settings; i++) {
		const struct moe_setting *row = &moe_settings[i];
		bool counts = moe_setting_counts(a, row);
		json_t *x, *y;
		char *is, *must;
		if (passed_over(a, row->path, turned) || (!counts && !moe_setting_counts(b, row)))
			continue;
		x = moe_setting_get(a, row);
		y = moe_setting_get(b, row);
		if (counts == moe_setting_counts(b, row) && (!x || same_value(x, y))) {
			json_decref(x);
			json_decref(y);
			continue;
		}
		must = json_dumps(x, JSON_COMPACT | JSON_ENCODE_ANY);
		is = json_dumps(y, JSON_COMPACT | JSON_ENCODE_ANY);
		json_decref(x);
		json_decref(y);
		moe_fail(d, MOE_EMATCH, "the output's format cannot say that the setting %s is %.60s: it would be read as %.60s", row->path,
			 must ? must : "?", is ? is : "?");
		free(must);
		free(is);
		return MOE_EMATCH;
	}
	return MOE_OK;
}
