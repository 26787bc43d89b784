#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/source.h"
#include "scale/runs_priv.h"

enum { MOST_NAMES = 20000, MOST_MEASUREMENTS = 100000, FILE_LIMIT = 1 << 30 };

/* ---- names ---- */

static enum moe_err add_name(struct moe_runs *r, const char ***list, size_t *n, size_t *cap, const char *name, size_t nbytes, struct moe_diag *d)
{
	const char *copy = name ? moe_arena_string(&r->memory, name, nbytes) : "";

	if (!copy)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	MOE_TRY(moe_grow(list, cap, *n + 1, sizeof **list, d));
	(*list)[(*n)++] = copy;
	return MOE_OK;
}

/* The number of a name in the list, to which it is added if it is new. */
static enum moe_err intern(struct moe_runs *r, const char ***list, size_t *n, size_t *cap, const char *name, size_t *number, struct moe_diag *d)
{
	for (*number = 0; *number < *n; ++*number)
		if (!strcmp((*list)[*number], name))
			return MOE_OK;
	if (*n >= MOST_NAMES)
		return moe_fail(d, MOE_EINPUT, "more than %d runs with names", MOST_NAMES);
	return add_name(r, list, n, cap, name, strlen(name), d);
}

size_t moe_runs_find(const struct moe_runs *r, const char *measure)
{
	for (size_t i = 0; i < r->n_measures; i++)
		if (!strcmp(r->measure[i], measure))
			return i;
	return SIZE_MAX;
}

enum moe_err moe_runs_measure(struct moe_runs *r, size_t *number, const char *name, size_t n, struct moe_diag *d)
{
	const char *copy = moe_arena_string(&r->memory, name, n);

	if (!copy)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	*number = moe_runs_find(r, copy);
	if (*number != SIZE_MAX)
		return MOE_OK;
	if (r->n_measures == MOE_RUN_MEASURES)
		return moe_fail(d, MOE_EINPUT, "more than %d measures", MOE_RUN_MEASURES);
	*number = r->n_measures;
	r->measure[r->n_measures++] = copy;
	return MOE_OK;
}

/* ---- measurements ---- */

void moe_run_draft_init(struct moe_run_draft *w, size_t file, size_t line)
{
	*w = (struct moe_run_draft){.n = NAN, .d = NAN, .s = NAN, .flops = NAN, .flops_per_token = NAN, .seconds = NAN, .file = file, .line = line};
	for (size_t i = 0; i < MOE_RUN_MEASURES; i++)
		w->measure[i] = NAN;
}

/* A run goes by its arm, seed and name. */
static enum moe_err run_number(struct moe_runs *r, const struct moe_run_draft *w, size_t *number, struct moe_diag *d)
{
	char *key;
	enum moe_err err;

	if (!w->run) {
		*number = r->n_names;
		return add_name(r, &r->name, &r->n_names, &r->name_cap, NULL, 0, d);
	}
	if (asprintf(&key, "%s\t%s\t%" PRId64 "%s", w->run, w->arm ? w->arm : "", w->seed, w->seeded ? "" : "-") < 0)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	err = intern(r, &r->name, &r->n_names, &r->name_cap, key, number, d);
	free(key);
	return err;
}

enum moe_err moe_runs_add(struct moe_runs *r, const struct moe_run_draft *w, const struct moe_runs_options *o, struct moe_diag *d)
{
	struct moe_run_at a = {.n = w->n, .d = w->d, .s = isnan(w->s) ? 0 : w->s, .flops = isnan(w->flops) ? w->flops_per_token * w->d : w->flops,
			       .seconds = w->seconds,
			       .seed = w->seed, .seeded = w->seeded, .file = w->file, .line = w->line, .n_measures = r->n_measures};

	if (r->n == MOST_MEASUREMENTS)
		return moe_fail(d, MOE_EINPUT, "line %zu: more than %d measurements", w->line, MOST_MEASUREMENTS);
	if (isnan(a.d))
		return moe_fail(d, MOE_EINPUT, "line %zu: no D, the tokens of training", w->line);
	if (isnan(a.n) && !o->unsized)
		return moe_fail(d, MOE_EINPUT, "line %zu: no N, the parameters that a token passes", w->line);
	MOE_TRY(run_number(r, w, &a.run, d));
	MOE_TRY(intern(r, &r->arm, &r->n_arms, &r->arm_cap, w->arm ? w->arm : "", &a.arm, d));
	if (!r->n)
		r->counted = true;
	r->counted &= !isnan(a.flops);
	if (isnan(a.flops))
		a.flops = 6 * a.n * a.d;
	a.measure = moe_arena_zero(&r->memory, a.n_measures ? a.n_measures : 1, sizeof *a.measure);
	if (!a.measure)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	memcpy(a.measure, w->measure, a.n_measures * sizeof *a.measure);
	MOE_TRY(moe_grow(&r->at, &r->cap, r->n + 1, sizeof *r->at, d));
	r->at[r->n++] = a;
	return MOE_OK;
}

double moe_run_measure(const struct moe_run_at *a, size_t measure) { return measure < a->n_measures ? a->measure[measure] : NAN; }

bool moe_runs_together(const struct moe_run_at *a, const struct moe_run_at *b)
{
	return a->arm == b->arm && a->seeded == b->seeded && (a->seeded ? a->seed == b->seed : a->run == b->run);
}

enum moe_err moe_runs_alike(const struct moe_runs *r, size_t i, size_t j, struct moe_diag *d)
{
	const struct moe_run_at *a = &r->at[i], *b = &r->at[j];
	char one[300], other[300];

	if (!(fabs(a->n - b->n) > 1e-6 * a->n))
		return MOE_OK;
	return moe_fail(d, MOE_EINPUT, "N is %g (%.180s) and %g (%.180s) in arm \"%.40s\" with one seed: models of different sizes are different arms",
			a->n, moe_run_place(r, a, one), b->n, moe_run_place(r, b, other), r->arm[a->arm]);
}

const char *moe_run_place(const struct moe_runs *r, const struct moe_run_at *a, char to[300])
{
	snprintf(to, 300, "%.250s, line %zu", r->path[a->file], a->line);
	return to;
}

/* ---- files ---- */

const char *moe_runs_folder(struct moe_runs *r, const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? moe_arena_string(&r->memory, path, slash == path ? 1 : (size_t)(slash - path)) : ".";
}

const char *moe_runs_beside(struct moe_runs *r, const char *folder, const char *name)
{
	size_t n = strlen(folder), m = strlen(name);
	char *path;

	if (*name == '/' || !strcmp(folder, "."))
		return moe_arena_string(&r->memory, name, m);
	path = moe_arena_get(&r->memory, n + m + 2, 1);
	if (path)
		snprintf(path, n + m + 2, "%s/%s", folder, name);
	return path;
}

enum moe_err moe_runs_path(struct moe_runs *r, const char *path, struct moe_diag *d)
{
	return add_name(r, &r->path, &r->n_paths, &r->path_cap, path, strlen(path), d);
}

static bool is_folder(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISDIR(st.st_mode);
}

enum moe_err moe_runs_log(struct moe_runs *r, const char *path, const struct moe_run_draft *given, const struct moe_runs_options *o, struct moe_diag *d)
{
	const char *log = is_folder(path) ? moe_runs_beside(r, path, "log.jsonl") : path;
	char *text;
	size_t n;
	enum moe_err err;

	if (!log)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	MOE_TRY(moe_read_file(log, FILE_LIMIT, &text, &n, d));
	err = moe_runs_log_text(r, text, n, log, *given, o, d);
	free(text);
	return err ? moe_diag_path(d, log) : MOE_OK;
}

enum moe_err moe_runs_parse(struct moe_runs *r, char *text, size_t n, const char *path, const char *arm, const struct moe_runs_options *o, struct moe_diag *d)
{
	bool is_log = text[strspn(text, " \t\r\n")] == '{';     /* a table does not begin with an object */
	struct moe_run_draft given;
	enum moe_err err;

	moe_run_draft_init(&given, 0, 0);
	given.arm = arm;
	if (is_log && !strcmp(path, "-"))
		err = moe_fail(d, MOE_EUSAGE, "expected a table: a log lies in a folder that says what model it is of");
	else if (is_log)
		err = moe_runs_log_text(r, text, n, path, given, o, d);
	else if (arm)
		err = moe_fail(d, MOE_EUSAGE, "a table says itself of which arm its runs are, in a column \"arm\"");
	else
		err = moe_runs_table(r, text, n, path, o, d);
	return err ? moe_diag_path(d, strcmp(path, "-") ? path : "standard input") : MOE_OK;
}

enum moe_err moe_runs_read(struct moe_runs *r, const char *path, const char *arm, const struct moe_runs_options *o, struct moe_diag *d)
{
	struct moe_run_draft given;
	char *text;
	size_t n;
	enum moe_err err;

	moe_run_draft_init(&given, 0, 0);
	given.arm = arm;
	if (strcmp(path, "-") && is_folder(path))
		return moe_runs_log(r, path, &given, o, d);
	MOE_TRY(moe_read_file(path, FILE_LIMIT, &text, &n, d));
	err = moe_runs_parse(r, text, n, path, arm, o, d);
	free(text);
	return err;
}

void moe_runs_keep(struct moe_runs *r, const bool *keep)
{
	size_t n = 0, arms = 0;

	for (size_t arm = 0; arm < r->n_arms; arm++) {
		for (size_t i = 0; i < r->n; i++)
			if (keep[arm] && r->at[i].arm == arm)
				r->at[i].arm = arms;
			else if (r->at[i].arm == arm)
				r->at[i].arm = SIZE_MAX;
		if (keep[arm])
			r->arm[arms++] = r->arm[arm];
	}
	for (size_t i = 0; i < r->n; i++)
		if (r->at[i].arm != SIZE_MAX)
			r->at[n++] = r->at[i];
	r->n = n;
	r->n_arms = arms;
}

void moe_runs_free(struct moe_runs *r)
{
	free(r->at);
	free(r->name);
	free(r->arm);
	free(r->path);
	moe_arena_free(&r->memory);
	memset(r, 0, sizeof *r);
}
