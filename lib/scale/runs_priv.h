/* What the readers of tables and of logs share. */
#ifndef MOE_SCALE_RUNS_PRIV_H
#define MOE_SCALE_RUNS_PRIV_H

#include "scale/runs.h"

/* A measurement that is being read: what is not known is NAN, and its names are not numbers yet. */
struct moe_run_draft {
	double n, d, s, flops, flops_per_token, seconds, measure[MOE_RUN_MEASURES];
	int64_t seed;
	bool seeded;
	const char *arm;                /* NULL: "" */
	const char *run;                /* NULL: a run of its own */
	size_t file, line;
};

/* Nothing is known. */
void moe_run_draft_init(struct moe_run_draft *w, size_t file, size_t line);

/* The number of a measure, which is added if it is new. */
enum moe_err moe_runs_measure(struct moe_runs *r, size_t *number, const char *name, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;

/* Adds a whole measurement: N (unless it may be missing) and D are there. */
enum moe_err moe_runs_add(struct moe_runs *r, const struct moe_run_draft *w, const struct moe_runs_options *o, struct moe_diag *d) MOE_CHECK_RESULT;

/* Adds what a log, or the folder of a run, has. `given`: what is known beforehand, and takes precedence. */
enum moe_err moe_runs_log(struct moe_runs *r, const char *path, const struct moe_run_draft *given, const struct moe_runs_options *o,
			  struct moe_diag *d) MOE_CHECK_RESULT;

/* Adds n bytes of a log; `path` is told of in messages, and w's run, unless it has one. */
enum moe_err moe_runs_log_text(struct moe_runs *r, const char *text, size_t n, const char *path, struct moe_run_draft w, const struct moe_runs_options *o,
			       struct moe_diag *d) MOE_CHECK_RESULT;

/* Adds n bytes of a table, and a NUL, which are changed. */
enum moe_err moe_runs_table(struct moe_runs *r, char *text, size_t n, const char *path, const struct moe_runs_options *o, struct moe_diag *d) MOE_CHECK_RESULT;

/* Adds a path; its number is r->n_paths - 1 then. */
enum moe_err moe_runs_path(struct moe_runs *r, const char *path, struct moe_diag *d) MOE_CHECK_RESULT;

/* The folder of a path, in the arena; NULL without memory. */
const char *moe_runs_folder(struct moe_runs *r, const char *path);

/* folder/name in the arena, or name where it is absolute; NULL without memory. */
const char *moe_runs_beside(struct moe_runs *r, const char *folder, const char *name);

#endif
