#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/spec_priv.h"

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

/* [[0, 1], [2, 3]]: each expert in one pool. The number of experts is a row above. */
static enum moe_err set_pools(const struct moe_setting *s, json_t *v, struct moe_spec *spec, struct moe_diag *d)
{
	struct moe_pools *to = &spec->router.pools;
	int64_t experts = spec->router.experts, e, placed = 0;
	json_t *pool, *item;
	size_t m, i;

	if (!json_is_array(v) || json_array_size(v) > MOE_N_MODALITIES || (json_array_size(v) && experts > MOE_POOLED_EXPERTS))
		return wrong(d, s, v, "a list of at most 5 lists of experts, of at most 1024 experts in all");
	*to = (struct moe_pools){.n = json_array_size(v)};
	memset(to->of, UINT8_MAX, sizeof to->of);
	json_array_foreach(v, m, pool) {
		if (!json_array_size(pool))
			return wrong(d, s, v, "a list of experts for each modality, none of them empty");
		json_array_foreach(pool, i, item) {
			MOE_TRY(set_int(s, item, &e, d));
			if (e >= experts || to->of[e] != UINT8_MAX)
				return moe_fail(d, MOE_EINPUT, "setting %s: expert %lld %s: the pools must hold each of the %lld experts once", s->path, (long long)e,
						e >= experts ? "is none of the model's" : "is there twice", (long long)experts);
			to->of[e] = (uint8_t)m;
		}
		to->size[m] = (int64_t)json_array_size(pool);
		placed += to->size[m];
	}
	return !to->n || placed == experts ? MOE_OK : moe_fail(d, MOE_EINPUT, "setting %s holds %lld experts, the model has %lld: each must be in one pool", s->path,
							       (long long)placed, (long long)experts);
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
	struct moe_convs_at convs = moe_setting_convs(spec, s);
	size_t n = json_array_size(v);

	if (!json_is_array(v) || n < (size_t)s->lo || n > MOE_MAX_CONV)
		return wrong(d, s, v, s->lo > 0 ? "1 to 8 convolution layers" : "up to 8 convolution layers");
	for (size_t i = 0; i < n; i++) {
		json_t *layer = json_array_get(v, i);
		struct moe_conv *c = &convs.v[i];
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
	*convs.n = n;
	return MOE_OK;
}

enum moe_err moe_setting_set(struct moe_spec *spec, const struct moe_setting *s, json_t *v, struct moe_diag *d)
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
	case MOE_SET_POOLS: return set_pools(s, v, spec, d);
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
