#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/check.h"
#include "io/map.h"
#include "io/source.h"
#include "model/bind.h"
#include "model/choosing.h"
#include "model/gguf_tokenizer.h"
#include "model/math.h"
#include "model/packfile.h"

enum { TOKENIZER_LIMIT = 256 << 20, SAMPLE = 64 };

static void hex(XXH128_hash_t h, char *out)
{
	snprintf(out, 33, "%016llx%016llx", (unsigned long long)h.high64, (unsigned long long)h.low64);
}

/* XXH3-128 over the spec and, for each tensor by name, its name, type, shape and 64 bytes from its middle: it identifies, it does not verify. */
static enum moe_err fingerprint(struct moe_model *m, struct moe_diag *d)
{
	char *text = moe_spec_string(m->spec);
	XXH3_state_t *x = XXH3_createState();

	if (!text || !x) {
		free(text);
		XXH3_freeState(x);
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	XXH3_128bits_reset(x);
	XXH3_128bits_update(x, text, strlen(text));
	for (size_t i = 0; i < moe_checkpoint_count(m->weights); i++) {
		const struct moe_tensor *t = moe_checkpoint_get(m->weights, i);
		const char *type = moe_dtype_name(t->type);
		size_t n = moe_min(SAMPLE, t->nbytes);
		XXH3_128bits_update(x, t->name, strlen(t->name) + 1);
		XXH3_128bits_update(x, type, strlen(type) + 1);
		XXH3_128bits_update(x, t->shape, t->rank * sizeof *t->shape);
		XXH3_128bits_update(x, t->data + (t->nbytes - n) / 2, n);
	}
	hex(XXH3_128bits_digest(x), m->fingerprint);
	XXH3_freeState(x);
	free(text);
	return MOE_OK;
}

enum moe_err moe_model_open(struct moe_model **out, const struct moe_spec_options *o, struct moe_diag *d)
{
	struct moe_model *m = calloc(1, sizeof *m);
	enum moe_err err;

	if (!m || !(m->directory = moe_strdup(o->directory)))
		err = moe_fail(d, MOE_ENOMEM, "out of memory");
	else if (!(err = moe_spec_load(&m->spec, o, d)) && !(o->config_only && !moe_checkpoint_exists(o->directory)) &&
		 !(err = moe_checkpoint_open(&m->weights, o->directory, d)) && !(err = moe_model_bind(m, d)))
		err = fingerprint(m, d);
	if (!err)
		moe_choosing_init(m);
	if (!err && m->weights)
		moe_packfile_open(m);
	if (err) {
		moe_diag_path(d, o->directory);
		moe_model_close(m);
		return err;
	}
	*out = m;
	return MOE_OK;
}

void moe_model_close(struct moe_model *m)
{
	if (!m)
		return;
	moe_math_free(m);
	moe_packfile_close(m->packfile);
	moe_checkpoint_close(m->weights);
	moe_spec_free(m->spec);
	moe_arena_free(&m->memory);
	free(m->directory);
	free(m);
}

/* The tokenizer that a GGUF file has inside. */
static enum moe_err tokenizer_of_file(const char *path, char **json, size_t *n, struct moe_diag *d)
{
	struct moe_gguf g = {0};
	struct moe_map *map;
	enum moe_err err;

	MOE_TRY(moe_map_open(&map, path, d));
	err = moe_gguf_parse(&g, map->bytes, map->nbytes, d);
	if (!err)
		err = moe_gguf_tokenizer(json, n, &g, d);
	moe_gguf_free(&g);
	moe_map_close(map);
	return err ? moe_diag_path(d, path) : MOE_OK;
}

enum moe_err moe_model_tokenizer(const char *directory, char **json, size_t *n, char *fingerprint_out, struct moe_diag *d)
{
	char *path;
	enum moe_err err;

	if (moe_checkpoint_is_file(directory)) {
		MOE_TRY(tokenizer_of_file(directory, json, n, d));
		hex(XXH3_128bits(*json, *n), fingerprint_out);
		return MOE_OK;
	}
	if (asprintf(&path, "%s/tokenizer.json", directory) < 0)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	err = moe_read_file(path, TOKENIZER_LIMIT, json, n, d);
	free(path);
	if (!err)
		hex(XXH3_128bits(*json, *n), fingerprint_out);
	return err;
}
