/* Scores of texts: moe-run --score. */
#ifndef MOE_CMD_SCORES_H
#define MOE_CMD_SCORES_H

#include "common/cli.h"
#include "stage/tracing.h"
#include "text/tokenizer.h"

struct scores {
	const struct moe_model *model;
	struct moe_tokenizer *tokenizer;
	struct moe_pool *pool;
	bool lines;             /* each line of the file is a text of its own */
	bool json, logprobs;
	struct moe_tracing *tracing;    /* or NULL; each text is a sequence */
};

/* Scores the file ("-": standard input) and prints to `f`. Dies on a failure. */
void scores_print(const struct scores *s, const char *path, FILE *f);

#endif
