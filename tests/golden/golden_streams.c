#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/safetensors.h"
#include "golden.h"
#include "io/source.h"
#include "sha256.h"

struct streams_run {
	const char *dir;
	void (*tally)(const char *label, bool good);
};

static void judge(const struct streams_run *r, const char *file, const char *what, bool good)
{
	if (!good)
		printf("FAIL %s/%s: %s\n", r->dir, file, what);
	r->tally("safetensors", good);
}

static const struct moe_tensor *find_tensor(const struct moe_header *h, const char *name, size_t n)
{
	for (size_t i = 0; i < h->n_tensors; i++)
		if (h->tensor[i].name_nbytes == n && !memcmp(h->tensor[i].name, name, n))
			return &h->tensor[i];
	return NULL;
}

/* Type, shape and bytes are those of the reference. */
static bool same_tensor(const struct moe_tensor *t, json_t *want)
{
	json_t *shape = json_object_get(want, "shape");
	char hash[65];

	if (!t || strcmp(moe_dtype_name(t->type), json_string_value(json_object_get(want, "dtype"))) || t->rank != json_array_size(shape))
		return false;
	for (unsigned i = 0; i < t->rank; i++)
		if (t->shape[i] != (uint64_t)json_integer_value(json_array_get(shape, i)))
			return false;
	sha256_hex(hash, t->data, t->nbytes);
	return !strcmp(hash, json_string_value(json_object_get(want, "sha256")));
}

static bool same_meta(const struct moe_header *h, json_t *want)
{
	const char *key;
	json_t *value;
	size_t found = 0;

	json_object_foreach(want, key, value)
		for (size_t i = 0; i < h->n_meta; i++)
			found += !strcmp(h->meta[i].key, key) && h->meta[i].value_nbytes == json_string_length(value) &&
				 !memcmp(h->meta[i].value, json_string_value(value), json_string_length(value));
	return found == h->n_meta && found == json_object_size(want);
}

static void compare_file(const struct streams_run *r, json_t *c, const char *file, const uint8_t *bytes, size_t n)
{
	bool accept = !strcmp(json_string_value(json_object_get(c, "expect")), "accept");
	struct moe_header h = {0};
	struct moe_diag d = {0};
	enum moe_err err = moe_safetensors_parse(&h, bytes, n, &d);
	json_t *tensors = json_object_get(c, "tensors"), *want;
	size_t i;

	judge(r, file, err ? d.text : "accepted, which should be refused", accept == !err);
	if (accept && !err) {
		judge(r, file, "another number of tensors", h.n_tensors == json_array_size(tensors));
		judge(r, file, "other metadata", same_meta(&h, json_object_get(c, "metadata")));
		json_array_foreach(tensors, i, want) {
			json_t *name = json_object_get(want, "name");
			judge(r, file, json_string_value(name), same_tensor(find_tensor(&h, json_string_value(name), json_string_length(name)), want));
		}
	}
	moe_header_free(&h);
}

bool golden_streams(const char *dir, void (*tally)(const char *label, bool good))
{
	struct streams_run r = {dir, tally};
	char path[4096];
	json_t *doc, *cases, *c;
	size_t i, n;
	bool any;

	snprintf(path, sizeof path, "%s/cases.json", dir);
	doc = json_load_file(path, JSON_ALLOW_NUL, NULL);
	cases = json_object_get(doc, "cases");
	any = json_array_size(cases) > 0;
	json_array_foreach(cases, i, c) {
		const char *file = json_string_value(json_object_get(c, "file"));
		struct moe_diag d = {0};
		char *bytes;
		snprintf(path, sizeof path, "%s/%s", dir, file ? file : "");
		if (!file || moe_read_file(path, 1 << 28, &bytes, &n, &d)) {
			judge(&r, file ? file : "?", "cannot be read", false);
			continue;
		}
		compare_file(&r, c, file, (const uint8_t *)bytes, n);
		free(bytes);
	}
	json_decref(doc);
	return any;
}
