/* An answer: what a sequence became. Made by moe-decode and moe-run, printed by report. */
#ifndef MOE_STAGE_ANSWER_H
#define MOE_STAGE_ANSWER_H

#include <stddef.h>
#include <stdint.h>

#include "nn/sample.h"
#include "text/tokenizer.h"

/* Why it ended: at the limit of tokens, by an end token, by a stop string. */
enum moe_finish { MOE_FINISH_LENGTH, MOE_FINISH_END, MOE_FINISH_STOP };

struct moe_answer {
	const char *name;               /* NULL: the only one, without a name */
	const char *prompt;             /* the prompt's text where there are several; else NULL */
	const char *error;              /* why there is none; then only name and prompt count */
	const char *text;               /* n_text bytes, NUL behind; without the stop string that ended it */
	size_t n_text;
	struct moe_ids ids;             /* generated, an end token or stop string included */
	double logprob;                 /* sum over them */
	size_t n_prompt;                /* rows of the prompt, features of pictures included */
	enum moe_finish finish;
	bool suppresses;                /* some tokens may not be generated: log-probabilities are over the others */
	const struct moe_choice *token; /* [ids.n], or NULL: not wanted */
	const struct moe_choice *best;  /* [ids.n][n_best] */
	size_t n_best;
	const struct moe_tokenizer *tokenizer;  /* for the texts of single tokens */
};

#endif
