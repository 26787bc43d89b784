/* Runs: what was trained, for how long, and what came of it, from tables and from the logs of trainings.
 *
 * A table is text: a header line with the names of its columns, then a line for each measurement, fields separated by tabs. Empty lines and lines that begin
 * with # are passed over; so are columns whose names begin with #. Columns with a meaning:
 *
 *     N        parameters that a token passes           arm      what the run is an example of: "dense"
 *     D        tokens of training until then            seed     a whole number; runs of different arms with the same one are a pair
 *     S        share of the experts not passed          run      a name; lines with the same one (and arm and seed) are of one run
 *     flops    FLOPs of training until then             log      the log of a run (below), beside the table unless the path is absolute
 *     seconds  time of training until then           flops_per_token    of training, where flops are not told
 *
 * All others are measures (loss, text, image): numbers, empty where there is none. Without any flops a run has spent 6 N D.
 *
 * A log is a file of moe-train, or the folder of a run with its log.jsonl; its evaluations are the measurements. Their keys flops and seconds are taken if
 * they are there, and without seconds the tokens_per_s of the steps. N, S, the seed and the FLOPs of a token (model/flops.h) that no table gives are those of the
 * run's folder: of its model and its recipe. */
#ifndef MOE_SCALE_RUNS_H
#define MOE_SCALE_RUNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

enum { MOE_RUN_MEASURES = 64 };

struct moe_run_at {
	double n, d, s, flops, seconds; /* s: 0 and seconds: NAN where it is not known */
	size_t run, arm;                /* numbers of their names */
	int64_t seed;
	bool seeded;                    /* false: it has none, and is paired with no other */
	size_t file, line;              /* where it stands: number of the path, and of the line from 1 on */
	double *measure;                /* [n_measures of the set, or fewer: moe_run_measure] */
	size_t n_measures;
};

struct moe_runs {
	struct moe_run_at *at;          /* in the order in which they were read */
	size_t n, cap;
	const char *measure[MOE_RUN_MEASURES], **name, **arm, **path;
	size_t n_measures, n_names, n_arms, n_paths, name_cap, arm_cap, path_cap;
	bool counted;                   /* flops were given for every measurement; else some are 6 N D */
	struct moe_arena memory;
};

struct moe_runs_options {
	const char *families;           /* folder of family files, for the models of runs (moe_spec_options) */
	bool last;                      /* the last evaluation of each log alone */
	bool unsized;                   /* N may be missing (NAN) where nothing is made of it */
};

/* Adds a table, a log, or the folder of a run. `path` may be "-", a table on standard input. `arm`, unless it is NULL, is the arm of logs. MOE_EINPUT with
 * file and line for what is wrong there. A last line of a log that is cut short is passed over. */
enum moe_err moe_runs_read(struct moe_runs *r, const char *path, const char *arm, const struct moe_runs_options *o, struct moe_diag *d) MOE_CHECK_RESULT;

/* The same from n bytes and a NUL, which are changed; `path` says where they lie, "-" nowhere. */
enum moe_err moe_runs_parse(struct moe_runs *r, char *text, size_t n, const char *path, const char *arm, const struct moe_runs_options *o,
			    struct moe_diag *d) MOE_CHECK_RESULT;

void moe_runs_free(struct moe_runs *r);

/* Leaves the arms that `keep` [n_arms] says, in their order. */
void moe_runs_keep(struct moe_runs *r, const bool *keep);

/* The number of a measure by its name; SIZE_MAX: there is none. */
size_t moe_runs_find(const struct moe_runs *r, const char *measure);

/* NAN where it has none. */
double moe_run_measure(const struct moe_run_at *a, size_t measure);

/* Do two measurements belong together: to one arm, and one seed, or, without a seed, to one run? */
bool moe_runs_together(const struct moe_run_at *a, const struct moe_run_at *b);

/* MOE_EINPUT when measurements i and j, which belong together, are of models of different size. */
enum moe_err moe_runs_alike(const struct moe_runs *r, size_t i, size_t j, struct moe_diag *d) MOE_CHECK_RESULT;

/* "PATH, line 3", for messages. */
const char *moe_run_place(const struct moe_runs *r, const struct moe_run_at *a, char to[300]);

#endif
