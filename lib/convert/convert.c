#include "convert/convert.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/check.h"
#include "convert/layout.h"
#include "convert/vocabulary.h"
#include "format/gguf.h"
#include "io/map.h"
#include "io/source.h"

enum { SIDE_FILE_LIMIT = 256 << 20, CHECK = 1 << 20, KEY = 33, NOTE = 300 };

static const uint64_t default_shard_nbytes = 5000000000;

struct conversion {
	struct moe_model *m;
	const struct moe_convert_options *o;
	struct moe_targets all;
	struct moe_layout layout;
	struct moe_partial *partial;
	uint64_t written, total;        /* bytes of the output's tensors */
	bool turned;
	struct moe_diag *d;
};

static void MOE_PRINTF(2, 3) note(const struct conversion *c, const char *fmt, ...)
{
	char text[NOTE];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (c->o->note)
		c->o->note(c->o->arg, text);
}

static bool ends_in(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n > m && !strcmp(s + n - m, end);
}

/* Source and output in one number: the source's fingerprint covers its settings and names, the heads say all that is chosen for the output; what else
 * another model is made of stands in its config.json. */
static void make_key(const struct conversion *c, char key[KEY])
{
	XXH3_state_t *x = XXH3_createState();
	XXH128_hash_t h = {0, 0};

	if (x) {
		XXH3_128bits_reset(x);
		XXH3_128bits_update(x, c->m->fingerprint, strlen(c->m->fingerprint));
		for (size_t i = 0; i < c->layout.n_files; i++)
			XXH3_128bits_update(x, c->layout.file[i].head, c->layout.file[i].head_nbytes);
		if (c->o->other)
			XXH3_128bits_update(x, c->o->other->config, strlen(c->o->other->config));
		h = XXH3_128bits_digest(x);
		XXH3_freeState(x);
	}
	snprintf(key, KEY, "%016llx%016llx", (unsigned long long)h.high64, (unsigned long long)h.low64);
}

/* ---- What stands beside the weights in a folder ---- */

/* The settings of the output. */
static struct moe_spec *spec_of(const struct conversion *c)
{
	return c->o->other ? (struct moe_spec *)(uintptr_t)c->o->other->spec : c->m->spec;
}

static enum moe_err put_config(struct conversion *c, const char *text, size_t n)
{
	bool changed = !text || c->o->numbers || c->o->other;
	struct moe_model to = *c->m;
	char *config;
	enum moe_err err;

	to.spec = spec_of(c);
	if (c->o->other) {
		text = c->o->other->config;
		n = strlen(text);
	}

	for (size_t i = 0; i < c->all.n; i++)
		changed |= c->all.t[i].from != c->all.t[i].to;
	if (!changed)
		return moe_partial_put(c->partial, "config.json", text, n, c->d);
	MOE_TRY(moe_layout_config(&config, &c->all, &to, text, n, c->d));
	err = moe_partial_put(c->partial, "config.json", config, strlen(config), c->d);
	free(config);
	return err;
}

/* Is it a small file that belongs to a model? */
static bool is_side_file(const char *name)
{
	return name[0] != '.' && strcmp(name, "model.safetensors.index.json") != 0 &&
	       (ends_in(name, ".json") || ends_in(name, ".txt") || ends_in(name, ".model") || ends_in(name, ".jinja"));
}

static enum moe_err copy_side_file(struct conversion *c, const char *name)
{
	char *path, *bytes;
	struct stat st;
	size_t n;
	enum moe_err err = MOE_OK;

	if (asprintf(&path, "%s/%s", c->m->directory, name) < 0)
		return moe_fail(c->d, MOE_ENOMEM, "out of memory");
	if (!stat(path, &st) && S_ISREG(st.st_mode)) {
		err = moe_read_file(path, SIDE_FILE_LIMIT, &bytes, &n, c->d);
		if (!err) {
			err = strcmp(name, "config.json") ? moe_partial_put(c->partial, name, bytes, n, c->d) : put_config(c, bytes, n);
			free(bytes);
		}
	}
	free(path);
	return err;
}

static enum moe_err copy_side_files(struct conversion *c)
{
	DIR *f = opendir(c->m->directory);
	struct dirent *e;
	enum moe_err err = MOE_OK;

	if (!f) {
		moe_fail_errno(c->d, "cannot read");
		return moe_diag_path(c->d, c->m->directory);
	}
	while (!err && (e = readdir(f)))
		if (is_side_file(e->d_name))
			err = copy_side_file(c, e->d_name);
	closedir(f);
	return err;
}

/* The template of conversations, which a GGUF file has among its keys, where Hugging Face has it. */
static enum moe_err put_template(struct conversion *c)
{
	struct moe_gguf g = {0};
	const struct moe_gguf_value *v;
	struct moe_map *map;
	enum moe_err err;

	MOE_TRY(moe_map_open(&map, c->m->directory, c->d));
	err = moe_gguf_parse(&g, map->bytes, map->nbytes, c->d);
	v = err ? NULL : moe_gguf_find(&g, "tokenizer.chat_template");
	if (v && !v->array && v->type == MOE_GGUF_STRING) {
		struct moe_rd r;
		const char *s;
		size_t n;
		moe_rd_init(&r, v->data, v->nbytes);
		s = moe_gguf_string(&r, &n);
		err = moe_partial_put(c->partial, "chat_template.jinja", s, n, c->d);
	}
	moe_gguf_free(&g);
	moe_map_close(map);
	return err;
}

static enum moe_err make_side_files(struct conversion *c)
{
	char fingerprint[33], *json;
	size_t n;
	enum moe_err err;

	MOE_TRY(put_config(c, NULL, 0));
	MOE_TRY(moe_model_tokenizer(c->m->directory, &json, &n, fingerprint, c->d));
	err = moe_partial_put(c->partial, "tokenizer.json", json, n, c->d);
	free(json);
	return err ? err : put_template(c);
}

static enum moe_err put_side_files(struct conversion *c)
{
	if (c->all.gguf)
		return MOE_OK;
	if (c->layout.index)
		MOE_TRY(moe_partial_put(c->partial, "model.safetensors.index.json", c->layout.index, strlen(c->layout.index), c->d));
	return c->m->spec->gguf ? make_side_files(c) : copy_side_files(c);
}

/* ---- The output, read back ---- */

/* Its settings mean what those of the source do. */
static enum moe_err check_settings(struct conversion *c)
{
	struct moe_spec_options o = {.directory = moe_partial_path(c->partial), .families = c->o->families, .family_file = c->o->family_file};
	struct moe_spec *again;
	enum moe_err err;

	MOE_TRY(moe_spec_load(&again, &o, c->d));
	err = moe_spec_same(spec_of(c), again, c->turned, c->d);
	if (!err && again->text.eos.n < c->m->spec->text.eos.n)
		note(c, "of the %zu tokens that end a text, the format has room for one: %lld", c->m->spec->text.eos.n, (long long)again->text.eos.v[0]);
	moe_spec_free(again);
	return err;
}

/* So does its tokenizer. */
static enum moe_err check_tokenizer(struct conversion *c)
{
	char fingerprint[33], *json, *again;
	size_t n, again_n;
	enum moe_err err;

	if (!c->all.gguf || c->m->spec->gguf)
		return MOE_OK;
	MOE_TRY(moe_model_tokenizer(c->m->directory, &json, &n, fingerprint, c->d));
	err = moe_model_tokenizer(moe_partial_path(c->partial), &again, &again_n, fingerprint, c->d);
	if (!err) {
		err = moe_vocabulary_same(json, n, again, again_n, c->d);
		free(again);
	}
	free(json);
	return err;
}

/* ---- The tensors ---- */

struct writing {
	struct conversion *c;
	const struct moe_target *t;
	uint64_t at, scale_at, hash;
};

static enum moe_err write_bytes(void *arg, const void *bytes, size_t n, bool scales, struct moe_diag *d)
{
	struct writing *w = arg;
	uint64_t *at = scales ? &w->scale_at : &w->at;

	MOE_TRY(moe_partial_write(w->c->partial, w->t->file, *at, bytes, n, d));
	*at += n;
	w->c->written += n;
	if (w->c->o->progress)
		w->c->o->progress(w->c->o->arg, w->c->written, w->c->total);
	return MOE_OK;
}

/* Hash of a run of bytes of the output. */
static enum moe_err hash_run(struct conversion *c, unsigned file, uint64_t at, uint64_t n, uint8_t *buffer, uint64_t *hash)
{
	while (n) {
		size_t piece = moe_min(n, CHECK);
		MOE_TRY(moe_partial_read(c->partial, file, at, buffer, piece, c->d));
		*hash = moe_partial_hash(*hash, buffer, piece);
		at += piece;
		n -= piece;
	}
	return MOE_OK;
}

static enum moe_err hash_target(struct conversion *c, const struct moe_target *t, uint64_t *hash)
{
	uint8_t *buffer = malloc(CHECK);
	enum moe_err err = buffer ? MOE_OK : moe_fail(c->d, MOE_ENOMEM, "out of memory");

	*hash = 0;
	if (!err)
		err = hash_run(c, t->file, t->begin, t->nbytes, buffer, hash);
	if (!err)
		err = hash_run(c, t->file, t->scale_begin, t->scale_nbytes, buffer, hash);
	free(buffer);
	return err;
}

static enum moe_err do_target(struct conversion *c, size_t i)
{
	const struct moe_target *t = &c->all.t[i];
	struct writing w = {c, t, t->begin, t->scale_begin, 0};
	struct moe_loss loss;
	uint64_t noted, hash;

	if (moe_partial_was_done(c->partial, i, &noted, &loss)) {
		MOE_TRY(hash_target(c, t, &hash));
		if (hash == noted) {
			c->written += t->nbytes + t->scale_nbytes;
			goto done;
		}
	}
	MOE_TRY(moe_rewrite(&c->all, t, c->o->pool, write_bytes, &w, &loss, c->d));
	MOE_TRY(hash_target(c, t, &hash));
	MOE_TRY(moe_partial_done(c->partial, i, hash, &loss, c->d));
done:
	if (c->o->tensor)
		c->o->tensor(c->o->arg, t, &loss);
	return MOE_OK;
}

/* Numbers that the caller has take the place of the model's. */
static enum moe_err replace_numbers(struct conversion *c)
{
	for (size_t i = 0; i < c->all.n && c->o->numbers; i++) {
		struct moe_target *t = &c->all.t[i];
		const float *x = c->o->numbers(c->o->arg, t->name, t->rows * t->cols);
		if (!x)
			return moe_fail(c->d, MOE_EUSAGE, "there are no %llu numbers for the tensor \"%s\"", (unsigned long long)(t->rows * t->cols), t->name);
		t->from = MOE_F32;
		t->piece[0] = (struct moe_mat){x, MOE_F32, t->rows, t->cols, t->cols, 1, NULL, NULL};
		t->n_pieces = 1;
	}
	return MOE_OK;
}

static enum moe_err prepare(struct conversion *c, bool gguf)
{
	struct moe_types types;

	/* The fingerprint has looked into every tensor. */
	for (size_t i = 0; i < moe_checkpoint_count(c->m->weights); i++)
		moe_map_release(moe_checkpoint_get(c->m->weights, i)->data, moe_checkpoint_get(c->m->weights, i)->nbytes);
	MOE_TRY(moe_types_parse(&types, c->o->types, c->d));
	MOE_TRY(c->o->other ? c->o->other->list(c->o->other->arg, &c->all, &types, c->d) : moe_targets_make(&c->all, c->m, gguf, &types, c->d));
	MOE_TRY(replace_numbers(c));
	MOE_TRY(gguf ? moe_layout_gguf(&c->layout, &c->all, c->m, c->d)
		     : moe_layout_folder(&c->layout, &c->all, c->o->shard_nbytes ? c->o->shard_nbytes : default_shard_nbytes, c->d));
	for (size_t i = 0; i < c->all.n; i++) {
		c->turned |= c->all.t[i].turn > 0;
		c->total += c->all.t[i].nbytes + c->all.t[i].scale_nbytes;
	}
	return MOE_OK;
}

static enum moe_err begin(struct conversion *c, const char *output)
{
	char key[KEY];
	enum moe_err err;

	make_key(c, key);
	MOE_TRY(moe_partial_open(&c->partial, output, c->layout.file, c->layout.n_files, c->all.n, key, c->o->anew, c->d));
	err = put_side_files(c);
	if (!err)
		err = check_settings(c);
	if (!err)
		err = check_tokenizer(c);
	if (err)
		moe_partial_discard(c->partial);
	if (!err && c->all.ignored)
		note(c, "%zu tensors that the family %s ignores are left out", c->all.ignored, c->m->spec->family);
	return err;
}

enum moe_err moe_convert(struct moe_model *m, const char *output, const struct moe_convert_options *o, bool *kept, struct moe_diag *d)
{
	struct conversion c = {.m = m, .o = o, .d = d};
	bool gguf = ends_in(output, ".gguf");
	enum moe_err err = gguf && o->other ? moe_fail(d, MOE_EUSAGE, "%s: such a model is written as a folder: moe-convert makes a GGUF file of it", output)
					    : prepare(&c, gguf);

	*kept = false;
	if (!err)
		err = begin(&c, output);
	if (!err) {
		*kept = true;
		for (size_t i = 0; i < c.all.n && !err; i++)
			err = do_target(&c, i);
		*kept = err && !o->numbers;
		if (!err && o->other && o->other->check)
			err = o->other->check(o->other->arg, moe_partial_path(c.partial), d);
		if (!err) {
			err = moe_partial_commit(c.partial, d);
			*kept = err && !o->numbers;
		}
		if (err && !*kept)
			moe_partial_discard(c.partial);
	}
	moe_partial_close(c.partial);
	moe_layout_free(&c.layout);
	moe_targets_free(&c.all);
	return err;
}
