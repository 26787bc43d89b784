/* GGUF files. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "convert/layout.h"
#include "convert/vocabulary.h"
#include "io/map.h"
#include "io/source.h"

enum { CONFIG_LIMIT = 16 << 20, QUANTISATION_VERSION = 2, KEY = 160 };

/* What llama.cpp calls a file of mostly this type (enum llama_ftype). */
static const struct { enum moe_dtype type; int number; } file_types[] = {
	{MOE_F32, 0}, {MOE_F16, 1}, {MOE_Q4_0, 2}, {MOE_Q8_0, 7}, {MOE_Q4_K, 15}, {MOE_Q6_K, 18}, {MOE_BF16, 32},
};

/* The type that most bytes have. */
static enum moe_dtype main_type(const struct moe_targets *all)
{
	uint64_t nbytes[MOE_N_TYPES] = {0};
	int most = 0;

	for (size_t i = 0; i < all->n; i++)
		nbytes[all->t[i].to] += all->t[i].nbytes;
	for (int t = 0; t < MOE_N_TYPES; t++)
		most = nbytes[t] > nbytes[most] ? t : most;
	return (enum moe_dtype)most;
}

static void write_types(struct moe_gguf_out *g, const struct moe_targets *all)
{
	enum moe_dtype type = main_type(all);
	bool quantised = false;

	for (size_t i = 0; i < sizeof file_types / sizeof *file_types; i++)
		if (file_types[i].type == type)
			moe_gguf_out_number(g, "general.file_type", file_types[i].number);
	for (size_t i = 0; i < all->n; i++)
		quantised |= all->t[i].to >= MOE_N_DTYPES;
	if (quantised)
		moe_gguf_out_number(g, "general.quantization_version", QUANTISATION_VERSION);
}

static void write_key(struct moe_gguf_out *g, const char *key, const json_t *v)
{
	if (json_is_integer(v))
		moe_gguf_out_number(g, key, json_integer_value(v));
	else if (json_is_real(v))
		moe_gguf_out_real(g, key, json_real_value(v));
	else if (json_is_boolean(v))
		moe_gguf_out_truth(g, key, json_is_true(v));
	else if (json_is_string(v))
		moe_gguf_out_text(g, key, json_string_value(v), json_string_length(v));
	else if (json_array_size(v))            /* ids, of which the format has one */
		write_key(g, key, json_array_get(v, 0));
}

/* A number of config.json, -1 where there is none. */
static json_int_t config_number(const struct moe_model *m, const char *key)
{
	json_t *config = NULL;
	json_int_t v = -1;
	char *path, *text;
	size_t n;

	if (asprintf(&path, "%s/config.json", m->directory) < 0)
		return -1;
	if (!moe_read_file(path, CONFIG_LIMIT, &text, &n, NULL)) {
		config = json_loadb(text, n, 0, NULL);
		free(text);
	}
	if (json_is_integer(json_object_get(config, key)))
		v = json_integer_value(json_object_get(config, key));
	json_decref(config);
	free(path);
	return v;
}

/* What other programs expect beside what the family's settings say. */
static void add_customary(json_t *keys, const struct moe_model *m)
{
	const char *arch = json_string_value(json_object_get(keys, "general.architecture"));
	json_int_t context = config_number(m, "max_position_embeddings");
	char key[KEY];

	snprintf(key, sizeof key, "%.60s.attention.value_length", arch ? arch : "");
	json_object_set_new(keys, key, json_integer(m->spec->attention.head_dim));
	snprintf(key, sizeof key, "%.60s.context_length", arch ? arch : "");
	if (context > 0)
		json_object_set_new(keys, key, json_integer(context));
}

static enum moe_err write_settings(struct moe_gguf_out *g, const struct moe_model *m, struct moe_diag *d)
{
	char fingerprint[33], *json;
	const char *key;
	json_t *keys, *v;
	size_t n;
	enum moe_err err;

	/* Programs that read GGUF know these two names; what else there is lies in tensors of their own kind. */
	if (m->spec->attention.rope.scaling > MOE_ROPE_DEFAULT && m->spec->attention.rope.scaling != MOE_ROPE_LINEAR && m->spec->attention.rope.scaling != MOE_ROPE_YARN)
		return moe_fail(d, MOE_EMATCH, "a GGUF file cannot say how the rope of this model is scaled (attention.rope.scaling.kind)");
	MOE_TRY(moe_spec_keys(&keys, m->spec, true, d));
	add_customary(keys, m);
	json_object_foreach(keys, key, v)
		write_key(g, key, v);
	json_decref(keys);
	MOE_TRY(moe_model_tokenizer(m->directory, &json, &n, fingerprint, d));
	err = moe_vocabulary_write(g, json, n, m->spec, d);
	free(json);
	return err;
}

/* The keys of a GGUF file as they stand there, but for those that the types change. */
static enum moe_err copy_settings(struct moe_gguf_out *g, const struct moe_model *m, struct moe_diag *d)
{
	static const char *const changed[] = {"general.file_type", "general.quantization_version", "general.alignment", "split.no", "split.count", "split.tensors.count"};
	struct moe_gguf from = {0};
	struct moe_map *map;
	enum moe_err err;

	MOE_TRY(moe_map_open(&map, m->directory, d));
	err = moe_gguf_parse(&from, map->bytes, map->nbytes, d);
	for (size_t i = 0; i < from.n_values && !err; i++) {
		bool skip = false;
		for (size_t c = 0; c < sizeof changed / sizeof *changed; c++)
			skip |= !strcmp(from.value[i].key, changed[c]);
		if (!skip)
			moe_gguf_out_copy(g, &from.value[i]);
	}
	moe_gguf_free(&from);
	moe_map_close(map);
	return err;
}

enum moe_err moe_layout_gguf(struct moe_layout *out, struct moe_targets *all, const struct moe_model *m, struct moe_diag *d)
{
	struct moe_gguf_out g = {0};
	enum moe_err err;

	out->file = calloc(1, sizeof *out->file);
	if (!out->file)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	out->n_files = 1;
	for (size_t i = 0; i < all->n; i++) {
		struct moe_target *t = &all->t[i];
		t->nbytes = moe_dtype_nbytes(t->to, t->rows * t->cols);
		t->begin = moe_gguf_out_tensor(&g, t->name, t->to, t->rank, t->shape);
	}
	write_types(&g, all);
	err = m->spec->gguf ? copy_settings(&g, m, d) : write_settings(&g, m, d);
	if (!err)
		err = moe_gguf_out_finish(&g, &out->file->head, &out->file->head_nbytes, d);
	for (size_t i = 0; i < all->n; i++)
		all->t[i].begin += out->file->head_nbytes;
	out->file->nbytes = out->file->head_nbytes + g.data_nbytes;
	moe_gguf_out_free(&g);
	return err;
}
