/* How likely a model finds a text: the log-probability of each token given those before it. */
#ifndef MOE_RUN_SCORE_H
#define MOE_RUN_SCORE_H

#include "run/session.h"

struct moe_text_score {
	size_t tokens, scored;          /* of the text; the first of them has none before it, unless the tokenizer puts one there */
	double logprob;                 /* sum over those that are scored, natural logarithm, over all tokens of the vocabulary */
	float *token_logprob;           /* [tokens], the first 0; the caller's, or NULL */
};

/* Scores n tokens in an empty session. Memory does not grow with the vocabulary times n. MOE_EINPUT when a log-probability is not finite. */
enum moe_err moe_score_run(struct moe_text_score *out, struct moe_session *s, const int32_t *token, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
