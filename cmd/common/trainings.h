/* Runs of trainings, for programs that compare them. */
#ifndef MOE_CMD_TRAININGS_H
#define MOE_CMD_TRAININGS_H

#include "common/opt.h"
#include "scale/runs.h"

enum { MOST_LOSSES = 16 };

/* Values of the rows below. */
extern struct trainings_options {
	const char *loss, *arms, *evaluations;
} trainings_options;

#define OPT_TRAININGS \
	{0, "loss", OPT_TEXT, &trainings_options.loss, "NAMES", "the measures, separated by commas", 0, 0, "those of loss, text, image and patch that are there"}, \
	{0, "arms", OPT_TEXT, &trainings_options.arms, "NAMES", "only these arms, separated by commas", 0, 0, "all"}, \
	{0, "evaluations", OPT_TEXT, &trainings_options.evaluations, "WHICH", "of each log: last or all", 0, 0, "all for eta and table, else last"}

struct trainings {
	struct moe_runs runs;
	size_t measure[MOST_LOSSES], n_measures;        /* those that are asked for */
};

/* Reads n operands, [ARM=]RUN, or standard input where there are none. `last`: the last evaluation of each log, unless --evaluations says otherwise;
 * `unsized`: N may be missing. */
void trainings_read(struct trainings *t, char **path, int n, bool last, bool unsized);

/* The measures of --loss, or the usual ones. */
void trainings_choose(struct trainings *t);

/* The arm with this name, or for NULL that of the first run; dies when there is no other arm beside it. */
size_t trainings_baseline(const struct trainings *t, const char *name);

/* A name of a file, to be freed: {loss} and {arm} in the pattern are replaced. Dies for what cannot stand in a name. */
char *trainings_name(const char *pattern, const char *loss, const char *arm);

void trainings_free(struct trainings *t);

#endif
