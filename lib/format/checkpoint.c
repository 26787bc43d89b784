#include "format/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/gguf.h"
#include "format/json.h"
#include "io/map.h"
#include "io/source.h"

enum { INDEX_LIMIT = 100000000, MAX_SHARDS = 4096, SHARD_NAME = 256 };

struct shard {
	char *name;
	struct moe_map *map;
	struct moe_header header;
	size_t first;                           /* number of its first tensor among those of all shards */
};

struct moe_checkpoint {
	struct shard *shard;
	size_t n_shards, shard_cap;
	const struct moe_tensor **tensor;       /* sorted by name */
	size_t n_tensors;
};

static enum moe_err parse_shard(struct shard *s, struct moe_diag *d)
{
	struct moe_gguf g = {0};
	enum moe_err err;

	if (!moe_gguf_is(s->map->bytes, s->map->nbytes))
		return moe_safetensors_parse(&s->header, s->map->bytes, s->map->nbytes, d);
	err = moe_gguf_parse(&g, s->map->bytes, s->map->nbytes, d);
	s->header = g.header;
	g.header = (struct moe_header){0};
	moe_gguf_free(&g);
	return err;
}

static enum moe_err open_shard(struct moe_checkpoint *c, const char *directory, const char *name, struct moe_diag *d)
{
	struct shard *s;
	char *path;
	enum moe_err err;

	MOE_TRY(moe_grow(&c->shard, &c->shard_cap, c->n_shards + 1, sizeof *c->shard, d));
	s = &c->shard[c->n_shards];
	*s = (struct shard){.name = moe_strdup(name)};
	if (!s->name || asprintf(&path, "%s/%s", directory, name) < 0) {
		free(s->name);
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	c->n_shards++;
	err = moe_map_open(&s->map, path, d);
	if (!err)
		err = parse_shard(s, d);
	if (err)
		moe_diag_path(d, path);
	free(path);
	return err;
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(const struct moe_tensor *const *)a)->name, (*(const struct moe_tensor *const *)b)->name);
}

/* Joins the shards' tensors into one sorted list. */
static enum moe_err index_tensors(struct moe_checkpoint *c, struct moe_diag *d)
{
	size_t n = 0;

	for (size_t s = 0; s < c->n_shards; s++) {
		c->shard[s].first = n;
		n += c->shard[s].header.n_tensors;
	}
	c->tensor = malloc((n + 1) * sizeof *c->tensor);
	if (!c->tensor)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t s = 0; s < c->n_shards; s++)
		for (size_t i = 0; i < c->shard[s].header.n_tensors; i++)
			c->tensor[c->n_tensors++] = &c->shard[s].header.tensor[i];
	qsort(c->tensor, n, sizeof *c->tensor, by_name);
	for (size_t i = 1; i < n; i++)
		if (!by_name(&c->tensor[i - 1], &c->tensor[i]))
			return moe_fail(d, MOE_EINPUT, "tensor \"%s\" is in two shards", c->tensor[i]->name);
	return MOE_OK;
}

/* The last string of the scanner is the name of a shard: a plain file name, without NULs. */
static enum moe_err shard_name(struct moe_json *j, char name[SHARD_NAME])
{
	size_t n;

	if (j->nstr >= SHARD_NAME)
		return moe_json_fail(j, "the name of a shard is longer than 255 bytes");
	n = moe_json_decode(j, name);
	if (!n || strlen(name) != n || *name == '.' || strchr(name, '/'))
		return moe_json_fail(j, "the name of a shard must be a plain file name");
	return MOE_OK;
}

/* Entries of one shard mostly follow each other: the search begins at *hint. */
static struct shard *find_shard(const struct moe_checkpoint *c, const char *name, size_t *hint)
{
	for (size_t i = 0; i < c->n_shards; i++) {
		size_t at = (*hint + i) % c->n_shards;
		if (!strcmp(c->shard[at].name, name)) {
			*hint = at;
			return &c->shard[at];
		}
	}
	return NULL;
}

/* Reads weight_map: opens each shard once. Tensors are matched after all shards are open. */
static enum moe_err read_map(struct moe_checkpoint *c, struct moe_json *j, const char *directory)
{
	char name[SHARD_NAME];
	size_t hint = 0;

	MOE_TRY(moe_json_enter(j, '{'));
	while (moe_json_key(j)) {
		MOE_TRY(moe_json_string(j));
		MOE_TRY(shard_name(j, name));
		if (find_shard(c, name, &hint))
			continue;
		if (c->n_shards == MAX_SHARDS)
			return moe_json_fail(j, "more than 4096 shards");
		MOE_TRY(open_shard(c, directory, name, j->diag));
	}
	return j->err;
}

/* The tensor that the last string of the scanner names. */
static enum moe_err named_tensor(struct moe_checkpoint *c, struct moe_json *j, const struct moe_tensor **t)
{
	char *name = malloc(j->nstr + 1);
	enum moe_err err = MOE_OK;
	size_t n;

	if (!name)
		return moe_fail(j->diag, MOE_ENOMEM, "out of memory");
	n = moe_json_decode(j, name);
	*t = strlen(name) == n ? moe_checkpoint_find(c, name, NULL) : NULL;
	if (!*t)
		err = moe_fail(j->diag, MOE_EINPUT, "tensor \"%s\" is in no shard", name);
	free(name);
	return err;
}

/* Every entry of the index must be in the shard it names, and stand there once. */
static enum moe_err check_map(struct moe_checkpoint *c, struct moe_json *j, bool *listed)
{
	size_t hint = 0;

	MOE_TRY(moe_json_enter(j, '{'));
	while (moe_json_key(j)) {
		char file[SHARD_NAME];
		const struct moe_tensor *t;
		const struct shard *s;
		MOE_TRY(named_tensor(c, j, &t));
		MOE_TRY(moe_json_string(j));
		MOE_TRY(shard_name(j, file));
		s = find_shard(c, file, &hint);
		if (!s || t < s->header.tensor || t >= s->header.tensor + s->header.n_tensors)
			return moe_fail(j->diag, MOE_EINPUT, "tensor \"%s\" is not in %s, where the index says", t->name, file);
		if (listed[s->first + (size_t)(t - s->header.tensor)])
			return moe_fail(j->diag, MOE_EINPUT, "tensor \"%s\" stands twice in the index", t->name);
		listed[s->first + (size_t)(t - s->header.tensor)] = true;
	}
	return j->err;
}

/* Runs `read_map` or `check_map` on the weight_map of the index. */
static enum moe_err walk_index(struct moe_checkpoint *c, const char *json, size_t n, const char *directory, bool *listed, struct moe_diag *d)
{
	struct moe_json j;
	bool found = false;

	moe_json_init(&j, json, n, d);
	MOE_TRY(moe_json_enter(&j, '{'));
	while (moe_json_key(&j)) {
		if (!moe_json_is(&j, "weight_map")) {
			MOE_TRY(moe_json_skip(&j));
			continue;
		}
		if (found)
			return moe_json_fail(&j, "weight_map stands twice");
		found = true;
		MOE_TRY(listed ? check_map(c, &j, listed) : read_map(c, &j, directory));
	}
	MOE_TRY(j.err);
	MOE_TRY(moe_json_finish(&j));
	return found ? MOE_OK : moe_fail(d, MOE_EINPUT, "no weight_map");
}

static enum moe_err open_sharded(struct moe_checkpoint *c, const char *directory, const char *index, struct moe_diag *d)
{
	char *json;
	bool *listed = NULL;
	size_t n;
	enum moe_err err;

	MOE_TRY(moe_read_file(index, INDEX_LIMIT, &json, &n, d));
	err = walk_index(c, json, n, directory, NULL, d);
	if (!err)
		err = index_tensors(c, d);
	if (!err && !(listed = calloc(c->n_tensors + 1, sizeof *listed)))
		err = moe_fail(d, MOE_ENOMEM, "out of memory");
	if (!err)
		err = walk_index(c, json, n, directory, listed, d);
	for (size_t i = 0; i < c->n_shards && !err; i++)
		for (size_t t = 0; t < c->shard[i].header.n_tensors && !err; t++)
			if (!listed[c->shard[i].first + t])
				err = moe_fail(d, MOE_EINPUT, "tensor \"%s\" is in a shard, but not in the index", c->shard[i].header.tensor[t].name);
	if (err)
		moe_diag_path(d, index);
	free(listed);
	free(json);
	return err;
}

/* Is there such a file in the directory? */
static bool has_file(const char *directory, const char *name)
{
	char *path;
	bool there = asprintf(&path, "%s/%s", directory, name) >= 0;

	if (there) {
		there = !access(path, F_OK);
		free(path);
	}
	return there;
}

bool moe_checkpoint_is_file(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISREG(st.st_mode);
}

bool moe_checkpoint_is_gguf(const char *path)
{
	uint8_t magic[4];
	FILE *f = moe_checkpoint_is_file(path) ? fopen(path, "re") : NULL;
	bool is = f && fread(magic, 1, sizeof magic, f) == sizeof magic && moe_gguf_is(magic, sizeof magic);

	if (f)
		fclose(f);
	return is;
}

bool moe_checkpoint_exists(const char *path)
{
	return moe_checkpoint_is_file(path) || has_file(path, "model.safetensors") || has_file(path, "model.safetensors.index.json");
}

/* NAME-00001-of-00003.gguf and its fellows; any other name is a file of its own (llama.cpp, gguf-split). */
static enum moe_err open_file(struct moe_checkpoint *c, const char *path, struct moe_diag *d)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	char *directory = strndup(path, slash ? (size_t)(slash - path) : 0), shard[SHARD_NAME];
	size_t n = strlen(name), stem = n < 21 ? 0 : n - 20;
	unsigned first = 1, last = 1;
	enum moe_err err = directory ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");
	int end = 0;

	if (!stem || n >= SHARD_NAME || sscanf(name + stem, "-%5u-of-%5u.gguf%n", &first, &last, &end) != 2 || end != 20 || first != 1 || last > MAX_SHARDS) {
		if (!err)
			err = open_shard(c, slash ? directory : ".", name, d);
		free(directory);
		return err;
	}
	for (unsigned i = 1; i <= last && !err; i++) {
		snprintf(shard, sizeof shard, "%.*s-%05u-of-%05u.gguf", (int)stem, name, i, last);
		err = open_shard(c, slash ? directory : ".", shard, d);
	}
	free(directory);
	return err;
}

static enum moe_err open_directory(struct moe_checkpoint *c, const char *directory, struct moe_diag *d)
{
	char *single = NULL, *index = NULL;
	enum moe_err err;

	if (asprintf(&single, "%s/model.safetensors", directory) < 0 || asprintf(&index, "%s/model.safetensors.index.json", directory) < 0) {
		err = moe_fail(d, MOE_ENOMEM, "out of memory");
	} else if (!access(single, F_OK)) {
		err = open_shard(c, directory, "model.safetensors", d);
		if (!err && (err = index_tensors(c, d)))
			moe_diag_path(d, single);
	} else if (!access(index, F_OK)) {
		err = open_sharded(c, directory, index, d);
	} else {
		moe_fail(d, MOE_EIO, "no weights: neither model.safetensors nor model.safetensors.index.json is there");
		err = moe_diag_path(d, directory);
	}
	free(single);
	free(index);
	return err;
}

enum moe_err moe_checkpoint_open(struct moe_checkpoint **out, const char *path, struct moe_diag *d)
{
	struct moe_checkpoint *c = calloc(1, sizeof *c);
	enum moe_err err;

	if (!c) {
		err = moe_fail(d, MOE_ENOMEM, "out of memory");
	} else if (moe_checkpoint_is_file(path)) {
		err = open_file(c, path, d);
		if (!err && (err = index_tensors(c, d)))
			moe_diag_path(d, path);
	} else {
		err = open_directory(c, path, d);
	}
	if (err)
		moe_checkpoint_close(c);
	else
		*out = c;
	return err;
}

void moe_checkpoint_close(struct moe_checkpoint *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n_shards; i++) {
		moe_header_free(&c->shard[i].header);
		moe_map_close(c->shard[i].map);
		free(c->shard[i].name);
	}
	free(c->shard);
	free(c->tensor);
	free(c);
}

size_t moe_checkpoint_count(const struct moe_checkpoint *c) { return c->n_tensors; }
const struct moe_tensor *moe_checkpoint_get(const struct moe_checkpoint *c, size_t i) { return c->tensor[i]; }

const struct moe_tensor *moe_checkpoint_find(const struct moe_checkpoint *c, const char *name, size_t *index)
{
	struct moe_tensor key = {.name = name};
	const struct moe_tensor *k = &key, **hit = bsearch(&k, c->tensor, c->n_tensors, sizeof *c->tensor, by_name);

	if (hit && index)
		*index = (size_t)(hit - c->tensor);
	return hit ? *hit : NULL;
}
