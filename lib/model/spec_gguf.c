#include <string.h>

#include "format/gguf.h"
#include "io/map.h"
#include "model/spec_priv.h"

enum { LONG_LIST = 64 };

static json_t *element(struct moe_rd *r, enum moe_gguf_type type)
{
	const char *s;
	size_t n;

	switch (type) {
	case MOE_GGUF_STRING: s = moe_gguf_string(r, &n); return json_stringn(s, n);
	case MOE_GGUF_BOOL: return json_boolean(moe_gguf_int(r, type));
	case MOE_GGUF_F32: case MOE_GGUF_F64: return json_real(moe_gguf_real(r, type));
	default: return json_integer(moe_gguf_int(r, type));
	}
}

/* NULL for what JSON cannot say: not a number, not UTF-8. */
static json_t *value(const struct moe_gguf_value *v)
{
	struct moe_rd r;
	json_t *list;

	moe_rd_init(&r, v->data, v->nbytes);
	if (!v->array)
		return element(&r, v->type);
	if (v->type == MOE_GGUF_STRING || v->n > LONG_LIST)
		return json_integer((json_int_t)v->n);
	list = json_array();
	for (uint64_t i = 0; i < v->n; i++)
		json_array_append_new(list, element(&r, v->type));
	return list;
}

/* Sets "a.b.c" in the tree. Where a key has both a value and keys below it, its own value, which comes first, is kept. */
static void put(json_t *tree, const char *key, json_t *v)
{
	for (size_t n = strcspn(key, "."); key[n]; key += n + 1, n = strcspn(key, ".")) {
		json_t *below = json_object_getn(tree, key, n);
		if (!below)
			json_object_setn_new(tree, key, n, below = json_object());
		if (!json_is_object(below)) {
			json_decref(v);
			return;
		}
		tree = below;
	}
	json_object_set_new(tree, key, v);
}

static json_t *document(const struct moe_gguf *g)
{
	json_t *tree = json_object();
	bool head = false;

	for (size_t i = 0; i < g->n_values; i++)
		put(tree, g->value[i].key, value(&g->value[i]));
	for (size_t i = 0; i < g->header.n_tensors; i++)
		head |= !strcmp(g->header.tensor[i].name, "output.weight");
	put(tree, "gguf.tied", json_boolean(!head));
	return tree;
}

enum moe_err moe_docs_gguf(json_t **out, const char *path, struct moe_diag *d)
{
	struct moe_gguf g = {0};
	struct moe_map *map;
	enum moe_err err;

	MOE_TRY(moe_map_open(&map, path, d));
	err = moe_gguf_is(map->bytes, map->nbytes) ? moe_gguf_parse(&g, map->bytes, map->nbytes, d)
						   : moe_fail(d, MOE_EINPUT, "neither a directory with a model nor a GGUF file");
	if (!err && !(*out = document(&g)))
		err = moe_fail(d, MOE_ENOMEM, "out of memory");
	moe_gguf_free(&g);
	moe_map_close(map);
	return err ? moe_diag_path(d, path) : MOE_OK;
}

void moe_family_use_gguf(json_t *family)
{
	json_t *section = json_incref(json_object_get(family, "gguf")), *now, *v;
	const char *key;

	json_object_del(family, "gguf");
	json_object_foreach(section, key, v) {
		now = json_object_get(family, key);
		if (json_is_object(now) && json_is_object(v) && !moe_family_special(key))
			json_object_update_recursive(now, v);
		else
			json_object_set(family, key, v);
	}
	json_decref(section);
}
