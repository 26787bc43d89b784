#include "model/spec.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/spec_priv.h"

/* The setting's node in the family file (borrowed), NULL when it is not there. */
static json_t *node_of(json_t *family, const char *path) { return moe_json_descend(family, path, strlen(path)); }

/* Does "section" or "section.setting=choice", n bytes of text, hold? The setting is a row above. */
static bool holds(const struct moe_spec *spec, const char *text, size_t n, const struct moe_setting *before)
{
	const char *choice = memchr(text, '=', n);
	size_t path = choice ? (size_t)(choice - text) : n, section = strcspn(text, ".");

	if (!json_object_getn(spec->doc, text, section < path ? section : path))
		return false;
	for (const struct moe_setting *at = moe_settings; choice && at < before; at++)
		if (strlen(at->path) == path && !memcmp(at->path, text, path)) {
			const char *p = at->choices;
			for (int i = *(const int *)(const void *)((const char *)spec + at->offset); i; i--)
				p += strcspn(p, " ") + 1;
			return n - path - 1 == strcspn(p, " ") && !memcmp(p, choice + 1, n - path - 1);
		}
	return true;
}

bool moe_setting_counts(const struct moe_spec *spec, const struct moe_setting *s)
{
	const char *end, *p = s->only_if;

	for (; p; p = end ? end + 4 : NULL) {
		end = strstr(p, " or ");
		if (holds(spec, p, end ? (size_t)(end - p) : strlen(p), s))
			return true;
	}
	return !s->only_if;
}

static enum moe_err set_one(struct moe_spec *spec, const struct moe_setting *s, const struct moe_docs *docs, struct moe_diag *d)
{
	json_t *node = node_of(spec->doc, s->path), *v = NULL;
	enum moe_err err;

	if (!moe_setting_counts(spec, s))
		return node && strchr(s->only_if, '=') && moe_docs_say(docs, node) ? moe_fail(d, MOE_EINPUT, "setting %s goes with %s only", s->path, s->only_if)
										   : MOE_OK;
	if (node) {
		MOE_TRY(moe_docs_resolve(&v, docs, node, d));
		if (!v) {
			char *text = json_dumps(node, JSON_COMPACT | JSON_ENCODE_ANY);
			moe_fail(d, MOE_EINPUT, "setting %s: the model's files do not have %.120s", s->path, text ? text : "it");
			free(text);
			return MOE_EINPUT;
		}
	} else if (s->absent) {
		v = json_loads(s->absent, JSON_DECODE_ANY, NULL);
	} else {
		return moe_fail(d, MOE_EINPUT, "the family file has no setting %s", s->path);
	}
	err = moe_setting_set(spec, s, v, d);
	json_decref(v);
	return err;
}

bool moe_family_special(const char *key)
{
	static const char *const special[] = {"family", "match", "require", "tensors", "ignore", "prefixes"};

	for (size_t i = 0; i < sizeof special / sizeof *special; i++)
		if (!strcmp(key, special[i]))
			return true;
	return false;
}

/* Refuses what the table does not know. Sections that are not settings are skipped at the top level. */
static enum moe_err check_known(json_t *node, const char *path, struct moe_diag *d)
{
	const char *key;
	json_t *value;

	json_object_foreach(node, key, value) {
		char here[160];
		bool known = false, inner = false;
		size_t n = (size_t)snprintf(here, sizeof here, "%s%s%s", path, *path ? "." : "", key);
		if (!*path && moe_family_special(key))
			continue;
		for (size_t i = 0; i < moe_n_settings; i++) {
			known |= !strcmp(moe_settings[i].path, here);
			inner |= !strncmp(moe_settings[i].path, here, n) && moe_settings[i].path[n] == '.';
		}
		if (inner && json_is_object(value)) {
			MOE_TRY(check_known(value, here, d));
		} else if (!known) {
			char list[300] = "";
			for (size_t i = 0, at = 0; i < moe_n_settings && at < sizeof list - 40; i++)
				if (!strncmp(moe_settings[i].path, path, strlen(path)))
					at += (size_t)snprintf(list + at, sizeof list - at, " %s", moe_settings[i].path);
			return moe_fail(d, MOE_EINPUT, "unknown setting %s; known are:%s", here, list);
		}
	}
	return MOE_OK;
}

static bool matches(json_t *family, const struct moe_docs *docs)
{
	const char *key;
	json_t *want, *match = json_object_get(docs->gguf ? json_object_get(family, "gguf") : family, "match");

	if (!json_object_size(match))
		return false;
	json_object_foreach(match, key, want) {
		json_t *have = moe_docs_get(docs, key, strlen(key));
		if (!have || !json_equal(have, want))
			return false;
	}
	return true;
}

static int json_files(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return n > 5 && e->d_name[0] != '.' && !strcmp(e->d_name + n - 5, ".json");
}

/* The first family (by file name) whose `match` fits the config. */
static enum moe_err find_family(json_t **out, const struct moe_docs *docs, const char *families, struct moe_diag *d)
{
	struct dirent **e;
	int n = scandir(families, &e, json_files, alphasort);
	const char *kind = docs->gguf ? "general.architecture" : "model_type", *type = json_string_value(moe_docs_get(docs, kind, strlen(kind)));
	char known[300] = "";
	enum moe_err err = MOE_OK;

	if (n < 0) {
		moe_fail_errno(d, "cannot read the folder of families");
		return moe_diag_path(d, families);
	}
	for (int i = 0; i < n; i++) {
		char *path = NULL;
		json_t *family = NULL;
		if (!*out && !err && asprintf(&path, "%s/%s", families, e[i]->d_name) >= 0)
			err = moe_docs_read(&family, path, d);
		if (family && matches(family, docs))
			*out = json_incref(family);
		else if (family)
			snprintf(known + strlen(known), sizeof known - strlen(known), " %.*s", (int)strlen(e[i]->d_name) - 5, e[i]->d_name);
		json_decref(family);
		free(path);
		free(e[i]);
	}
	free(e);
	if (err || *out)
		return err;
	moe_fail(d, MOE_EINPUT, "no family knows %s \"%.60s\"; known are:%s (give one of your own with --family FILE)", kind, type ? type : "(none)", known);
	return moe_diag_path(d, docs->directory);
}

/* `require`: keys of the model's files that the family's settings do not follow, each with the one value that they are right for. A key that is
 * absent or null has it. */
static enum moe_err check_required(const struct moe_spec *s, const struct moe_docs *docs, struct moe_diag *d)
{
	const char *key;
	json_t *want;

	json_object_foreach(json_object_get(s->doc, "require"), key, want) {
		json_t *have = moe_docs_get(docs, key, strlen(key));
		char *is, *must;
		if (!have || json_equal(have, want))
			continue;
		is = json_dumps(have, JSON_COMPACT | JSON_ENCODE_ANY);
		must = json_dumps(want, JSON_COMPACT | JSON_ENCODE_ANY);
		moe_fail(d, MOE_EINPUT, "%s is %.60s, but the family is defined for %.60s only", key, is ? is : "?", must ? must : "?");
		free(is);
		free(must);
		return MOE_EINPUT;
	}
	return MOE_OK;
}

/* transformers writes the type of the weights under one of two keys. A hint, since the weights say it themselves. */
static bool says_float32(const struct moe_docs *docs)
{
	const char *type = json_string_value(moe_docs_get(docs, "torch_dtype", 11));

	if (!type)
		type = json_string_value(moe_docs_get(docs, "dtype", 5));
	return type && !strcmp(type, "float32");
}

/* What follows from the settings: the one convolution that a linear map of patches is, the layers of an encoder, and how many queries there are. */
static void derive(struct moe_spec *s)
{
	int64_t patch = s->image.patch;

	s->tower.vit.gated = s->tower.kind == MOE_TOWER_ENCODER;
	if (s->tower.kind == MOE_TOWER_LINEAR || (s->tower.kind == MOE_TOWER_ENCODER && s->tower.patches == MOE_PATCHES_LINEAR)) {
		s->tower.conv[0] = (struct moe_conv){.name = "patch", .in = s->image.channels, .out = moe_spec_tower_width(s), .kernel = patch, .stride = patch};
		s->tower.n_conv = 1;
	}
	for (size_t i = 0; i < s->projector.queries.n; i++)
		if (s->projector.queries.v[i][1] > s->projector.query.queries)
			s->projector.query.queries = s->projector.queries.v[i][1];
}

static enum moe_err build(struct moe_spec *s, const struct moe_docs *docs, const struct moe_spec_options *o, struct moe_diag *d)
{
	const char *name;
	enum moe_err err = o->family_file ? moe_docs_read(&s->doc, o->family_file, d) : find_family(&s->doc, docs, o->families, d);

	MOE_TRY(err);
	name = json_string_value(json_object_get(s->doc, "family"));
	if (!name || !*name || strlen(name) >= sizeof s->family)
		return moe_fail(d, MOE_EINPUT, "the family file has no name (\"family\")");
	strcpy(s->family, name);
	s->gguf = docs->gguf;
	s->file = json_deep_copy(s->doc);
	if (docs->gguf)
		moe_family_use_gguf(s->doc);
	else
		json_object_del(s->doc, "gguf");
	s->wide = says_float32(docs);
	err = check_known(s->doc, "", d);
	if (!err)
		err = check_required(s, docs, d);
	for (size_t i = 0; i < moe_n_settings && !err; i++)
		err = set_one(s, &moe_settings[i], docs, d);
	if (!err) {
		derive(s);
		err = moe_spec_check(s, d);
	}
	if (err && d && !d->path[0])
		snprintf(d->path, sizeof d->path, "%s%s (family %s)", docs->directory, docs->gguf ? "" : "/config.json", s->family);
	return err;
}

enum moe_err moe_spec_load(struct moe_spec **out, const struct moe_spec_options *o, struct moe_diag *d)
{
	struct moe_docs docs;
	struct moe_spec *s = calloc(1, sizeof *s);
	enum moe_err err;

	if (!s)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	s->merge.placeholder = -1;
	err = moe_docs_load(&docs, o, d);
	if (!err)
		err = build(s, &docs, o, d);
	moe_docs_free(&docs);
	if (err)
		moe_spec_free(s);
	else
		*out = s;
	return err;
}

void moe_spec_free(struct moe_spec *s)
{
	if (s) {
		json_decref(s->doc);
		json_decref(s->file);
		free(s);
	}
}

static void print_choice(FILE *f, const char *choices, int index)
{
	while (index--)
		choices += strcspn(choices, " ") + 1;
	fprintf(f, "%.*s", (int)strcspn(choices, " "), choices);
}

static void print_json(FILE *f, json_t *v)
{
	json_dumpf(v, f, JSON_ENCODE_ANY);
	json_decref(v);
}

/* As JSON has it, so that a setting stays a line. */
static void print_text(FILE *f, const char *text) { print_json(f, json_string(text)); }

static void print_convs(FILE *f, struct moe_convs_at convs)
{
	for (size_t i = 0; i < *convs.n; i++) {
		const struct moe_conv *c = &convs.v[i];
		fprintf(f, "%s%s:%lld>%lld,k%lld,s%lld,p%lld%s", i ? " " : "", c->name, (long long)c->in, (long long)c->out, (long long)c->kernel,
			(long long)c->stride, (long long)c->padding, c->silu ? ",silu" : "");
	}
}

static void print_setting(FILE *f, const struct moe_spec *spec, const struct moe_setting *s)
{
	const void *at = (const char *)spec + s->offset;
	const struct moe_ints *ids = at;
	const struct moe_pairs *pairs = at;
	const double *real = at;

	fprintf(f, "%s = ", s->path);
	switch (s->type) {
	case MOE_SET_INT: fprintf(f, "%lld", (long long)*(const int64_t *)at); break;
	case MOE_SET_REAL: fprintf(f, "%.9g", *real); break;
	case MOE_SET_BOOL: fputs(*(const bool *)at ? "true" : "false", f); break;
	case MOE_SET_CHOICE: print_choice(f, s->choices, *(const int *)at); break;
	case MOE_SET_TEXT: print_text(f, at); break;
	case MOE_SET_TEXTS:
		for (size_t i = 0; i < ((const struct moe_texts *)at)->n; i++) {
			fputs(i ? " " : "", f);
			print_text(f, ((const struct moe_texts *)at)->v[i]);
		}
		break;
	case MOE_SET_TRIPLE: fprintf(f, "%.9g %.9g %.9g", real[0], real[1], real[2]); break;
	case MOE_SET_IDS:
		for (size_t i = 0; i < ids->n; i++)
			fprintf(f, "%s%lld", i ? " " : "", (long long)ids->v[i]);
		break;
	case MOE_SET_PAIRS:
		for (size_t i = 0; i < pairs->n; i++)
			fprintf(f, "%s%lldx%lld", i ? " " : "", (long long)pairs->v[i][0], (long long)pairs->v[i][1]);
		break;
	case MOE_SET_POOLS: print_json(f, moe_setting_get(spec, s)); break;
	case MOE_SET_CONVS: print_convs(f, moe_setting_convs(spec, s)); break;
	}
	fputc('\n', f);
}

char *moe_spec_string(const struct moe_spec *s)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	if (!f)
		return NULL;
	fprintf(f, "family = %s\n", s->family);
	for (size_t i = 0; i < moe_n_settings; i++)
		if (moe_setting_counts(s, &moe_settings[i]) && !moe_setting_unsaid(s, &moe_settings[i]))
			print_setting(f, s, &moe_settings[i]);
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}

size_t moe_spec_queries(const struct moe_spec *s, uint64_t patches)
{
	for (size_t i = 0; i < s->projector.queries.n; i++)
		if ((uint64_t)s->projector.queries.v[i][0] == patches)
			return (size_t)s->projector.queries.v[i][1];
	return 0;
}

static bool on_canvas(const struct moe_spec *s, uint64_t rows, uint64_t columns)
{
	uint64_t patch = (uint64_t)s->image.patch, longer = rows > columns ? rows : columns, shorter = rows > columns ? columns : rows;

	for (size_t i = 0; i < s->image.sizes.n; i++)
		if (longer == (uint64_t)s->image.sizes.v[i] / patch)
			return shorter >= ((uint64_t)s->image.min_side + patch - 1) / patch;
	return false;
}

enum moe_err moe_spec_check_grid(const struct moe_spec *s, uint64_t rows, uint64_t columns, struct moe_diag *d)
{
	for (size_t i = 0; i < s->image.grids.n; i++)
		if (rows == (uint64_t)s->image.grids.v[i][0] && columns == (uint64_t)s->image.grids.v[i][1])
			return MOE_OK;
	if (on_canvas(s, rows, columns))
		return MOE_OK;
	return moe_fail(d, MOE_EINPUT, "a picture of %llu x %llu patches: the model has no such grid (image.%s)", (unsigned long long)rows,
			(unsigned long long)columns, s->image.kind == MOE_IMAGE_FIT ? "grids" : "sizes");
}

size_t moe_spec_features(const struct moe_spec *s, uint64_t rows, uint64_t columns)
{
	uint64_t side = rows > columns ? rows : columns;

	return s->projector.kind == MOE_PROJECTOR_QUERY_ATTENTION ? moe_spec_queries(s, side * side) : rows * columns;
}

bool moe_spec_encodes(const struct moe_spec *s) { return s->tower.kind == MOE_TOWER_ENCODER && s->tower.vit.layers; }

int64_t moe_spec_tower_width(const struct moe_spec *s) { return s->tower.kind == MOE_TOWER_ENCODER ? s->tower.vit.hidden : s->hidden; }

size_t moe_spec_largest_patches(const struct moe_spec *s)
{
	int64_t most = 0;

	for (size_t i = 0; s->tower.kind != MOE_TOWER_NONE && i < s->image.grids.n; i++) {
		int64_t n = s->image.grids.v[i][0] * s->image.grids.v[i][1];
		most = n > most ? n : most;
	}
	return (size_t)most;
}

struct moe_spec_sides moe_spec_largest_sides(const struct moe_spec *s)
{
	struct moe_spec_sides most = {0, 0};

	for (size_t i = 0; i < s->image.grids.n; i++) {
		most.rows = s->image.grids.v[i][0] > most.rows ? s->image.grids.v[i][0] : most.rows;
		most.columns = s->image.grids.v[i][1] > most.columns ? s->image.grids.v[i][1] : most.columns;
	}
	return most;
}

bool moe_spec_is_dense(const struct moe_spec *s, size_t layer)
{
	if (!s->dense.width)
		return false;
	for (size_t i = 0; i < s->dense.layers.n; i++)
		if ((int64_t)layer == s->dense.layers.v[i])
			return true;
	return (int64_t)layer < s->dense.first || (s->dense.step > 1 && ((int64_t)layer + 1) % s->dense.step);
}

bool moe_spec_has_depth(const struct moe_spec *s, size_t layer)
{
	for (size_t i = 0; i < s->depth.layers.n; i++)
		if ((int64_t)layer == s->depth.layers.v[i])
			return true;
	return false;
}

size_t moe_spec_top_k(const struct moe_spec *s, size_t layer) { return moe_spec_is_dense(s, layer) ? 0 : moe_router_width(&s->router); }

bool moe_spec_chooses_rows(const struct moe_spec *s) { return s->router.chooses == MOE_CHOICE_EXPERT || s->depth.layers.n; }
