#include "graft/graft_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "convert/layout.h"
#include "io/source.h"
#include "model/provenance.h"

enum { LIMIT = 16 << 20 };

static json_t *integer(int64_t n) { return json_integer((json_int_t)n); }

static json_t *texts(const char *const *text, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_string(text[i]));
	return list;
}

static json_t *fingerprints(struct moe_model *const *model, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_string(model[i]->fingerprint));
	return list;
}

static json_t *reals(const double *v, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_real(v[i]));
	return list;
}

/* Counts of choices are many: a hash tells one set from another. */
static json_t *hash_of(const double *load, size_t n)
{
	char text[17];

	snprintf(text, sizeof text, "%016llx", (unsigned long long)XXH3_64bits(load, n * sizeof *load));
	return json_string(text);
}

/* Whatever the bytes of the result depend on, and what training should know. */
static json_t *make_note(struct moe_model *const *model, size_t n, const struct moe_graft_options *o)
{
	static const char *const routers[MOE_N_GRAFT_ROUTERS] = {NULL, "copy", "keep", "zero", "random"};
	json_t *note = json_pack("{ss ss so}", "operation", moe_graft_name(o->operation), "program", o->program ? o->program : "libmoe", "sources",
				 fingerprints(model, n));
	json_t *pools = json_array();

	for (size_t m = 0; m < o->n_pools; m++)
		json_array_append_new(pools, integer(o->pool[m]));
	if (o->n_lists)
		json_object_set_new(note, "experts", texts(o->list, o->n_lists));
	if (o->layers)
		json_object_set_new(note, "layers", json_string(o->layers));
	if (o->number)
		json_object_set_new(note, "number", integer(o->number));
	if (o->top_k)
		json_object_set_new(note, "top_k", integer(o->top_k));
	if (o->n_pools)
		json_object_set(note, "pools", pools);
	json_decref(pools);
	if (o->weight)
		json_object_set_new(note, "weights", reals(o->weight, n));
	if (o->load)
		json_object_set_new(note, "load", hash_of(o->load, (size_t)(model[0]->spec->n_layers * model[0]->spec->router.experts)));
	if (o->router)
		json_object_set_new(note, "router", json_string(routers[o->router]));
	if (o->deviation > 0)
		json_object_set_new(note, "router_deviation", json_real(o->deviation));
	if (o->noise > 0)
		json_object_set_new(note, "noise", json_real(o->noise));
	if (o->random)
		json_object_set_new(note, "random", json_true());
	if (o->width)
		json_object_set_new(note, "width", json_true());
	if (o->rescale)
		json_object_set_new(note, "rescale", json_true());
	json_object_set_new(note, "seed", integer((int64_t)o->seed));
	if (o->operation == MOE_GRAFT_UPCYCLE || o->operation == MOE_GRAFT_MIX) {
		json_t *training = json_pack("{ss}", "schedule", "fresh");
		if (o->noise_in_training)
			json_object_set_new(training, "router_noise", integer(1));
		json_object_set_new(note, "training", training);
	}
	return note;
}

/* Takes "a.b.c" out of a tree. */
static void take_out(json_t *tree, const char *key)
{
	const char *last = strrchr(key, '.');
	char *above = strndup(key, last ? (size_t)(last - key) : 0);

	json_object_del(last && above ? moe_layout_get(tree, above) : tree, last ? last + 1 : key);
	free(above);
}

/* Keys whose values are others, or that are no more. */
static enum moe_err put_settings(json_t *config, const struct moe_spec *from, const struct moe_spec *to, struct moe_diag *d)
{
	json_t *was, *is, *v;
	const char *key;

	MOE_TRY(moe_spec_keys(&was, from, false, d));
	if (moe_spec_keys(&is, to, false, d)) {
		json_decref(was);
		return d ? d->code : MOE_EUSAGE;
	}
	json_object_foreach(was, key, v)
		if (!json_object_get(is, key))
			take_out(config, key);
	json_object_foreach(is, key, v)
		if (!json_equal(json_object_get(was, key), v))
			moe_layout_put(config, key, v);
	json_decref(was);
	json_decref(is);
	return MOE_OK;
}

static enum moe_err load_config(json_t **out, const char *directory, struct moe_diag *d)
{
	char *path, *text;
	enum moe_err err;
	size_t n;

	if (asprintf(&path, "%s/config.json", directory) < 0)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	err = moe_read_file(path, LIMIT, &text, &n, d);
	free(path);
	MOE_TRY(err);
	*out = json_loadb(text, n, 0, NULL);
	free(text);
	return *out ? MOE_OK : moe_fail(d, MOE_EINPUT, "%s/config.json is no JSON", directory);
}

enum moe_err moe_graft_config(char **out, struct moe_model *const *model, size_t n, const struct moe_spec *to, const struct moe_graft_options *o,
			      struct moe_diag *d)
{
	json_t *config = NULL, *list = NULL;
	enum moe_err err = load_config(&config, model[0]->directory, d);

	*out = NULL;
	if (!err)
		err = moe_provenance_read(&list, model[0]->directory, d);
	if (!err)
		err = put_settings(config, model[0]->spec, to, d);
	if (!err) {
		json_array_append_new(list, make_note(model, n, o));
		json_object_set(config, MOE_PROVENANCE, list);
		*out = json_dumps(config, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
		err = *out ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	json_decref(list);
	json_decref(config);
	return err;
}
