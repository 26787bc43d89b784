/* A conversation at the terminal: moe-run -i. */
#ifndef MOE_CMD_CONVERSE_H
#define MOE_CMD_CONVERSE_H

#include "common/cli.h"
#include "stage/patchify.h"
#include "stage/reply.h"
#include "stage/tracing.h"

struct converse {
	const struct moe_model *model;
	struct moe_tokenizer *tokenizer;
	const struct moe_generation *generation;
	struct moe_pool *pool;
	const char *system;             /* or NULL: as the family has it */
	char **picture;                 /* [n_pictures] paths, shown with the first message */
	int n_pictures;
	bool no_sandbox;
	const struct moe_image_choice *image;   /* how pictures are prepared */
	struct moe_tracing *tracing;    /* or NULL; each conversation is a sequence */
};

/* Reads messages from standard input until it ends; returns the exit status. */
int converse_run(const struct converse *c);

#endif
