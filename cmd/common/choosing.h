/* Who chooses, in models that choose over groups of rows (model/choosing.h). */
#ifndef MOE_CMD_CHOOSING_H
#define MOE_CMD_CHOOSING_H

#include "common/cli.h"

/* Values of the options below. */
extern struct choosing_options {
	long batch;                     /* 0: not given */
	const char *causal;
} choosing_options;

#define OPT_CHOOSING \
	{0, "batch-choice", OPT_INT, &choosing_options.batch, "N", "analysis: experts and layers choose among the rows of N whole sequences, as in training", \
	 1, 4096, 0}, \
	OPT_CAUSAL
#define OPT_CAUSAL \
	{0, "causal-choice", OPT_TEXT, &choosing_options.causal, "AT", "where auxiliary routers choose: aux (at one half) or threshold (what the model has stored)", \
	 0, 0, "threshold, if stored"}

/* Has the model choose as the options say; dies when it cannot. */
void choosing_apply(struct moe_model *m);

#endif
