/* Choosing the next token. */
#ifndef MOE_NN_SAMPLE_H
#define MOE_NN_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct moe_choice {
	int32_t token;
	float logprob;          /* log softmax over the tokens that are allowed */
};

/* The allowed token with the largest of n logits (ties: the lowest id). `suppress` [n] marks tokens that are not allowed, or NULL. `scratch`
 * has room for n floats. A NaN, or nothing allowed, fails. */
enum moe_err moe_choose_greedy(const float *logit, size_t n, const bool *suppress, float *scratch, struct moe_choice *out, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
