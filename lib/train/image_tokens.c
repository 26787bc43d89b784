#include "train/image_tokens.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "format/checkpoint.h"
#include "io/source.h"

enum { FILE_LIMIT = 16 << 20, MOST_CODES = 1 << 16, MOST_CHANNELS = 1 << 16 };

/* ---- from another model ---- */

static enum moe_err read_json(json_t **out, const char *folder, const char *name, struct moe_diag *d)
{
	char *path = NULL, *text = NULL;
	enum moe_err err;
	size_t n;

	*out = NULL;
	if (asprintf(&path, "%s/%s", folder, name) < 0)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	err = moe_read_file(path, FILE_LIMIT, &text, &n, d);
	if (!err && !(*out = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL))) {
		moe_fail(d, MOE_EINPUT, "is no JSON");
		err = moe_diag_path(d, path);
	}
	free(text);
	free(path);
	return err;
}

/* The channels behind each convolution but the last. */
static json_t *channels_of(const json_t *convs)
{
	json_t *list = json_array();

	for (size_t i = 0; i + 1 < json_array_size(convs); i++)
		json_array_append(list, json_object_get(json_array_get(convs, i), "out_channels"));
	return list;
}

static void take(json_t *to, const char *key, json_t *from, const char *of)
{
	json_t *v = json_object_get(from, of);

	if (v)
		json_object_set(to, key, v);
}

static enum moe_err fill(json_t *to, json_t *config, json_t *pictures, const char *path, struct moe_diag *d)
{
	json_t *theirs = json_object_get(config, "image_tokens"), *tokens = json_object();

	json_object_set_new(to, "image_tokens", tokens);
	if (!json_is_object(theirs))
		return moe_fail(d, MOE_EUSAGE, "image_tokens.from: the model %s has no image tokens", path);
	take(tokens, "codes", theirs, "count");
	take(tokens, "width", theirs, "width");
	json_object_set_new(tokens, "encoder", channels_of(json_object_get(json_object_get(config, "vision_stem"), "layers")));
	json_object_set_new(tokens, "decoder", channels_of(json_object_get(theirs, "decoder")));
	json_object_set_new(tokens, "from", json_string(path));
	take(to, "patch", config, "patch_size");
	take(to, "grids", config, "image_grids");
	take(to, "mean", pictures, "image_mean");
	take(to, "std", pictures, "image_std");
	take(to, "pad", pictures, "pad_color");
	return MOE_OK;
}

enum moe_err moe_image_tokens_expand(json_t **out, json_t *description, struct moe_diag *d)
{
	static const char *const theirs[] = {"patch", "grids", "mean", "std", "pad"};
	json_t *tokens = json_object_get(description, "image_tokens"), *from = json_object_get(tokens, "from"), *config = NULL, *pictures = NULL;
	enum moe_err err;

	*out = json_incref(description);
	if (!from)
		return MOE_OK;
	if (!json_is_string(from) || json_object_size(tokens) != 1)
		return moe_fail(d, MOE_EUSAGE, "image_tokens.from: expected the folder of a model, and no other key beside it");
	for (size_t i = 0; i < sizeof theirs / sizeof *theirs; i++)
		if (json_object_get(description, theirs[i]))
			return moe_fail(d, MOE_EUSAGE, "%s: is that of the model that image_tokens.from names, and cannot be said here", theirs[i]);
	err = read_json(&config, json_string_value(from), "config.json", d);
	if (!err)
		err = read_json(&pictures, json_string_value(from), "preprocessor_config.json", d);
	if (!err) {
		json_decref(*out);
		*out = json_copy(description);
		err = fill(*out, config, pictures, json_string_value(from), d);
	}
	json_decref(config);
	json_decref(pictures);
	return err;
}

/* ---- the description ---- */

static enum moe_err whole(const json_t *tokens, const char *key, int64_t lo, int64_t hi, int64_t absent, int64_t *to, struct moe_diag *d)
{
	const json_t *v = json_object_get(tokens, key);

	*to = v ? json_integer_value(v) : absent;
	if (v && (!json_is_integer(v) || *to < lo || *to > hi))
		return moe_fail(d, MOE_EUSAGE, "image_tokens.%s: expected a whole number from %lld to %lld", key, (long long)lo, (long long)hi);
	return MOE_OK;
}

static enum moe_err read_channels(const json_t *tokens, const char *key, int64_t *to, size_t *n, struct moe_diag *d)
{
	const json_t *list = json_object_get(tokens, key);

	if (!list)
		return MOE_OK;
	*n = json_array_size(list);
	if (!json_is_array(list) || *n > MOE_MAX_STEM)
		return moe_fail(d, MOE_EUSAGE, "image_tokens.%s: expected a list of at most %d channels", key, MOE_MAX_STEM);
	for (size_t i = 0; i < *n; i++) {
		const json_t *v = json_array_get(list, i);
		to[i] = json_integer_value(v);
		if (!json_is_integer(v) || to[i] < 2 || to[i] > MOST_CHANNELS || to[i] % 2)
			return moe_fail(d, MOE_EUSAGE, "image_tokens.%s: expected even numbers of channels, up to %d", key, MOST_CHANNELS);
	}
	return MOE_OK;
}

static enum moe_err check_keys(json_t *tokens, struct moe_diag *d)
{
	static const char *const known[] = {"codes", "width", "encoder", "decoder", "from"};
	const char *key;
	json_t *v;

	if (!json_is_object(tokens))
		return moe_fail(d, MOE_EUSAGE, "image_tokens: expected an object");
	json_object_foreach(tokens, key, v) {
		bool is = false;
		for (size_t i = 0; i < sizeof known / sizeof *known; i++)
			is |= !strcmp(key, known[i]);
		if (!is)
			return moe_fail(d, MOE_EUSAGE, "unknown key \"image_tokens.%.60s\" in the description of a model", key);
	}
	return MOE_OK;
}

/* How often a side is halved on the way to a patch of so many pixels; -1: it is no power of two. */
static int64_t halvings(int64_t patch)
{
	int64_t n = 0;

	while (patch > 1 && patch % 2 == 0) {
		patch /= 2;
		n++;
	}
	return patch == 1 ? n : -1;
}

enum moe_err moe_image_tokens_read(struct moe_description *m, json_t *json, struct moe_diag *d)
{
	static const int64_t encoder[] = {32, 64, 64}, decoder[] = {128, 128};
	struct moe_token_description *t = &m->tokens;
	json_t *tokens = json_object_get(json, "image_tokens"), *from = json_object_get(tokens, "from");

	if (!tokens)
		return MOE_OK;
	MOE_TRY(check_keys(tokens, d));
	if (json_object_get(json, "stem") || json_object_get(json, "encoder"))
		return moe_fail(d, MOE_EUSAGE, "stem and encoder: image tokens have an encoder of their own: give image_tokens.encoder");
	m->causal_images |= !json_object_get(json, "image_attention");   /* else no image token could be predicted */
	t->from = json_string_value(from);
	MOE_TRY(whole(tokens, "codes", 2, MOST_CODES, 256, &t->codes, d));
	MOE_TRY(whole(tokens, "width", 2, 1024, 16, &t->width, d));
	if (t->width % 2)
		return moe_fail(d, MOE_EUSAGE, "image_tokens.width: expected an even number");
	memcpy(m->stem, encoder, sizeof encoder);
	m->n_stem = sizeof encoder / sizeof *encoder;
	memcpy(t->decoder, decoder, sizeof decoder);
	t->n_decoder = sizeof decoder / sizeof *decoder;
	MOE_TRY(read_channels(tokens, "encoder", m->stem, &m->n_stem, d));
	MOE_TRY(read_channels(tokens, "decoder", t->decoder, &t->n_decoder, d));
	m->stem[m->n_stem++] = t->width;
	m->patch = m->patch ? m->patch : 4;
	m->halvings = halvings(m->patch);
	if (m->halvings < 1 || m->halvings > (int64_t)m->n_stem)
		return moe_fail(d, MOE_EUSAGE, "patch (%lld): with image tokens it is 2 to the number of convolutions that halve, of which there are %zu at most",
				(long long)m->patch, m->n_stem);
	t->decoder[t->n_decoder++] = 3 * m->patch * m->patch;
	if (m->grids.n != 1)
		return moe_fail(d, MOE_EUSAGE, "grids: a model with image tokens has a single grid");
	return MOE_OK;
}

/* ---- the model's files ---- */

int64_t moe_image_tokens_count(const struct moe_description *m) { return m->tokens.codes ? 2 + m->tokens.codes : 0; }

void moe_image_tokens_name(char *out, size_t cap, int64_t number)
{
	if (number < 2)
		snprintf(out, cap, "%s", number ? "</picture>" : "<picture>");
	else
		snprintf(out, cap, "<code-%lld>", (long long)number - 2);
}

json_t *moe_convolution_config(const char *name, int64_t in, int64_t out, int side, int stride, bool silu)
{
	return json_pack("{ss sI sI si si si sb ss}", "name", name, "in_channels", (json_int_t)in, "out_channels", (json_int_t)out, "kernel_size", side, "stride",
			 stride, "padding", side / 2, "bias", 0, "activation", silu ? "silu" : "none");
}

json_t *moe_image_tokens_config(const struct moe_description *m, int64_t first)
{
	const struct moe_token_description *t = &m->tokens;
	json_t *decoder = json_array();

	for (size_t i = 0; i < t->n_decoder; i++) {
		char name[32];
		snprintf(name, sizeof name, "decode%zu", i + 1);
		json_array_append_new(decoder, moe_convolution_config(name, i ? t->decoder[i - 1] : t->width, t->decoder[i], 3, 1, i + 1 < t->n_decoder));
	}
	return json_pack("{sI sI sI sI sI so}", "count", (json_int_t)t->codes, "width", (json_int_t)t->width, "begin", (json_int_t)first, "end", (json_int_t)first + 1,
			 "first", (json_int_t)first + 2, "decoder", decoder);
}

enum moe_err moe_image_tokens_taken(const struct moe_tensor **tensor, const struct moe_checkpoint *from, const char *name, const uint64_t *shape, unsigned rank,
				    struct moe_diag *d)
{
	static const char encoder[] = "model.vision_stem.conv", tokens[] = "model.image_tokens.";
	char have[96], want[96];

	*tensor = NULL;
	if (!from || (strncmp(name, encoder, sizeof encoder - 1) && strncmp(name, tokens, sizeof tokens - 1)))
		return MOE_OK;
	*tensor = moe_checkpoint_find(from, name, NULL);
	if (!*tensor || (*tensor)->type != MOE_F32)
		return moe_fail(d, MOE_EMATCH, "image_tokens.from: the model has no tensor \"%s\" of type F32", name);
	if ((*tensor)->rank != rank || memcmp((*tensor)->shape, shape, rank * sizeof *shape))
		return moe_fail(d, MOE_EMATCH, "image_tokens.from: tensor \"%s\" has the shape %s, expected %s", name,
				moe_shape_string((*tensor)->shape, (*tensor)->rank, have, sizeof have), moe_shape_string(shape, rank, want, sizeof want));
	return MOE_OK;
}
