/* How fast a model reads a prompt and generates, without a tokenizer: token ids are random, but always the same. */
#ifndef MOE_BENCH_PASSES_H
#define MOE_BENCH_PASSES_H

#include "bench/spread.h"
#include "run/session.h"

/* What was measured. Rates are in tokens/s. */
struct moe_bench_pass {
	size_t tokens, rows, repeats;   /* the pass: so many tokens, so many of them at a time */
	double *run;                    /* [repeats] rates, in ascending order */
	struct moe_spread rate;
	double seconds[MOE_N_TIMES];    /* a token, by part, means */
	double flops_per_token;         /* products with weights; attention over the context apart */
	uint64_t weight_nbytes;         /* read for a token where each is a step of its own, in the form that the kernels read; else 0 */
};

/* Appends `tokens` ids to the empty session, `rows` at a time, once to warm up and then `repeats` times. With rows = tokens this is a prompt, of which the
 * last row alone has logits; with rows = 1 it is generation behind an empty context. */
enum moe_err moe_bench_run(struct moe_bench_pass *out, struct moe_session *s, size_t tokens, size_t rows, size_t repeats, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_bench_free(struct moe_bench_pass *p);

/* Bytes of the weights that a generated token reads: packed ones as packed, and of the experts as many as it passes. */
uint64_t moe_bench_weight_nbytes(const struct moe_model *m);

#endif
