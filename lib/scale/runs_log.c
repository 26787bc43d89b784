#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/flops.h"
#include "scale/runs_priv.h"

/* A log on its way: what is known of the run, and what has been counted. */
struct reader {
	struct moe_runs *runs;
	const struct moe_runs_options *options;
	struct moe_run_draft now, last; /* last: the evaluation that was read last */
	bool any;
	double tokens, seconds;         /* after the last step; NAN: some step did not say */
};

static double value(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	return json_is_number(v) ? json_number_value(v) : NAN;
}

/* Keys of an evaluation that are no measures, and names that a measure of a table cannot have. */
static bool is_no_measure(const char *key)
{
	static const char *const counts[] = {"step", "tokens", "flops", "flops_per_token", "seconds", "questions", "exact", "N", "D", "S", "seed", "arm", "run",
					     "log"};

	for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
		if (!strcmp(key, counts[i]))
			return true;
	return !*key || *key == '#';
}

static enum moe_err evaluation(struct reader *q, json_t *o, struct moe_diag *d)
{
	struct moe_run_draft w = q->now;
	double flops = value(o, "flops"), seconds = value(o, "seconds");
	const char *key;
	json_t *v;

	w.d = value(o, "tokens");
	w.flops = flops > 0 ? flops : w.flops;
	w.seconds = seconds >= 0 ? seconds : isnan(q->seconds) ? w.seconds : q->seconds;
	json_object_foreach(o, key, v) {
		size_t number;
		if (!json_is_number(v) || is_no_measure(key))
			continue;
		MOE_TRY(moe_runs_measure(q->runs, &number, key, strlen(key), d));
		w.measure[number] = json_number_value(v);
	}
	q->last = w;
	q->any = true;
	return q->options->last ? MOE_OK : moe_runs_add(q->runs, &w, q->options, d);
}

static enum moe_err read_line(struct reader *q, const char *line, size_t n, struct moe_diag *d)
{
	json_t *o = json_loadb(line, n, 0, NULL);
	double tokens = value(o, "tokens"), rate = value(o, "tokens_per_s");
	enum moe_err err = MOE_OK;

	if (!json_is_object(o) || !(tokens > 0)) {
		err = moe_fail(d, MOE_EINPUT, "line %zu: expected a line of a training log, an object with tokens", q->now.line);
	} else if (json_is_true(json_object_get(o, "dev"))) {
		err = evaluation(q, o, d);
	} else {
		q->seconds += rate > 0 ? (tokens - q->tokens) / rate : NAN;
		q->tokens = tokens;
	}
	json_decref(o);
	return err;
}

/* FLOPs of training for a token, as moe-train tells them: of the largest pictures, and of texts as long as the recipe's first stage has them. Nothing is known
 * without a recipe. */
static enum moe_err count_flops(double *flops, const struct moe_spec *s, const json_t *recipe, struct moe_diag *d)
{
	const json_t *stage = json_array_get(json_object_get(recipe, "stages"), 0), *text = json_object_get(stage, "text_tokens");
	const char *trains = json_string_value(json_object_get(stage, "train"));
	struct moe_flops f;

	if (!json_is_integer(text) || json_integer_value(text) < 1)
		return MOE_OK;
	MOE_TRY(moe_spec_flops(&f, s, moe_spec_largest_patches(s), (size_t)json_integer_value(text), d));
	*flops = moe_flops_training(&f, trains && !strcmp(trains, "aux"));
	return MOE_OK;
}

/* What is not known yet of N, S and FLOPs, from the model as it is at the end or was at the start. */
static enum moe_err read_model(struct moe_run_draft *w, struct moe_runs *r, const char *folder, const json_t *recipe, const struct moe_runs_options *o,
			       struct moe_diag *d)
{
	const char *path = moe_runs_beside(r, folder, "model");
	struct moe_sizes sizes;
	struct moe_spec *s;
	enum moe_err err;

	if (path && access(path, F_OK))
		path = moe_runs_beside(r, folder, "start");
	if (!path)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	if (access(path, F_OK))
		return MOE_OK;
	MOE_TRY(moe_spec_load(&s, &(struct moe_spec_options){.directory = path, .families = o->families, .config_only = true}, d));
	err = moe_spec_sizes(s, &sizes, d);
	if (!err && isnan(w->flops_per_token))
		err = count_flops(&w->flops_per_token, s, recipe, d);
	if (!err && isnan(w->n))
		w->n = (double)sizes.active;
	if (!err && isnan(w->s))
		w->s = s->router.experts > 1 ? 1 - moe_router_capacity(&s->router) / (double)s->router.experts : 0;
	moe_spec_free(s);
	return err;
}

/* What the folder of a run says of it. */
static enum moe_err read_folder(struct moe_run_draft *w, struct moe_runs *r, const char *folder, const struct moe_runs_options *o, struct moe_diag *d)
{
	const char *path = moe_runs_beside(r, folder, "recipe.json");
	json_t *recipe = path ? json_load_file(path, 0, NULL) : NULL, *seed = json_object_get(recipe, "seed");
	enum moe_err err;

	if (!w->seeded && json_is_integer(seed)) {
		w->seed = json_integer_value(seed);
		w->seeded = true;
	}
	err = read_model(w, r, folder, recipe, o, d);
	json_decref(recipe);
	return err;
}

enum moe_err moe_runs_log_text(struct moe_runs *r, const char *text, size_t n, const char *path, struct moe_run_draft w, const struct moe_runs_options *o,
			       struct moe_diag *d)
{
	struct reader q = {.runs = r, .options = o};
	const char *folder = moe_runs_folder(r, path), *end;

	if (!folder)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	MOE_TRY(moe_runs_path(r, path, d));
	w.file = r->n_paths - 1;
	w.run = w.run ? w.run : path;
	w.line = 0;
	MOE_TRY(read_folder(&w, r, folder, o, d));
	if (isnan(w.n) && !o->unsized)
		return moe_fail(d, MOE_EINPUT, "N, the parameters that a token passes, is not known: there is no model beside the log, and no table says it");
	q.now = w;
	for (const char *line = text; (end = memchr(line, '\n', n - (size_t)(line - text))); line = end + 1) {
		q.now.line++;
		MOE_TRY(read_line(&q, line, (size_t)(end - line), d));
	}
	if (!q.any)
		return moe_fail(d, MOE_EINPUT, "no evaluations: the run was trained without data to evaluate on (moe-train --dev)");
	return o->last ? moe_runs_add(r, &q.last, o, d) : MOE_OK;
}
