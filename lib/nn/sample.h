/* Choosing the next token.
 *
 * The logits pass, in this order and each only if asked for: the tokens that may not be generated; the repetition penalty; the temperature; the k
 * largest; the smallest set of probability p; all that has at least min-p times the largest probability. Then one is drawn. These are the
 * processors of transformers (generation/logits_process.py: RepetitionPenalty, Temperature, TopK, TopP, MinP) in its order. */
#ifndef MOE_NN_SAMPLE_H
#define MOE_NN_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

/* Zeroed: the most likely token, always. */
struct moe_sampling {
	double temperature;     /* 0: greedy */
	int64_t top_k;          /* 0: all; ties of the k-th stay */
	double top_p, min_p;    /* 0 or 1, and 0: all */
	double repetition_penalty;      /* 0 or 1: none. Logits of tokens that were there before are divided by it, or multiplied when negative (Keskar et al. 2019) */
	uint64_t seed;
};

struct moe_choice {
	int32_t token;
	float logprob;          /* log softmax of the model's own logits over the tokens that are allowed */
};

/* Chooses from n logits. `suppress` [n] marks tokens that are not allowed, `seen` [n] those that were there before; either may be NULL. The draw is
 * number `step` of the sequence: it depends on the seed and these two numbers alone. A logit that is NaN or +inf, or nothing allowed, fails. Ties: the lowest
 * id. */
enum moe_err moe_choose(const float *logit, size_t n, const bool *suppress, const bool *seen, const struct moe_sampling *s, uint64_t sequence, uint64_t step,
			struct moe_arena *scratch, struct moe_choice *out, struct moe_diag *d) MOE_CHECK_RESULT;

/* The most likely of n logits. */
enum moe_err moe_choose_greedy(const float *logit, size_t n, const bool *suppress, float *scratch, struct moe_choice *out, struct moe_diag *d) MOE_CHECK_RESULT;

/* The k most likely allowed tokens by falling log-probability (ties: the lower id first); returns how many there are. */
size_t moe_choose_best(const float *logit, size_t n, const bool *suppress, size_t k, float *scratch, struct moe_choice *out);

/* log softmax(logit)[token] over all n tokens. */
double moe_logprob(const float *logit, size_t n, size_t token, float *scratch);

#endif
