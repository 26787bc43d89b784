#include "model/spec.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image/fit.h"
#include "io/source.h"
#include "model/spec_priv.h"

enum { FILE_LIMIT = 16 << 20, N_DOCS = 3 };

/* The model's own JSON files, by the word before the colon in "@word:key". */
struct docs {
	const char *directory;
	struct { const char *word, *file; json_t *json; } doc[N_DOCS];
};

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

static enum moe_err load_json(json_t **out, const char *path, struct moe_diag *d)
{
	enum moe_err err;
	char *text;
	size_t n;

	MOE_TRY(moe_read_file(path, FILE_LIMIT, &text, &n, d));
	err = parse_json(out, text, n, path, d);
	free(text);
	return err;
}

static enum moe_err load_docs(struct docs *docs, const struct moe_spec_options *o, struct moe_diag *d)
{
	const char *directory = o->directory;

	*docs = (struct docs){directory, {{"config", "config.json", NULL}, {"generation_config", "generation_config.json", NULL},
					  {"preprocessor_config", "preprocessor_config.json", NULL}}};
	if (o->config)
		return parse_json(&docs->doc[0].json, o->config, o->config_nbytes, directory, d);
	for (int i = 0; i < N_DOCS; i++) {
		char *path;
		enum moe_err err = MOE_OK;
		if (asprintf(&path, "%s/%s", directory, docs->doc[i].file) < 0)
			return moe_fail(d, MOE_ENOMEM, "out of memory");
		if (i == 0 || !access(path, F_OK))
			err = load_json(&docs->doc[i].json, path, d);
		free(path);
		MOE_TRY(err);
	}
	return MOE_OK;
}

static void free_docs(struct docs *docs)
{
	for (int i = 0; i < N_DOCS; i++)
		json_decref(docs->doc[i].json);
}

/* Goes down "a.b.c" from `node`; n bytes of path. NULL when a step is missing or the value is null. */
static json_t *descend(json_t *node, const char *path, size_t n)
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

/* "@key" or "@word:key", without the '@'. */
static json_t *look_up(const struct docs *docs, const char *ref, size_t n)
{
	const char *colon = memchr(ref, ':', n);
	size_t nword = colon ? (size_t)(colon - ref) : 0;

	for (int i = 0; i < N_DOCS; i++)
		if (colon ? strlen(docs->doc[i].word) == nword && !memcmp(docs->doc[i].word, ref, nword) : !i)
			return descend(docs->doc[i].json, colon ? colon + 1 : ref, colon ? n - nword - 1 : n);
	return NULL;
}

/* "@a/@b" and "@a*@b"; a quotient must come out even. NULL when something is missing. */
static json_t *compute(const struct docs *docs, const char *text, const char *op)
{
	json_t *a = look_up(docs, text + 1, (size_t)(op - text) - 1), *b = look_up(docs, op + 2, strlen(op + 2));
	json_int_t x, y;

	if (!json_is_integer(a) || !json_is_integer(b))
		return NULL;
	x = json_integer_value(a);
	y = json_integer_value(b);
	if (*op == '/')
		return y > 0 && x % y == 0 ? json_integer(x / y) : NULL;
	return __builtin_mul_overflow(x, y, &x) ? NULL : json_integer(x);
}

/* A value of the family file made concrete: a reference, a list of alternatives (its first element is a reference), or a literal.
 * A new reference, NULL when nothing was found. */
static json_t *resolve(const struct docs *docs, json_t *node)
{
	const char *text = json_string_value(node);
	json_t *first = json_array_get(node, 0), *v = NULL;

	if (text && *text == '@') {
		const char *op = strpbrk(text, "/*");
		return op && op[1] == '@' ? compute(docs, text, op) : json_incref(look_up(docs, text + 1, strlen(text) - 1));
	}
	if (json_string_value(first) && *json_string_value(first) == '@') {
		for (size_t i = 0; i < json_array_size(node) && !v; i++)
			v = resolve(docs, json_array_get(node, i));
		return v;
	}
	return json_incref(node);
}

static enum moe_err wrong(struct moe_diag *d, const struct moe_setting *s, const json_t *v, const char *expected)
{
	char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);

	moe_fail(d, MOE_EINPUT, "setting %s is %.60s, expected %s", s->path, text ? text : "?", expected);
	free(text);
	return MOE_EINPUT;
}

static bool in_range(const struct moe_setting *s, const json_t *v)
{
	double x = json_number_value(v);

	return json_is_number(v) && isfinite(x) && x >= s->lo && x <= s->hi;
}

static enum moe_err set_int(const struct moe_setting *s, const json_t *v, int64_t *to, struct moe_diag *d)
{
	char expected[80];

	if (!json_is_integer(v) || !in_range(s, v)) {
		snprintf(expected, sizeof expected, "an integer from %.0f to %.0f", s->lo, s->hi);
		return wrong(d, s, v, expected);
	}
	*to = json_integer_value(v);
	return MOE_OK;
}

static enum moe_err set_real(const struct moe_setting *s, const json_t *v, double *to, struct moe_diag *d)
{
	char expected[80];

	if (!in_range(s, v)) {
		snprintf(expected, sizeof expected, "a number from %g to %g", s->lo, s->hi);
		return wrong(d, s, v, expected);
	}
	*to = json_number_value(v);
	return MOE_OK;
}

static enum moe_err set_choice(const struct moe_setting *s, const json_t *v, int *to, struct moe_diag *d)
{
	const char *text = json_string_value(v), *p = s->choices;
	char expected[160];

	for (int i = 0; text && *p; i++) {
		size_t n = strcspn(p, " ");
		if (strlen(text) == n && !memcmp(p, text, n)) {
			*to = i;
			return MOE_OK;
		}
		p += n + (p[n] == ' ');
	}
	snprintf(expected, sizeof expected, "one of: %s", s->choices);
	return wrong(d, s, v, expected);
}

static enum moe_err set_texts(const struct moe_setting *s, json_t *v, struct moe_texts *to, struct moe_diag *d)
{
	if (!json_is_array(v) || json_array_size(v) > MOE_CHAT_TEXTS)
		return wrong(d, s, v, "a list of at most 8 texts");
	for (to->n = 0; to->n < json_array_size(v); to->n++) {
		json_t *text = json_array_get(v, to->n);
		if (!json_string_length(text) || json_string_length(text) >= MOE_CHAT_WORD)
			return wrong(d, s, v, "texts of 1 to 63 bytes");
		strcpy(to->v[to->n], json_string_value(text));
	}
	return MOE_OK;
}

static enum moe_err set_ids(const struct moe_setting *s, json_t *v, struct moe_ints *to, struct moe_diag *d)
{
	to->n = 0;
	if (json_is_integer(v)) {
		to->n = 1;
		return set_int(s, v, &to->v[0], d);
	}
	if (!json_is_array(v) || json_array_size(v) > MOE_MAX_IDS)
		return wrong(d, s, v, "an id or a list of at most 64 ids");
	for (size_t i = 0; i < json_array_size(v); i++)
		MOE_TRY(set_int(s, json_array_get(v, i), &to->v[to->n++], d));
	return MOE_OK;
}

static enum moe_err set_triple(const struct moe_setting *s, json_t *v, double *to, struct moe_diag *d)
{
	if (!json_is_array(v) || json_array_size(v) != 3)
		return wrong(d, s, v, "a list of three numbers");
	for (size_t i = 0; i < 3; i++)
		MOE_TRY(set_real(s, json_array_get(v, i), &to[i], d));
	return MOE_OK;
}

static enum moe_err set_pair(const struct moe_setting *s, json_t *all, json_t *a, json_t *b, struct moe_pairs *to, struct moe_diag *d)
{
	if (to->n == MOE_MAX_PAIRS)
		return wrong(d, s, all, "at most 32 pairs");
	MOE_TRY(set_int(s, a, &to->v[to->n][0], d));
	return set_int(s, b, &to->v[to->n++][1], d);
}

/* {"1225": 128, ...} */
static enum moe_err set_map(const struct moe_setting *s, json_t *v, struct moe_pairs *to, struct moe_diag *d)
{
	const char *key;
	json_t *value;

	json_object_foreach(v, key, value) {
		json_t *number = json_loads(key, JSON_DECODE_ANY, NULL);
		enum moe_err err = number ? set_pair(s, v, number, value, to, d) : wrong(d, s, v, "whole numbers as keys");
		json_decref(number);
		MOE_TRY(err);
	}
	return MOE_OK;
}

static enum moe_err set_pairs(const struct moe_setting *s, json_t *v, struct moe_pairs *to, struct moe_diag *d)
{
	bool single = json_is_integer(json_array_get(v, 0));

	to->n = 0;
	if (json_is_object(v))
		return set_map(s, v, to, d);
	if (!json_is_array(v))
		return wrong(d, s, v, "a list of pairs");
	for (size_t i = 0; i < (single ? 1 : json_array_size(v)); i++) {
		json_t *pair = single ? v : json_array_get(v, i);
		if (json_array_size(pair) != 2)
			return wrong(d, s, v, "pairs of numbers");
		MOE_TRY(set_pair(s, v, json_array_get(pair, 0), json_array_get(pair, 1), to, d));
	}
	return MOE_OK;
}

static enum moe_err conv_number(const struct moe_setting *s, json_t *layer, const char *key, int64_t lo, int64_t hi, int64_t *to, struct moe_diag *d)
{
	json_t *v = json_object_get(layer, key);

	if (!json_is_integer(v) || json_integer_value(v) < lo || json_integer_value(v) > hi)
		return wrong(d, s, layer, "layers with in_channels, out_channels, kernel_size, stride, padding in range");
	*to = json_integer_value(v);
	return MOE_OK;
}

static enum moe_err set_convs(const struct moe_setting *s, json_t *v, struct moe_spec *spec, struct moe_diag *d)
{
	size_t n = json_array_size(v);

	if (!n || n > MOE_MAX_CONV)
		return wrong(d, s, v, "1 to 8 convolution layers");
	for (size_t i = 0; i < n; i++) {
		json_t *layer = json_array_get(v, i);
		struct moe_conv *c = &spec->tower.conv[i];
		json_t *bias = json_object_get(layer, "bias");
		const char *name = json_string_value(json_object_get(layer, "name")), *act = json_string_value(json_object_get(layer, "activation"));
		if (!name || strlen(name) >= sizeof c->name || !act || (strcmp(act, "silu") && strcmp(act, "none")))
			return wrong(d, s, layer, "a name and an activation (silu or none)");
		if (bias && !json_is_null(bias) && !json_is_false(bias))
			return wrong(d, s, layer, "a convolution without bias");
		snprintf(c->name, sizeof c->name, "%s", name);
		c->silu = !strcmp(act, "silu");
		MOE_TRY(conv_number(s, layer, "in_channels", 1, 65536, &c->in, d));
		MOE_TRY(conv_number(s, layer, "out_channels", 1, 65536, &c->out, d));
		MOE_TRY(conv_number(s, layer, "kernel_size", 1, 64, &c->kernel, d));
		MOE_TRY(conv_number(s, layer, "stride", 1, 64, &c->stride, d));
		MOE_TRY(conv_number(s, layer, "padding", 0, 63, &c->padding, d));
	}
	spec->tower.n_conv = n;
	return MOE_OK;
}

static enum moe_err set(struct moe_spec *spec, const struct moe_setting *s, json_t *v, struct moe_diag *d)
{
	void *to = (char *)spec + s->offset;

	switch (s->type) {
	case MOE_SET_INT: return set_int(s, v, to, d);
	case MOE_SET_REAL: return set_real(s, v, to, d);
	case MOE_SET_CHOICE: return set_choice(s, v, to, d);
	case MOE_SET_IDS: return set_ids(s, v, to, d);
	case MOE_SET_TEXTS: return set_texts(s, v, to, d);
	case MOE_SET_TRIPLE: return set_triple(s, v, to, d);
	case MOE_SET_PAIRS: return set_pairs(s, v, to, d);
	case MOE_SET_CONVS: return set_convs(s, v, spec, d);
	case MOE_SET_BOOL:
		if (!json_is_boolean(v))
			return wrong(d, s, v, "true or false");
		*(bool *)to = json_is_true(v);
		return MOE_OK;
	case MOE_SET_TEXT:
		if (!json_is_string(v) || json_string_length(v) >= s->hi)
			return wrong(d, s, v, "a short text");
		strcpy(to, json_string_value(v));
		return MOE_OK;
	}
	return MOE_EINPUT;
}

/* The setting's node in the family file (borrowed), NULL when it is not there. */
static json_t *node_of(json_t *family, const char *path) { return descend(family, path, strlen(path)); }

/* Does the setting count in this spec (only_if)? */
static bool counts(const struct moe_spec *spec, const struct moe_setting *s)
{
	const char *choice = s->only_if ? strchr(s->only_if, '=') : NULL;
	size_t section = s->only_if ? strcspn(s->only_if, ".") : 0;

	if (!s->only_if)
		return true;
	if (!json_object_getn(spec->doc, s->only_if, section))
		return false;
	for (const struct moe_setting *at = moe_settings; choice && at < s; at++)
		if (strlen(at->path) == (size_t)(choice - s->only_if) && !strncmp(at->path, s->only_if, strlen(at->path))) {
			const char *p = at->choices;
			for (int i = *(const int *)(const void *)((const char *)spec + at->offset); i; i--)
				p += strcspn(p, " ") + 1;
			return strlen(choice + 1) == strcspn(p, " ") && !strncmp(p, choice + 1, strlen(choice + 1));
		}
	return true;
}

static enum moe_err set_one(struct moe_spec *spec, const struct moe_setting *s, const struct docs *docs, struct moe_diag *d)
{
	json_t *node = node_of(spec->doc, s->path), *v = NULL;
	enum moe_err err;

	if (!counts(spec, s))
		return node && json_object_getn(spec->doc, s->path, strcspn(s->path, ".")) && strchr(s->only_if, '=')
			       ? moe_fail(d, MOE_EINPUT, "setting %s goes with %s only", s->path, s->only_if) : MOE_OK;
	if (node) {
		v = resolve(docs, node);
		if (!v) {
			char *text = json_dumps(node, JSON_COMPACT | JSON_ENCODE_ANY);
			moe_fail(d, MOE_EINPUT, "setting %s: the model's files do not have %.120s", s->path, text ? text : "it");
			free(text);
			return MOE_EINPUT;
		}
	} else if (s->absent) {
		v = json_loads(s->absent, JSON_DECODE_ANY, NULL);
	} else {
		return moe_fail(d, MOE_EINPUT, "the family file has no setting %s", s->path);
	}
	err = set(spec, s, v, d);
	json_decref(v);
	return err;
}

/* Refuses what the table does not know. Sections that are not settings are skipped at the top level. */
static enum moe_err check_known(json_t *node, const char *path, struct moe_diag *d)
{
	static const char *const not_settings[] = {"family", "match", "require", "tensors", "ignore", "prefixes"};
	const char *key;
	json_t *value;

	json_object_foreach(node, key, value) {
		char here[160];
		bool known = false, inner = false;
		size_t n = (size_t)snprintf(here, sizeof here, "%s%s%s", path, *path ? "." : "", key);
		for (size_t i = 0; !*path && i < sizeof not_settings / sizeof *not_settings; i++)
			known |= !strcmp(key, not_settings[i]);
		if (known)
			continue;
		for (size_t i = 0; i < moe_n_settings; i++) {
			known |= !strcmp(moe_settings[i].path, here);
			inner |= !strncmp(moe_settings[i].path, here, n) && moe_settings[i].path[n] == '.';
		}
		if (inner && json_is_object(value)) {
			MOE_TRY(check_known(value, here, d));
		} else if (!known) {
			char list[300] = "";
			for (size_t i = 0, at = 0; i < moe_n_settings && at < sizeof list - 40; i++)
				if (!strncmp(moe_settings[i].path, path, strlen(path)))
					at += (size_t)snprintf(list + at, sizeof list - at, " %s", moe_settings[i].path);
			return moe_fail(d, MOE_EINPUT, "unknown setting %s; known are:%s", here, list);
		}
	}
	return MOE_OK;
}

static enum moe_err check_ids(const struct moe_spec *s, const char *path, const struct moe_ints *ids, struct moe_diag *d)
{
	for (size_t i = 0; i < ids->n; i++)
		if (ids->v[i] >= s->vocab)
			return moe_fail(d, MOE_EINPUT, "%s (%lld) is outside the vocabulary (%lld)", path, (long long)ids->v[i], (long long)s->vocab);
	return MOE_OK;
}

/* The sizes of canvases bound all that the tower allocates. */
static enum moe_err check_canvas(int64_t height, int64_t width, const char *setting, struct moe_diag *d)
{
	if (height > MOE_FIT_MAX_SIDE || width > MOE_FIT_MAX_SIDE || height * width > MOE_FIT_MAX_PIXELS)
		return moe_fail(d, MOE_EINPUT, "%s: a canvas of %lld x %lld pixels, expected at most %d a side and %d in all", setting, (long long)height,
				(long long)width, MOE_FIT_MAX_SIDE, MOE_FIT_MAX_PIXELS);
	return MOE_OK;
}

static enum moe_err check_grids(const struct moe_spec *s, struct moe_diag *d)
{
	if (s->image.kind == MOE_IMAGE_FIT && !s->image.grids.n && s->image.patch)
		return moe_fail(d, MOE_EINPUT, "image.grids: expected at least one pair [rows, columns]");
	for (size_t i = 0; i < s->image.grids.n; i++)
		MOE_TRY(check_canvas(s->image.grids.v[i][0] * s->image.patch, s->image.grids.v[i][1] * s->image.patch, "image.grids", d));
	return MOE_OK;
}

/* Features of a square canvas of so many patches, 0 when the projector has no queries for it. */
static size_t queries_for(const struct moe_spec *s, uint64_t patches)
{
	for (size_t i = 0; i < s->projector.queries.n; i++)
		if ((uint64_t)s->projector.queries.v[i][0] == patches)
			return (size_t)s->projector.queries.v[i][1];
	return 0;
}

/* Every size of a canvas is made of whole patches and has its queries; the one that is used unless asked otherwise is among them. */
static enum moe_err check_sizes(const struct moe_spec *s, struct moe_diag *d)
{
	bool known = s->image.kind != MOE_IMAGE_CANVAS;

	for (size_t i = 0; i < s->image.sizes.n; i++) {
		int64_t size = s->image.sizes.v[i], side = size / s->image.patch;
		MOE_TRY(check_canvas(size, size, "image.sizes", d));
		if (size % s->image.patch || s->image.min_side > size)
			return moe_fail(d, MOE_EINPUT, "image.sizes: %lld is not a multiple of image.patch (%lld) of at least image.min_side (%lld)", (long long)size,
					(long long)s->image.patch, (long long)s->image.min_side);
		if (s->projector.kind == MOE_PROJECTOR_QUERY_ATTENTION && !queries_for(s, (uint64_t)(side * side)))
			return moe_fail(d, MOE_EINPUT, "projector.queries has none for the %lld patches of image.sizes %lld", (long long)(side * side), (long long)size);
		known |= size == s->image.size;
	}
	return known ? MOE_OK : moe_fail(d, MOE_EINPUT, "image.size (%lld) is not among image.sizes", (long long)s->image.size);
}

/* Widths of tower and projector. */
static enum moe_err check_vit(const struct moe_spec *s, struct moe_diag *d)
{
	const struct moe_vit_settings *v = &s->tower.vit;

	if (s->tower.kind == MOE_TOWER_VIT && (v->hidden % v->heads || v->hidden / v->heads > 512))
		return moe_fail(d, MOE_EINPUT, "tower.heads (%lld) must divide tower.hidden (%lld) into at most 512 each", (long long)v->heads, (long long)v->hidden);
	if (s->projector.kind == MOE_PROJECTOR_NONE)
		return s->tower.kind != MOE_TOWER_VIT ? MOE_OK : moe_fail(d, MOE_EINPUT, "tower.kind vit goes with projector.kind query_attention");
	if (s->tower.kind != MOE_TOWER_VIT || s->image.kind != MOE_IMAGE_CANVAS)
		return moe_fail(d, MOE_EINPUT, "projector.kind query_attention goes with tower.kind vit and image.kind canvas");
	if (v->hidden % s->projector.query.heads || v->hidden / s->projector.query.heads > 512)
		return moe_fail(d, MOE_EINPUT, "projector.heads (%lld) must divide tower.hidden (%lld) into at most 512 each", (long long)s->projector.query.heads,
				(long long)v->hidden);
	return MOE_OK;
}

/* The convolutions fit to each other, to the patches and to the hidden states. */
static enum moe_err check_tower(const struct moe_spec *s, struct moe_diag *d)
{
	int64_t out = s->image.channels, side = 1;

	if (s->tower.kind != MOE_TOWER_CONV_STEM)
		return MOE_OK;
	for (size_t i = 0; i < s->tower.n_conv; i++) {
		const struct moe_conv *c = &s->tower.conv[i];
		if (c->in != out)
			return moe_fail(d, MOE_EINPUT, "tower.conv: %s takes %lld channels, %lld come in", c->name, (long long)c->in, (long long)out);
		out = c->out;
		side *= c->stride;
	}
	if (out != s->hidden || side != s->image.patch)
		return moe_fail(d, MOE_EINPUT, "tower.conv: %lld channels at a stride of %lld come out, expected hidden %lld and patch %lld", (long long)out,
				(long long)side, (long long)s->hidden, (long long)s->image.patch);
	return MOE_OK;
}

/* Relations between settings, which ranges alone do not show. */
static enum moe_err check_relations(const struct moe_spec *s, struct moe_diag *d)
{
	if (s->attention.heads % s->attention.kv_heads)
		return moe_fail(d, MOE_EINPUT, "attention.heads (%lld) is not a multiple of attention.kv_heads (%lld)", (long long)s->attention.heads,
				(long long)s->attention.kv_heads);
	if (s->attention.rope.dim > s->attention.head_dim || s->attention.rope.dim % (2 * s->attention.rope.axes))
		return moe_fail(d, MOE_EINPUT, "attention.rope.dim (%lld) is more than attention.head_dim (%lld), or does not divide into pairs", (long long)s->attention.rope.dim,
				(long long)s->attention.head_dim);
	if (!s->attention.rope.dim && s->attention.head_dim % (2 * s->attention.rope.axes))
		return moe_fail(d, MOE_EINPUT, "attention.head_dim (%lld) does not divide into pairs for %lld rope axes", (long long)s->attention.head_dim,
				(long long)s->attention.rope.axes);
	if (s->router.experts % s->router.groups || s->router.top_groups > s->router.groups)
		return moe_fail(d, MOE_EINPUT, "router.groups (%lld) must divide router.experts (%lld), and router.top_groups (%lld) not be more", (long long)s->router.groups,
				(long long)s->router.experts, (long long)s->router.top_groups);
	if (s->router.top_k > s->router.experts / s->router.groups * s->router.top_groups && s->router.groups > 1)
		return moe_fail(d, MOE_EINPUT, "router.top_k (%lld) is larger than the experts of router.top_groups groups", (long long)s->router.top_k);
	if (s->router.top_k > s->router.experts)
		return moe_fail(d, MOE_EINPUT, "router.top_k (%lld) is larger than router.experts (%lld)", (long long)s->router.top_k, (long long)s->router.experts);
	MOE_TRY(check_ids(s, "text.bos", &s->text.bos, d));
	MOE_TRY(check_ids(s, "text.eos", &s->text.eos, d));
	MOE_TRY(check_ids(s, "text.suppress", &s->text.suppress, d));
	if (s->merge.placeholder >= s->vocab)
		return moe_fail(d, MOE_EINPUT, "merge.placeholder (%lld) is outside the vocabulary (%lld)", (long long)s->merge.placeholder, (long long)s->vocab);
	if ((s->merge.position == MOE_POSITION_AXIAL) != (s->attention.rope.axes == 2))
		return moe_fail(d, MOE_EINPUT, "merge.position axial goes with attention.rope.axes 2");
	if ((s->tower.kind != MOE_TOWER_NONE) != (s->merge.placeholder >= 0))
		return moe_fail(d, MOE_EINPUT, "a tower and merge.placeholder go together");
	if (s->merge.position == MOE_POSITION_AXIAL && s->image.kind != MOE_IMAGE_FIT)
		return moe_fail(d, MOE_EINPUT, "merge.position axial goes with image.kind fit");
	MOE_TRY(check_grids(s, d));
	MOE_TRY(check_sizes(s, d));
	MOE_TRY(check_vit(s, d));
	return check_tower(s, d);
}

static bool matches(json_t *family, const struct docs *docs)
{
	const char *key;
	json_t *want, *match = json_object_get(family, "match");

	if (!json_object_size(match))
		return false;
	json_object_foreach(match, key, want) {
		json_t *have = look_up(docs, key, strlen(key));
		if (!have || !json_equal(have, want))
			return false;
	}
	return true;
}

static int json_files(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return n > 5 && e->d_name[0] != '.' && !strcmp(e->d_name + n - 5, ".json");
}

/* The first family (by file name) whose `match` fits the config. */
static enum moe_err find_family(json_t **out, const struct docs *docs, const char *families, struct moe_diag *d)
{
	struct dirent **e;
	int n = scandir(families, &e, json_files, alphasort);
	const char *type = json_string_value(look_up(docs, "model_type", 10));
	char known[300] = "";
	enum moe_err err = MOE_OK;

	if (n < 0) {
		moe_fail_errno(d, "cannot read the folder of families");
		return moe_diag_path(d, families);
	}
	for (int i = 0; i < n; i++) {
		char *path = NULL;
		json_t *family = NULL;
		if (!*out && !err && asprintf(&path, "%s/%s", families, e[i]->d_name) >= 0)
			err = load_json(&family, path, d);
		if (family && matches(family, docs))
			*out = json_incref(family);
		else if (family)
			snprintf(known + strlen(known), sizeof known - strlen(known), " %.*s", (int)strlen(e[i]->d_name) - 5, e[i]->d_name);
		json_decref(family);
		free(path);
		free(e[i]);
	}
	free(e);
	if (err || *out)
		return err;
	moe_fail(d, MOE_EINPUT, "no family knows model_type \"%.60s\"; known are:%s (give one of your own with --family FILE)", type ? type : "(none)", known);
	return moe_diag_path(d, docs->directory);
}

/* `require`: keys of the model's files that the family's settings do not follow, each with the one value that they are right for. A key that is
 * absent or null has it. */
static enum moe_err check_required(const struct moe_spec *s, const struct docs *docs, struct moe_diag *d)
{
	const char *key;
	json_t *want;

	json_object_foreach(json_object_get(s->doc, "require"), key, want) {
		json_t *have = look_up(docs, key, strlen(key));
		char *is, *must;
		if (!have || json_equal(have, want))
			continue;
		is = json_dumps(have, JSON_COMPACT | JSON_ENCODE_ANY);
		must = json_dumps(want, JSON_COMPACT | JSON_ENCODE_ANY);
		moe_fail(d, MOE_EINPUT, "%s is %.60s, but the family is defined for %.60s only", key, is ? is : "?", must ? must : "?");
		free(is);
		free(must);
		return MOE_EINPUT;
	}
	return MOE_OK;
}

/* transformers writes the type of the weights under one of two keys. A hint, since the weights say it themselves. */
static bool says_float32(const struct docs *docs)
{
	const char *type = json_string_value(look_up(docs, "torch_dtype", 11));

	if (!type)
		type = json_string_value(look_up(docs, "dtype", 5));
	return type && !strcmp(type, "float32");
}

static enum moe_err build(struct moe_spec *s, const struct docs *docs, const struct moe_spec_options *o, struct moe_diag *d)
{
	const char *name;
	enum moe_err err = o->family_file ? load_json(&s->doc, o->family_file, d) : find_family(&s->doc, docs, o->families, d);

	MOE_TRY(err);
	name = json_string_value(json_object_get(s->doc, "family"));
	if (!name || !*name || strlen(name) >= sizeof s->family)
		return moe_fail(d, MOE_EINPUT, "the family file has no name (\"family\")");
	strcpy(s->family, name);
	s->wide = says_float32(docs);
	err = check_known(s->doc, "", d);
	if (!err)
		err = check_required(s, docs, d);
	for (size_t i = 0; i < moe_n_settings && !err; i++)
		err = set_one(s, &moe_settings[i], docs, d);
	if (!err)
		err = check_relations(s, d);
	if (err && d && !d->path[0])
		snprintf(d->path, sizeof d->path, "%s/config.json (family %s)", docs->directory, s->family);
	return err;
}

enum moe_err moe_spec_load(struct moe_spec **out, const struct moe_spec_options *o, struct moe_diag *d)
{
	struct docs docs;
	struct moe_spec *s = calloc(1, sizeof *s);
	enum moe_err err;

	if (!s)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	s->merge.placeholder = -1;
	err = load_docs(&docs, o, d);
	if (!err)
		err = build(s, &docs, o, d);
	free_docs(&docs);
	for (size_t i = 0; i < s->projector.queries.n; i++)
		if (s->projector.queries.v[i][1] > s->projector.query.queries)
			s->projector.query.queries = s->projector.queries.v[i][1];
	if (err)
		moe_spec_free(s);
	else
		*out = s;
	return err;
}

void moe_spec_free(struct moe_spec *s)
{
	if (s) {
		json_decref(s->doc);
		free(s);
	}
}

static void print_choice(FILE *f, const char *choices, int index)
{
	while (index--)
		choices += strcspn(choices, " ") + 1;
	fprintf(f, "%.*s", (int)strcspn(choices, " "), choices);
}

/* As JSON has it, so that a setting stays a line. */
static void print_text(FILE *f, const char *text)
{
	json_t *v = json_string(text);

	json_dumpf(v, f, JSON_ENCODE_ANY);
	json_decref(v);
}

static void print_setting(FILE *f, const struct moe_spec *spec, const struct moe_setting *s)
{
	const void *at = (const char *)spec + s->offset;
	const struct moe_ints *ids = at;
	const struct moe_pairs *pairs = at;
	const double *real = at;

	fprintf(f, "%s = ", s->path);
	switch (s->type) {
	case MOE_SET_INT: fprintf(f, "%lld", (long long)*(const int64_t *)at); break;
	case MOE_SET_REAL: fprintf(f, "%.9g", *real); break;
	case MOE_SET_BOOL: fputs(*(const bool *)at ? "true" : "false", f); break;
	case MOE_SET_CHOICE: print_choice(f, s->choices, *(const int *)at); break;
	case MOE_SET_TEXT: print_text(f, at); break;
	case MOE_SET_TEXTS:
		for (size_t i = 0; i < ((const struct moe_texts *)at)->n; i++) {
			fputs(i ? " " : "", f);
			print_text(f, ((const struct moe_texts *)at)->v[i]);
		}
		break;
	case MOE_SET_TRIPLE: fprintf(f, "%.9g %.9g %.9g", real[0], real[1], real[2]); break;
	case MOE_SET_IDS:
		for (size_t i = 0; i < ids->n; i++)
			fprintf(f, "%s%lld", i ? " " : "", (long long)ids->v[i]);
		break;
	case MOE_SET_PAIRS:
		for (size_t i = 0; i < pairs->n; i++)
			fprintf(f, "%s%lldx%lld", i ? " " : "", (long long)pairs->v[i][0], (long long)pairs->v[i][1]);
		break;
	case MOE_SET_CONVS:
		for (size_t i = 0; i < spec->tower.n_conv; i++) {
			const struct moe_conv *c = &spec->tower.conv[i];
			fprintf(f, "%s%s:%lld>%lld,k%lld,s%lld,p%lld%s", i ? " " : "", c->name, (long long)c->in, (long long)c->out, (long long)c->kernel,
				(long long)c->stride, (long long)c->padding, c->silu ? ",silu" : "");
		}
		break;
	}
	fputc('\n', f);
}

char *moe_spec_string(const struct moe_spec *s)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	if (!f)
		return NULL;
	fprintf(f, "family = %s\n", s->family);
	for (size_t i = 0; i < moe_n_settings; i++)
		if (counts(s, &moe_settings[i]))
			print_setting(f, s, &moe_settings[i]);
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}

static bool on_canvas(const struct moe_spec *s, uint64_t rows, uint64_t columns)
{
	uint64_t patch = (uint64_t)s->image.patch, longer = rows > columns ? rows : columns, shorter = rows > columns ? columns : rows;

	for (size_t i = 0; i < s->image.sizes.n; i++)
		if (longer == (uint64_t)s->image.sizes.v[i] / patch)
			return shorter >= ((uint64_t)s->image.min_side + patch - 1) / patch;
	return false;
}

enum moe_err moe_spec_check_grid(const struct moe_spec *s, uint64_t rows, uint64_t columns, struct moe_diag *d)
{
	for (size_t i = 0; i < s->image.grids.n; i++)
		if (rows == (uint64_t)s->image.grids.v[i][0] && columns == (uint64_t)s->image.grids.v[i][1])
			return MOE_OK;
	if (on_canvas(s, rows, columns))
		return MOE_OK;
	return moe_fail(d, MOE_EINPUT, "a picture of %llu x %llu patches: the model has no such grid (image.%s)", (unsigned long long)rows,
			(unsigned long long)columns, s->image.kind == MOE_IMAGE_FIT ? "grids" : "sizes");
}

size_t moe_spec_features(const struct moe_spec *s, uint64_t rows, uint64_t columns)
{
	uint64_t side = rows > columns ? rows : columns;

	return s->projector.kind == MOE_PROJECTOR_NONE ? rows * columns : queries_for(s, side * side);
}

struct moe_spec_sides moe_spec_largest_sides(const struct moe_spec *s)
{
	struct moe_spec_sides most = {0, 0};

	for (size_t i = 0; i < s->image.grids.n; i++) {
		most.rows = s->image.grids.v[i][0] > most.rows ? s->image.grids.v[i][0] : most.rows;
		most.columns = s->image.grids.v[i][1] > most.columns ? s->image.grids.v[i][1] : most.columns;
	}
	return most;
}

bool moe_spec_is_dense(const struct moe_spec *s, size_t layer)
{
	if (!s->dense.width)
		return false;
	for (size_t i = 0; i < s->dense.layers.n; i++)
		if ((int64_t)layer == s->dense.layers.v[i])
			return true;
	return (int64_t)layer < s->dense.first || (s->dense.step > 1 && ((int64_t)layer + 1) % s->dense.step);
}

size_t moe_spec_top_k(const struct moe_spec *s, size_t layer) { return moe_spec_is_dense(s, layer) ? 0 : (size_t)s->router.top_k; }
