/* How much memory a run takes, before it takes any. */
#ifndef MOE_MODEL_PLAN_H
#define MOE_MODEL_PLAN_H

#include "model/model.h"

/* What is going to be done: all layers, for so many sequences at once. */
struct moe_plan_options {
	uint64_t tokens;        /* rows of a sequence, patches and generated tokens included */
	uint64_t sequences;     /* 0: 1 */
	uint64_t patches;       /* of the largest picture; 0: no pictures */
	bool whole;             /* all rows of all sequences go through the layers together, as where a batch is chosen among */
};

/* Bytes. */
struct moe_plan {
	uint64_t weights;       /* pages of the files that will be read; of the embedding only the rows of the tokens, of the tower all if there are pictures */
	uint64_t cache;         /* keys and values */
	uint64_t scratch;       /* hidden states and what the largest step makes of them, the logits, and the program itself */
	uint64_t total;
};

enum { MOE_PASS_ROWS = 512 };   /* rows of a prompt that go through the layers at a time, at least */

/* What is to be taken from now on: weights that are packed in memory already count no more.
 * m->weights may be NULL (config.json alone): then the weights are taken to be of the type that the configuration names. */
enum moe_err moe_plan_make(struct moe_plan *out, const struct moe_model *m, const struct moe_plan_options *o, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
