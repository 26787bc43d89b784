/* Models that are asked the questions of data shards: moe-eval and moe-ablate. */
#ifndef MOE_CMD_ASKING_H
#define MOE_CMD_ASKING_H

#include "common/cli.h"
#include "eval/evaluate.h"

/* Values of the options below. */
extern struct asking_options {
	const char *types;
	bool chat, no_sandbox;
	long limit, max_new;
} asking_options;

#define OPT_ASKING \
	{0, "limit", OPT_INT, &asking_options.limit, "N", "ask of the first N samples only", 1, 1e12, "all"}, \
	{0, "types", OPT_TEXT, &asking_options.types, "LIST", "ask only questions of these types, separated by commas", 0, 0, "all"}, \
	{0, "chat", OPT_FLAG, &asking_options.chat, 0, "prompts are turns of the user in the family's chat format", 0, 0, 0}, \
	{'n', "max-new", OPT_INT, &asking_options.max_new, "N", "at most N new tokens per answer", 1, 1e6, "the model's own limit"}, \
	{0, "no-sandbox", OPT_FLAG, &asking_options.no_sandbox, 0, "decode even where the kernel cannot confine the decoder", 0, 0, 0}

/* A model with all that it answers with, and what came of it. */
struct asking {
	struct moe_model *m;
	struct moe_tokenizer *t;
	struct moe_generation g;
	struct moe_evaluation e;
};

/* The beginning of main: starts what decodes pictures, reads the options and looks at the sources, of which there must be one. Standard input is refused when
 * it is a terminal, and as one of several. Returns where in argv the sources begin. */
int asking_start(const struct tool *tool, int argc, char **argv);

/* Opens the model of -m, or `path`; afterwards that of -m is the program's again. */
void asking_open(struct asking *a, const char *path, struct moe_pool *pool);

/* Asks what is in the n sources; of *o, what the options above say and who is told is filled in. Broken samples are told of, but for `told`: they have been.
 * Dies when there is no question. */
void asking_run(struct asking *a, char **path, int n, struct moe_evaluate_options o, bool told);

void asking_free(struct asking *a);

#endif
