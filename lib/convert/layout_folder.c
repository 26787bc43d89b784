/* Folders as Hugging Face has them. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "convert/layout.h"

enum { NAME = 64, HEAD_ALIGN = 64 };

static json_t *integer(uint64_t n) { return json_integer((json_int_t)n); }

static json_t *entry(const char *type, const uint64_t *shape, unsigned rank, uint64_t begin, uint64_t nbytes)
{
	json_t *axes = json_array();

	for (unsigned i = 0; i < rank; i++)
		json_array_append_new(axes, integer(shape[i]));
	return json_pack("{ss so s[oo]}", "dtype", type, "shape", axes, "data_offsets", integer(begin), integer(begin + nbytes));
}

/* Places the tensors of a file with elements of so many bits: the widest come first, so that all are aligned. */
static void place(json_t *header, struct moe_targets *all, unsigned file, unsigned bits, uint64_t *at)
{
	char name[600];

	for (size_t i = 0; i < all->n; i++) {
		struct moe_target *t = &all->t[i];
		if (t->file != file)
			continue;
		if (moe_dtype_bits[t->to] == bits) {
			t->begin = *at;
			json_object_set_new(header, t->name, entry(moe_dtype_name(t->to), t->shape, t->rank, *at, t->nbytes));
			*at += t->nbytes;
		}
		if (t->scale_nbytes && moe_dtype_bits[MOE_F32] == bits) {
			snprintf(name, sizeof name, "%.580s_scale", t->name);
			t->scale_begin = *at;
			json_object_set_new(header, name, entry("F32", t->shape, t->rank - 1, *at, t->scale_nbytes));
			*at += t->scale_nbytes;
		}
	}
}

/* Length, JSON and blanks up to a multiple of 64. */
static enum moe_err make_head(struct moe_partial_file *f, const json_t *header, struct moe_diag *d)
{
	char *text = json_dumps(header, JSON_COMPACT);
	size_t length = text ? strlen(text) : 0;
	uint64_t n;

	f->head_nbytes = moe_round_up(8 + length, HEAD_ALIGN);
	f->head = text ? malloc(f->head_nbytes) : NULL;
	if (!f->head) {
		free(text);
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	n = f->head_nbytes - 8;
	for (int i = 0; i < 8; i++)
		f->head[i] = (uint8_t)(n >> 8 * i);
	memset(f->head + 8, ' ', f->head_nbytes - 8);
	memcpy(f->head + 8, text, length);
	free(text);
	return MOE_OK;
}

static enum moe_err make_file(struct moe_layout *l, struct moe_targets *all, unsigned file, struct moe_diag *d)
{
	json_t *header = json_pack("{s{ss}}", "__metadata__", "format", "pt");
	struct moe_partial_file *f = &l->file[file];
	char name[NAME];
	uint64_t at = 0;
	enum moe_err err;

	if (l->n_files > 1)
		snprintf(name, sizeof name, "model-%05u-of-%05zu.safetensors", file + 1, l->n_files);
	f->name = moe_strdup(l->n_files > 1 ? name : "model.safetensors");
	if (!header || !f->name) {
		json_decref(header);
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	for (unsigned bits = 64; bits >= 8; bits /= 2)
		place(header, all, file, bits, &at);
	err = make_head(f, header, d);
	json_decref(header);
	f->nbytes = f->head_nbytes + at;
	for (size_t i = 0; i < all->n; i++)
		if (all->t[i].file == file) {
			all->t[i].begin += f->head_nbytes;
			all->t[i].scale_begin += f->head_nbytes;
		}
	return err;
}

static enum moe_err make_index(struct moe_layout *l, const struct moe_targets *all, struct moe_diag *d)
{
	json_t *map = json_object();
	uint64_t total = 0;
	char name[600];
	json_t *index;

	for (size_t i = 0; i < all->n; i++) {
		const struct moe_target *t = &all->t[i];
		total += t->nbytes + t->scale_nbytes;
		json_object_set_new(map, t->name, json_string(l->file[t->file].name));
		snprintf(name, sizeof name, "%.580s_scale", t->name);
		if (t->scale_nbytes)
			json_object_set_new(map, name, json_string(l->file[t->file].name));
	}
	index = json_pack("{s{so} so}", "metadata", "total_size", integer(total), "weight_map", map);
	l->index = index ? json_dumps(index, JSON_INDENT(2)) : NULL;
	json_decref(index);
	return l->index ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");
}

enum moe_err moe_layout_folder(struct moe_layout *out, struct moe_targets *all, uint64_t shard_nbytes, struct moe_diag *d)
{
	uint64_t used = 0;
	unsigned file = 0;

	for (size_t i = 0; i < all->n; i++) {
		struct moe_target *t = &all->t[i];
		t->nbytes = moe_dtype_nbytes(t->to, t->rows * t->cols);
		t->scale_nbytes = t->to == MOE_I8 ? t->rows * sizeof(float) : 0;
		if (used && used + t->nbytes + t->scale_nbytes > shard_nbytes) {
			file++;
			used = 0;
		}
		t->file = file;
		used += t->nbytes + t->scale_nbytes;
	}
	out->file = calloc(file + 1, sizeof *out->file);
	if (!out->file)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	out->n_files = file + 1;
	for (unsigned f = 0; f <= file; f++)
		MOE_TRY(make_file(out, all, f, d));
	return out->n_files > 1 ? make_index(out, all, d) : MOE_OK;
}

void moe_layout_free(struct moe_layout *l)
{
	for (size_t i = 0; i < l->n_files; i++) {
		free(l->file[i].name);
		free(l->file[i].head);
	}
	free(l->file);
	free(l->index);
	*l = (struct moe_layout){0};
}

/* ---- config.json ---- */

/* The type that most numbers have, as config.json calls it; NULL: none that it has a name for. */
static const char *torch_type(const struct moe_targets *all)
{
	uint64_t n[MOE_N_TYPES] = {0};
	int most = MOE_F32;

	for (size_t i = 0; i < all->n; i++)
		n[all->t[i].to] += all->t[i].rows * all->t[i].cols;
	for (int t = 0; t < MOE_N_TYPES; t++)
		most = n[t] > n[most] ? t : most;
	return most == MOE_F32 ? "float32" : most == MOE_BF16 ? "bfloat16" : most == MOE_F16 ? "float16" : NULL;
}

void moe_layout_put(json_t *tree, const char *key, json_t *v)
{
	for (size_t n = strcspn(key, "."); key[n]; key += n + 1, n = strcspn(key, ".")) {
		json_t *below = json_object_getn(tree, key, n);
		if (!json_is_object(below))
			json_object_setn_new(tree, key, n, below = json_object());
		tree = below;
	}
	json_object_set(tree, key, v);
}

static enum moe_err new_config(json_t **out, const struct moe_model *m, struct moe_diag *d)
{
	json_t *keys, *v;
	const char *key;

	MOE_TRY(moe_spec_keys(&keys, m->spec, false, d));
	*out = json_object();
	json_object_foreach(keys, key, v)
		moe_layout_put(*out, key, v);
	json_decref(keys);
	return MOE_OK;
}

json_t *moe_layout_get(const json_t *tree, const char *key)
{
	size_t n = strcspn(key, ".");
	json_t *v = json_object_getn(tree, key, n);

	return v && key[n] ? moe_layout_get(v, key + n + 1) : v;
}

/* Real settings that were changed since the model was opened, such as the base of the rope by training. */
static enum moe_err put_changed(json_t *c, const struct moe_model *m, struct moe_diag *d)
{
	json_t *keys, *v;
	const char *key;

	MOE_TRY(moe_spec_keys(&keys, m->spec, false, d));
	json_object_foreach(keys, key, v) {
		const json_t *was = moe_layout_get(c, key);
		if (json_is_real(v) && json_is_number(was) && (float)json_number_value(was) != (float)json_real_value(v))
			moe_layout_put(c, key, v);
	}
	json_decref(keys);
	return MOE_OK;
}

enum moe_err moe_layout_config(char **out, const struct moe_targets *all, const struct moe_model *m, const char *config, size_t config_nbytes,
			       struct moe_diag *d)
{
	json_t *c = config ? json_loadb(config, config_nbytes, 0, NULL) : NULL;
	bool f8 = false, int8 = false;
	const char *type = torch_type(all), *key;
	char *text;

	MOE_TRY(config ? put_changed(c, m, d) : new_config(&c, m, d));
	for (size_t i = 0; i < all->n; i++) {
		f8 |= all->t[i].to == MOE_F8_E4M3;
		int8 |= all->t[i].to == MOE_I8;
	}
	key = json_object_get(c, "dtype") ? "dtype" : "torch_dtype";
	if (type)
		json_object_set_new(c, key, json_string(type));
	if (!f8)
		json_object_del(c, "quantization_config");
	/* Without this, programs that do not know the scales would take the whole numbers for weights. */
	if (int8)
		json_object_set_new(c, "quantization_config", json_pack("{ss ss}", "quant_method", "int8_rows", "scales", "NAME_scale, one for each output"));
	text = json_dumps(c, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	json_decref(c);
	*out = NULL;
	if (text && asprintf(out, "%s\n", text) < 0)
		*out = NULL;
	free(text);
	return *out ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");
}
