#include "train/recipe.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "io/sink.h"
#include "io/source.h"
#include "train/freeze.h"
#include "train/optimiser.h"
#include "train/teacher.h"

enum { FILE_LIMIT = 16 << 20, MOST_ITEMS = 100000 };

#define MOST_TOKENS 1e15

enum kind { U64, I64, REAL, TEXT, LIST, CHOICE };

/* One setting: its key, of an object inside as OBJECT.KEY, and the field. A default of NAN: there is none, and it must be said. */
struct row {
	const char *key;
	enum kind kind;
	size_t at;
	double lo, hi, absent;
	const char *const *choices;     /* CHOICE: names in the order of the enum, up to NULL; the default is the index `absent` */
};

#define STAGE(field) offsetof(struct moe_recipe_stage, field)
#define SOURCE(field) offsetof(struct moe_recipe_source, field)
#define RECIPE(field) offsetof(struct moe_recipe, field)

static const char *const optimisers[] = {[MOE_OPTIMISER_MUON] = "muon", [MOE_OPTIMISER_ADAMW] = "adamw", NULL};
static const char *const augments[] = {[MOE_AUGMENT_NONE] = "none", [MOE_AUGMENT_TINT] = "tint", [MOE_AUGMENT_COLOUR] = "colour", NULL};
static const char *const trained[] = {[MOE_TRAINS_MODEL] = "model", [MOE_TRAINS_AUX] = "aux", NULL};
static const char *const kinds[] = {[MOE_RECIPE_KIND_MODEL] = "model", [MOE_RECIPE_KIND_QUANTISER] = "quantiser", NULL};
static const char *const answers[] = {"no", "yes", NULL};
static const char *const precisions[] = {[MOE_UNIT_F32] = "f32", [MOE_UNIT_BF16] = "bf16", NULL};

/* Those that depend on others get their default in settle(): -1 stands for it until then. */
static const struct row stage_rows[] = {
	{"name", TEXT, STAGE(name), 0, 64, 0, 0},
	{"tokens", U64, STAGE(tokens), 1, MOST_TOKENS, NAN, 0},
	{"train", CHOICE, STAGE(trains), 0, 0, MOE_TRAINS_MODEL, trained},
	{"batch", U64, STAGE(batch), 1, 65536, -1, 0},
	{"accumulate", U64, STAGE(accumulate), 1, 4096, 1, 0},
	{"optimiser", CHOICE, STAGE(optimiser), 0, 0, MOE_OPTIMISER_MUON, optimisers},
	{"lr.muon", REAL, STAGE(muon_rate), 0, 10, 0.02, 0},
	{"lr.adamw", REAL, STAGE(adamw_rate), 0, 10, 3e-3, 0},
	{"lr.vision", REAL, STAGE(vision_rate), 0, 1000, 1, 0},
	{"warmup", U64, STAGE(warmup), 0, MOST_TOKENS, -1, 0},
	{"decay", U64, STAGE(decay), 0, MOST_TOKENS, -1, 0},
	{"floor", REAL, STAGE(floor), 0, 1, 0, 0},
	{"weight_decay", REAL, STAGE(weight_decay), 0, 10, 0.01, 0},
	{"clip", REAL, STAGE(clip), 0, 1e9, 1, 0},
	{"freeze", LIST, STAGE(freeze), 0, 1000, 0, 0},
	{"rope_theta", REAL, STAGE(rope_theta), 0, 1e12, 0, 0},
	{"losses.text", REAL, STAGE(text), 0, 1000, -1, 0},
	{"losses.image", REAL, STAGE(image), 0, 1000, 1, 0},
	{"losses.patch", REAL, STAGE(patch), 0, 1000, 1, 0},
	{"losses.patch_layer", I64, STAGE(patch_layer), 0, 10000, 0, 0},
	{"losses.balance", REAL, STAGE(balance), 0, 1000, 0.01, 0},
	{"losses.z", REAL, STAGE(z), 0, 1000, 1e-3, 0},
	{"losses.balance_groups", I64, STAGE(balance_groups), 0, 65535, 0, 0},
	{"losses.soft", REAL, STAGE(soft), 0, 1000, -1, 0},
	{"losses.match", REAL, STAGE(match), 0, 1000, -1, 0},
	{"losses.commitment", REAL, STAGE(commitment), 0, 1000, 0.25, 0},
	{"code_decay", REAL, STAGE(code_decay), 0, 1, 0.99, 0},
	{"draw", REAL, STAGE(draw), 0, 1, 0, 0},
	{"draw_blank", REAL, STAGE(blank), 0, 1, 0, 0},
	{"bias_rate", REAL, STAGE(bias_rate), 0, 1, 0, 0},
	{"router_noise", REAL, STAGE(noise), 0, 100, 0, 0},
	{"text_tokens", U64, STAGE(text_tokens), 1, 65536, 128, 0},
	{0},
};

static const struct row source_rows[] = {
	{"data", LIST, SOURCE(data), 1, MOST_ITEMS, 0, 0},
	{"weight", REAL, SOURCE(weight), DBL_MIN, 1e9, 1, 0},
	{"augment", CHOICE, SOURCE(augment), 0, 0, MOE_AUGMENT_NONE, augments},
	{0},
};

static const struct row recipe_rows[] = {
	{"kind", CHOICE, RECIPE(kind), 0, 0, MOE_RECIPE_KIND_MODEL, kinds},
	{"seed", U64, RECIPE(seed), 0, 9007199254740992.0, 1, 0},
	{"precision", CHOICE, RECIPE(precision), 0, 0, MOE_UNIT_BF16, precisions},
	{"teacher.model", TEXT, RECIPE(teacher.model), 0, 4096, 0, 0},
	{"teacher.temperature", REAL, RECIPE(teacher.temperature), 0.01, 1000, 2, 0},
	{"teacher.layers", LIST, RECIPE(teacher.layers), 0, MOE_NET_MATCHES, 0, 0},
	{"dev.data", LIST, RECIPE(dev.data), 0, MOST_ITEMS, 0, 0},
	{"dev.every", U64, RECIPE(dev.every), 1, MOST_TOKENS, -1, 0},
	{"dev.samples", U64, RECIPE(dev.samples), 1, 1e6, 500, 0},
	{"dev.flips", CHOICE, RECIPE(dev.flips), 0, 0, 0, answers},
	{"calibrate.data", LIST, RECIPE(calibrate.data), 0, MOST_ITEMS, 0, 0},
	{"calibrate.samples", U64, RECIPE(calibrate.samples), 1, 1e6, 500, 0},
	{"checkpoint.every", U64, RECIPE(checkpoint.every), 1, MOST_TOKENS, -1, 0},
	{0},
};

/* Keys that the tables do not have, since they are no plain values. */
static const char *const stage_others[] = {"sources", "losses.types", NULL};
static const char *const recipe_others[] = {"model", "stages", "checkpoint.keep", NULL};

/* Where in the recipe it is being read; for messages. */
struct place {
	char text[96];
	struct moe_diag *d;
};

static enum moe_err fail(const struct place *p, const char *key, const char *what)
{
	return moe_fail(p->d, MOE_EINPUT, "%s%s%s: %s", p->text, *p->text ? ": " : "", key, what);
}

static enum moe_err fail_range(const struct place *p, const struct row *r)
{
	char what[96];

	snprintf(what, sizeof what, "expected %s %s %g to %g", r->kind == REAL ? "a number" : "a whole number", r->lo == DBL_MIN ? "above" : "from",
		 r->lo == DBL_MIN ? 0 : r->lo, r->hi);
	return fail(p, r->key, what);
}

/* The value of OBJECT.KEY or KEY; NULL where there is none. */
static json_t *look_up(const json_t *o, const char *key)
{
	const char *dot = strchr(key, '.');
	char name[32];

	if (!dot)
		return json_object_get(o, key);
	snprintf(name, sizeof name, "%.*s", (int)(dot - key), key);
	return json_object_get(json_object_get(o, name), dot + 1);
}

static enum moe_err read_strings(struct moe_recipe_list *list, const json_t *v, const struct place *p, const struct row *r)
{
	size_t n = json_is_string(v) ? 1 : json_array_size(v);

	if ((!json_is_array(v) && !json_is_string(v)) || n < (size_t)r->lo || n > (size_t)r->hi)
		return fail(p, r->key, r->lo > 0 ? "expected a text, or a list of at least one" : "expected a text, or a list of them");
	list->item = calloc(n + 1, sizeof *list->item);
	if (!list->item)
		return moe_fail(p->d, MOE_ENOMEM, "out of memory");
	for (; list->n < n; list->n++) {
		const char *s = json_string_value(json_is_string(v) ? v : json_array_get(v, list->n));
		if (!s || !*s)
			return fail(p, r->key, "expected a list of texts that are not empty");
		if (!(list->item[list->n] = moe_strdup(s)))
			return moe_fail(p->d, MOE_ENOMEM, "out of memory");
	}
	return MOE_OK;
}

static enum moe_err read_text(char **to, const json_t *v, const struct place *p, const struct row *r)
{
	const char *s = v ? json_string_value(v) : "";

	if (!s || strlen(s) > (size_t)r->hi)
		return fail(p, r->key, "expected a short text");
	*to = moe_strdup(s);
	return *to ? MOE_OK : moe_fail(p->d, MOE_ENOMEM, "out of memory");
}

static enum moe_err read_choice(int *to, const json_t *v, const struct place *p, const struct row *r)
{
	const char *s = json_string_value(v);
	char what[96] = "expected";

	for (int i = 0; r->choices[i]; i++) {
		if (s && !strcmp(s, r->choices[i])) {
			*to = i;
			return MOE_OK;
		}
		snprintf(what + strlen(what), sizeof what - strlen(what), "%s \"%s\"", i ? " or" : "", r->choices[i]);
	}
	return fail(p, r->key, what);
}

static enum moe_err read_number(void *to, const json_t *v, const struct place *p, const struct row *r)
{
	double x = json_number_value(v);

	if (!json_is_number(v) || !(x >= r->lo && x <= r->hi) || (r->kind != REAL && x != floor(x)))
		return fail_range(p, r);
	if (r->kind == REAL)
		*(double *)to = x;
	else if (r->kind == U64)
		*(uint64_t *)to = (uint64_t)x;
	else
		*(int64_t *)to = (int64_t)x;
	return MOE_OK;
}

static enum moe_err read_absent(void *to, const struct place *p, const struct row *r)
{
	if (isnan(r->absent) || (r->kind == LIST && r->lo > 0))
		return fail(p, r->key, "is missing");
	if (r->kind == REAL)
		*(double *)to = r->absent;
	else if (r->kind == U64)
		*(uint64_t *)to = r->absent < 0 ? UINT64_MAX : (uint64_t)r->absent;
	else if (r->kind == I64)
		*(int64_t *)to = (int64_t)r->absent;
	else if (r->kind == CHOICE)
		*(int *)to = (int)r->absent;
	else if (r->kind == TEXT)
		return read_text(to, NULL, p, r);
	return MOE_OK;
}

static enum moe_err read_row(void *into, const json_t *o, const struct place *p, const struct row *r)
{
	void *to = (char *)into + r->at;
	const json_t *v = look_up(o, r->key);

	if (!v)
		return read_absent(to, p, r);
	switch (r->kind) {
	case TEXT:
		return read_text(to, v, p, r);
	case LIST:
		return read_strings(to, v, p, r);
	case CHOICE:
		return read_choice(to, v, p, r);
	default:
		return read_number(to, v, p, r);
	}
}

enum known { KNOWN_NOT, KNOWN_VALUE, KNOWN_OBJECT };

/* Is this key of an object known, or the name of an object with keys that are? */
static enum known known_key(const char *key, const struct row *rows, const char *const *others)
{
	size_t n = strlen(key);

	for (; rows->key; rows++)
		if (!strncmp(rows->key, key, n) && (!rows->key[n] || rows->key[n] == '.'))
			return rows->key[n] ? KNOWN_OBJECT : KNOWN_VALUE;
	for (; *others; others++)
		if (!strncmp(*others, key, n) && (!(*others)[n] || (*others)[n] == '.'))
			return (*others)[n] ? KNOWN_OBJECT : KNOWN_VALUE;
	return KNOWN_NOT;
}

static enum moe_err check_inside(const char *key, json_t *o, const struct place *p, const struct row *rows, const char *const *others)
{
	char path[160];
	const char *inside;
	json_t *v;

	if (!json_is_object(o))
		return fail(p, key, "expected an object");
	json_object_foreach(o, inside, v) {
		snprintf(path, sizeof path, "%.60s.%.60s", key, inside);
		if (known_key(path, rows, others) != KNOWN_VALUE)
			return fail(p, path, "no such setting");
	}
	return MOE_OK;
}

/* A key that no row knows, such as a mistyped one, would otherwise be a setting that silently does nothing. */
static enum moe_err check_keys(json_t *o, const struct place *p, const struct row *rows, const char *const *others)
{
	const char *key;
	json_t *v;

	json_object_foreach(o, key, v) {
		char shown[72];
		enum known known = strchr(key, '.') ? KNOWN_NOT : known_key(key, rows, others);
		snprintf(shown, sizeof shown, "%.64s", key);
		if (known == KNOWN_NOT)
			return fail(p, shown, "no such setting");
		if (known == KNOWN_OBJECT)
			MOE_TRY(check_inside(key, v, p, rows, others));
	}
	return MOE_OK;
}

static enum moe_err read_rows(void *into, json_t *o, const struct place *p, const struct row *rows, const char *const *others)
{
	if (!json_is_object(o))
		return moe_fail(p->d, MOE_EINPUT, "%s: expected an object", *p->text ? p->text : "the recipe");
	MOE_TRY(check_keys(o, p, rows, others));
	for (; rows->key; rows++)
		MOE_TRY(read_row(into, o, p, rows));
	return MOE_OK;
}

static enum moe_err read_types(struct moe_recipe_stage *s, json_t *types, const struct place *p)
{
	const char *key;
	json_t *v;

	if (types && !json_is_object(types))
		return fail(p, "losses.types", "expected an object of weights");
	s->type = calloc(json_object_size(types) + 1, sizeof *s->type);
	if (!s->type)
		return moe_fail(p->d, MOE_ENOMEM, "out of memory");
	json_object_foreach(types, key, v) {
		double x = json_number_value(v);
		if (!json_is_number(v) || !(x >= 0 && x <= 1000))
			return fail(p, "losses.types", "expected weights from 0 to 1000");
		s->type[s->n_types].weight = x;
		if (!(s->type[s->n_types].type = moe_strdup(key)))
			return moe_fail(p->d, MOE_ENOMEM, "out of memory");
		s->n_types++;
	}
	return MOE_OK;
}

static enum moe_err read_sources(struct moe_recipe_stage *s, const json_t *sources, const struct place *p)
{
	static const char *const none[] = {NULL};
	size_t n = json_array_size(sources);

	if (!json_is_array(sources) || !n || n > MOST_ITEMS)
		return fail(p, "sources", "expected a list of at least one source");
	s->source = calloc(n, sizeof *s->source);
	if (!s->source)
		return moe_fail(p->d, MOE_ENOMEM, "out of memory");
	for (; s->n_sources < n; s->n_sources++) {
		struct place inside = {.d = p->d};
		enum moe_err err;
		snprintf(inside.text, sizeof inside.text, "%.64s: source %zu", p->text, s->n_sources + 1);
		err = read_rows(&s->source[s->n_sources], json_array_get(sources, s->n_sources), &inside, source_rows, none);
		if (err) {
			s->n_sources++;         /* what of it was read is freed too */
			return err;
		}
	}
	return MOE_OK;
}

/* Defaults that depend on other settings, and what settings mean for each other. */
/* With a teacher half of what is learned is from it, if nothing else is said. */
static enum moe_err settle_losses(struct moe_recipe_stage *s, const struct moe_recipe *r, const struct place *p)
{
	bool taught = *r->teacher.model, matched = r->teacher.layers.n;

	if (s->soft > 0 && !taught)
		return fail(p, "losses.soft", "there is no teacher (teacher.model)");
	if (s->match > 0 && !(taught && matched))
		return fail(p, "losses.match", "there is no teacher with layers to match (teacher.layers)");
	if (s->text < 0)
		s->text = taught ? 0.5 : 1;
	if (s->soft < 0)
		s->soft = taught ? 0.5 : 0;
	if (s->match < 0)
		s->match = taught && matched ? 1 : 0;
	return MOE_OK;
}

static enum moe_err settle(struct moe_recipe_stage *s, const struct moe_recipe *r, bool first, bool last, const struct place *p)
{
	if (s->batch == UINT64_MAX)
		s->batch = s->trains == MOE_TRAINS_AUX ? 8 : 48;        /* small networks, soon trained: many steps are worth more than large ones */
	if (s->warmup == UINT64_MAX)
		s->warmup = first ? s->tokens / 50 : 0;
	if (s->decay == UINT64_MAX)
		s->decay = last ? s->tokens / 2 : 0;
	if (s->warmup > s->tokens)
		return fail(p, "warmup", "is longer than the stage");
	if (s->decay > s->tokens)
		return fail(p, "decay", "is longer than the stage");
	for (size_t i = 0; i < s->freeze.n; i++) {
		struct moe_diag why = {0};
		if (moe_freeze_check(s->freeze.item[i], &why))
			return fail(p, "freeze", why.text);
	}
	return settle_losses(s, r, p);
}

static enum moe_err read_stage(struct moe_recipe_stage *s, const struct moe_recipe *r, json_t *o, size_t i, struct moe_diag *d)
{
	struct place p = {.d = d};
	const char *name = json_string_value(json_object_get(o, "name"));

	if (name && *name)
		snprintf(p.text, sizeof p.text, "stage %zu (\"%.64s\")", i + 1, name);
	else
		snprintf(p.text, sizeof p.text, "stage %zu", i + 1);
	MOE_TRY(read_rows(s, o, &p, stage_rows, stage_others));
	MOE_TRY(read_types(s, look_up(o, "losses.types"), &p));
	MOE_TRY(read_sources(s, json_object_get(o, "sources"), &p));
	return settle(s, r, i == 0, i + 1 == r->n_stages, &p);
}

static enum moe_err read_stages(struct moe_recipe *r, const json_t *stages, struct moe_diag *d)
{
	size_t n = json_array_size(stages);

	if (!json_is_array(stages) || !n || n > MOE_RECIPE_STAGES)
		return moe_fail(d, MOE_EINPUT, "stages: expected a list of 1 to %d stages", MOE_RECIPE_STAGES);
	r->stage = calloc(n, sizeof *r->stage);
	if (!r->stage)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	r->n_stages = n;
	for (size_t i = 0; i < n; i++)
		MOE_TRY(read_stage(&r->stage[i], r, json_array_get(stages, i), i, d));
	return MOE_OK;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static enum moe_err read_keep(struct moe_recipe *r, const json_t *keep, struct moe_diag *d)
{
	size_t n = json_array_size(keep);

	if ((keep && !json_is_array(keep)) || n > MOST_ITEMS)
		return moe_fail(d, MOE_EINPUT, "checkpoint.keep: expected a list of numbers of tokens");
	r->checkpoint.keep = calloc(n + 1, sizeof *r->checkpoint.keep);
	if (!r->checkpoint.keep)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		const struct row row = {"checkpoint.keep", U64, 0, 1, MOST_TOKENS, 0, 0};
		struct place p = {.d = d};
		MOE_TRY(read_number(&r->checkpoint.keep[i], json_array_get(keep, i), &p, &row));
	}
	r->checkpoint.n_keep = n;
	qsort(r->checkpoint.keep, n, sizeof *r->checkpoint.keep, by_value);
	return MOE_OK;
}

uint64_t moe_recipe_tokens(const struct moe_recipe *r)
{
	uint64_t n = 0;

	for (size_t i = 0; i < r->n_stages; i++)
		n += r->stage[i].tokens;
	return n;
}

/* Standard input can be read once only. */
static enum moe_err check_input(const struct moe_recipe *r, struct moe_diag *d)
{
	size_t uses = 0;

	for (size_t i = 0; i < r->n_stages; i++)
		for (size_t j = 0; j < r->stage[i].n_sources; j++)
			for (size_t k = 0; k < r->stage[i].source[j].data.n; k++)
				uses += !strcmp(r->stage[i].source[j].data.item[k], "-");
	for (size_t k = 0; k < r->dev.data.n; k++)
		uses += 2 * !strcmp(r->dev.data.item[k], "-");
	for (size_t k = 0; k < r->calibrate.data.n; k++)
		uses += 2 * !strcmp(r->calibrate.data.item[k], "-");
	return uses < 2 ? MOE_OK : moe_fail(d, MOE_EINPUT, "standard input (-) can be the data of one source of one stage, and not of dev or calibrate");
}

static enum moe_err check_teacher(const struct moe_recipe *r, struct moe_diag *d)
{
	struct moe_net_match m;

	if (r->teacher.layers.n && !*r->teacher.model)
		return moe_fail(d, MOE_EINPUT, "teacher.layers: there is no teacher (teacher.model)");
	for (size_t i = 0; i < r->teacher.layers.n; i++)
		if (!moe_teacher_match_parse(&m, r->teacher.layers.item[i]))
			return moe_fail(d, MOE_EINPUT, "teacher.layers: \"%.40s\": expected OWN=ITS, such as 2=4", r->teacher.layers.item[i]);
	return MOE_OK;
}

static enum moe_err read_recipe(struct moe_recipe *r, const json_t *doc, struct moe_diag *d)
{
	struct place p = {.d = d};
	uint64_t all;

	MOE_TRY(read_rows(r, (json_t *)(uintptr_t)doc, &p, recipe_rows, recipe_others));
	r->model = json_incref(json_object_get(doc, "model"));
	if (r->model && !json_is_object(r->model) && !json_is_string(r->model))
		return moe_fail(d, MOE_EINPUT, "model: expected a description (an object) or a path (a text)");
	MOE_TRY(check_teacher(r, d));
	MOE_TRY(read_stages(r, json_object_get(doc, "stages"), d));
	MOE_TRY(read_keep(r, look_up(doc, "checkpoint.keep"), d));
	MOE_TRY(check_input(r, d));
	all = moe_recipe_tokens(r);
	if (r->dev.every == UINT64_MAX)
		r->dev.every = moe_max(all / 20, 1);
	if (r->checkpoint.every == UINT64_MAX)
		r->checkpoint.every = moe_max(all / 50, 1);
	return MOE_OK;
}

enum moe_err moe_recipe_read(struct moe_recipe **out, const json_t *doc, struct moe_diag *d)
{
	struct moe_recipe *r = calloc(1, sizeof *r);
	enum moe_err err = r ? read_recipe(r, doc, d) : moe_fail(d, MOE_ENOMEM, "out of memory");

	if (err)
		moe_recipe_free(r);
	else
		*out = r;
	return err;
}

static void free_list(struct moe_recipe_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->item[i]);
	free(l->item);
}

static void free_stage(struct moe_recipe_stage *s)
{
	for (size_t i = 0; i < s->n_sources; i++)
		free_list(&s->source[i].data);
	for (size_t i = 0; i < s->n_types; i++)
		free(s->type[i].type);
	free_list(&s->freeze);
	free(s->source);
	free(s->type);
	free(s->name);
}

void moe_recipe_free(struct moe_recipe *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n_stages; i++)
		free_stage(&r->stage[i]);
	free_list(&r->dev.data);
	free_list(&r->calibrate.data);
	free_list(&r->teacher.layers);
	free(r->teacher.model);
	free(r->checkpoint.keep);
	free(r->stage);
	json_decref(r->model);
	free(r);
}

enum moe_err moe_recipe_load(json_t **doc, const char *path, struct moe_diag *d)
{
	json_error_t e;
	char *text;
	size_t n;

	MOE_TRY(moe_read_file(path, FILE_LIMIT, &text, &n, d));
	*doc = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
	free(text);
	if (*doc)
		return MOE_OK;
	moe_fail_at(d, MOE_EINPUT, e.position > 0 ? (uint64_t)e.position : 0, "line %d: %s", e.line, e.text);
	return moe_diag_path(d, path);
}

static json_t *list_value(const struct moe_recipe_list *l)
{
	json_t *a = json_array();

	for (size_t i = 0; i < l->n; i++)
		json_array_append_new(a, json_string(l->item[i]));
	return a;
}

static json_t *row_value(const void *from, const struct row *r)
{
	const void *at = (const char *)from + r->at;

	switch (r->kind) {
	case U64:
		return json_integer((json_int_t)*(const uint64_t *)at);
	case I64:
		return json_integer(*(const int64_t *)at);
	case REAL:
		return json_real(*(const double *)at);
	case TEXT:
		return json_string(*(char *const *)at);
	case LIST:
		return list_value(at);
	default:
		return json_string(r->choices[*(const int *)at]);
	}
}

/* The object OBJECT of o, made if there is none. */
static json_t *object_of(json_t *o, const char *key, size_t n)
{
	char name[32];
	json_t *inside;

	snprintf(name, sizeof name, "%.*s", (int)n, key);
	inside = json_object_get(o, name);
	if (!inside) {
		json_object_set_new(o, name, json_object());
		inside = json_object_get(o, name);
	}
	return inside;
}

static json_t *rows_value(const void *from, const struct row *rows)
{
	json_t *o = json_object();

	for (; rows->key; rows++) {
		const char *dot = strchr(rows->key, '.');
		json_object_set_new(dot ? object_of(o, rows->key, (size_t)(dot - rows->key)) : o, dot ? dot + 1 : rows->key, row_value(from, rows));
	}
	return o;
}

static json_t *stage_value(const struct moe_recipe_stage *s)
{
	json_t *o = rows_value(s, stage_rows), *sources = json_array(), *types = json_object();

	for (size_t i = 0; i < s->n_sources; i++)
		json_array_append_new(sources, rows_value(&s->source[i], source_rows));
	for (size_t i = 0; i < s->n_types; i++)
		json_object_set_new(types, s->type[i].type, json_real(s->type[i].weight));
	json_object_set_new(o, "sources", sources);
	json_object_set_new(json_object_get(o, "losses"), "types", types);
	return o;
}

json_t *moe_recipe_resolved(const struct moe_recipe *r)
{
	json_t *o = rows_value(r, recipe_rows), *stages = json_array(), *keep = json_array();

	for (size_t i = 0; i < r->n_stages; i++)
		json_array_append_new(stages, stage_value(&r->stage[i]));
	for (size_t i = 0; i < r->checkpoint.n_keep; i++)
		json_array_append_new(keep, json_integer((json_int_t)r->checkpoint.keep[i]));
	if (r->model)
		json_object_set(o, "model", r->model);
	json_object_set_new(o, "stages", stages);
	json_object_set_new(json_object_get(o, "checkpoint"), "keep", keep);
	return o;
}

enum moe_err moe_recipe_save(const json_t *doc, const char *path, struct moe_diag *d)
{
	char *text = json_dumps(doc, JSON_INDENT(1) | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
	struct iovec iov[] = {{text, strlen(text ? text : "")}, {(void *)(uintptr_t)"\n", 1}};
	struct moe_sink *sink = NULL;
	enum moe_err err = text ? moe_sink_open(&sink, path, d) : moe_fail(d, MOE_ENOMEM, "out of memory");

	if (!err && moe_write_all(moe_sink_descriptor(sink), iov, 2, d)) {
		moe_sink_abandon(sink);
		err = moe_diag_path(d, path);
	} else if (!err) {
		err = moe_sink_commit(sink, d);
	}
	free(text);
	return err;
}

/* Describes a value in a few characters. */
static const char *brief(const json_t *v, char *buf, size_t cap)
{
	char *text = v ? json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;

	snprintf(buf, cap, strlen(text ? text : "") < cap ? "%s" : "another", text ? text : "absent");
	free(text);
	return buf;
}

static enum moe_err differ(const char *path, const json_t *was, const json_t *is, struct moe_diag *d)
{
	char a[80], b[80];

	return moe_fail(d, MOE_EMATCH, "%s is %s in the recipe that it was begun with, and %s now", path, brief(was, a, sizeof a), brief(is, b, sizeof b));
}

static enum moe_err same_value(const char *path, const json_t *was, const json_t *is, unsigned depth, struct moe_diag *d);

static enum moe_err same_object(const char *path, const json_t *was, const json_t *is, unsigned depth, struct moe_diag *d)
{
	char inside[256];
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)was, key, v) {
		if (!depth && !strcmp(key, "checkpoint"))
			continue;
		snprintf(inside, sizeof inside, "%.120s%s%.100s", path, *path ? "." : "", key);
		MOE_TRY(same_value(inside, v, json_object_get(is, key), depth + 1, d));
	}
	json_object_foreach((json_t *)(uintptr_t)is, key, v)
		if (!json_object_get(was, key)) {
			snprintf(inside, sizeof inside, "%.120s%s%.100s", path, *path ? "." : "", key);
			return differ(inside, NULL, v, d);
		}
	return MOE_OK;
}

static enum moe_err same_array(const char *path, const json_t *was, const json_t *is, unsigned depth, struct moe_diag *d)
{
	char inside[256];

	if (json_array_size(was) != json_array_size(is))
		return differ(path, was, is, d);
	for (size_t i = 0; i < json_array_size(was); i++) {
		snprintf(inside, sizeof inside, "%.200s[%zu]", path, i);
		MOE_TRY(same_value(inside, json_array_get(was, i), json_array_get(is, i), depth + 1, d));
	}
	return MOE_OK;
}

static enum moe_err same_value(const char *path, const json_t *was, const json_t *is, unsigned depth, struct moe_diag *d)
{
	if (json_is_object(was) && json_is_object(is))
		return same_object(path, was, is, depth, d);
	if (json_is_array(was) && json_is_array(is))
		return same_array(path, was, is, depth, d);
	if (json_is_number(was) && json_is_number(is) && json_number_value(was) == json_number_value(is))
		return MOE_OK;
	return json_equal(was, is) ? MOE_OK : differ(path, was, is, d);
}

enum moe_err moe_recipe_same(const json_t *was, const json_t *is, struct moe_diag *d) { return same_value("", was, is, 0, d); }
