/* The head over rows that have a target: final norm, logits, cross entropy, and their backward pass at once, since nothing behind them is waited for. */
#ifndef MOE_GRAD_HEAD_GRAD_H
#define MOE_GRAD_HEAD_GRAD_H

#include "grad/dense.h"

struct moe_head {
	const float *norm;              /* [hidden] */
	float eps;
	const struct moe_dense *dense;  /* [vocab][hidden] */
};

/* What another head says of the same rows, to be learned beside the targets. */
struct moe_soft {
	const struct moe_head *head;    /* with as many tokens */
	const float *x;                 /* its rows, by the same numbers */
	float tau;                      /* temperature */
	float scale;                    /* as that of the targets */
	double loss;                    /* += sum of weight · tau² · KL (kernel/train.h) */
	void *scratch;                  /* of that head */
};

/* Rows with a target: numbers of rows of x, tokens, and the weights that their losses have. */
struct moe_targets_of {
	size_t n;
	const uint32_t *row;
	const int32_t *token;
	const float *weight;
	struct moe_soft *soft;          /* or NULL */
};

/* What the rows say; either may be NULL. */
struct moe_predicted {
	int32_t *best;                  /* [n]: the most likely token */
	float *logprob;                 /* [n]: of the target */
};

enum { MOE_HEAD_ROWS = 128 };           /* at a time */

/* Bytes of scratch. */
size_t moe_head_scratch(const struct moe_head *h);

/* Returns the sum of -weight · log p(target). With dx: dx [rows of x][hidden] += the gradient of `scale` times that sum, and of the soft targets' times theirs;
 * and dnorm, ddense += those of the weights. */
double moe_head_loss(const struct moe_head *h, const float *x, const struct moe_targets_of *t, float scale, float *dx, float *dnorm, float *ddense,
		     const struct moe_predicted *out, void *scratch);

#endif
