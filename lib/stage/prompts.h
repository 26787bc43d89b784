/* moe-tokenize: the source of a stream. Writes the head, one `tokens` frame per prompt, and the end; with a loop it is the ring's only source
 * and owns its window (moe-stream(5), "Generation"). */
#ifndef MOE_STAGE_PROMPTS_H
#define MOE_STAGE_PROMPTS_H

#include "stage/stage.h"

/* One prompt, valid until the next is asked for. */
struct moe_prompt {
	const char *name;               /* NULL: none */
	const int32_t *token;
	size_t n;
};

struct moe_prompts {
	/* Gives the next prompt; MOE_END after the last. */
	enum moe_err (*next)(void *self, struct moe_prompt *p, struct moe_diag *d);
	void *self;
	const struct moe_spec *spec;
	struct moe_identity id;         /* of the head frame */
	const char *logits;             /* moe.logits: none, last, all */
	bool generate;
	const char *loop;               /* FIFO that moe-decode writes to; NULL: no ring */
	size_t window;                  /* sequences inside the ring at once */
};

enum moe_err moe_prompts_run(struct moe_prompts *p, struct moe_output *out, struct moe_diag *d) MOE_CHECK_RESULT;

/* A head frame as a source writes it. */
enum moe_err moe_head_make(struct moe_frame *f, const struct moe_identity *id, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
