/* An answer: what a sequence became. Made by moe-decode and moe-run, printed by report. */
#ifndef MOE_STAGE_ANSWER_H
#define MOE_STAGE_ANSWER_H

#include <stddef.h>
#include <stdint.h>

#include "text/tokenizer.h"

struct moe_answer {
	const char *name;               /* NULL: the only one, without a name */
	const char *error;              /* why there is none; then only name counts */
	const char *text;               /* n_text bytes, NUL behind */
	size_t n_text;
	struct moe_ids ids;             /* generated, an end token included */
	float logprob;                  /* sum over them */
	size_t n_prompt;                /* rows of the prompt, patches included */
};

#endif
