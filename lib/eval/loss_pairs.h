/* Losses of a model on samples that it has not learned from, as training computes them: with their own pictures, and each with that of the sample before it. What
 * a model knows of a text without its picture, or of a picture without its text, costs the same in both. Samples that are no good are passed over in both; those
 * behind them may then stand in other batches. */
#ifndef MOE_EVAL_LOSS_PAIRS_H
#define MOE_EVAL_LOSS_PAIRS_H

#include "data/shards.h"
#include "train/net.h"

struct moe_losses_options {
	const char *const *path;        /* [n_paths], as moe_shard_open takes them, in order; read once for each pass */
	size_t n_paths;
	uint64_t limit;                 /* samples at most; 0: all */
	size_t batch, text_tokens;      /* samples of a batch; most rows of text of one */
	double draw;                    /* share of the samples that are a caption and then its picture (data/packer.h) */
	bool no_sandbox;
	struct moe_pool *pool;
	void (*failed)(void *self, const struct moe_diag *d);   /* told of samples that are no good, in the first pass; may be NULL */
	void *self;
};

/* Means over the targets of a kind; 0 targets: there were none. */
struct moe_loss_pair {
	uint64_t targets;
	double own, other;
	double error;                   /* standard error of other - own, from the differences of the batches; 0: fewer than two batches */
};

struct moe_losses {
	const char *choice;             /* moe.choice of who chose, or NULL for models in which every row chooses for itself */
	uint64_t samples, failed;
	struct moe_loss_pair text, image;
};

enum { MOE_MOST_LOSSES = 3 };

/* One for each way in which the model can choose: the batch (batch:N), and its auxiliary routers (causal:aux, causal:threshold); n of them. Products are in f32.
 * MOE_EUSAGE for a model with parts that have no training, or without samples. Strings are static or the model's. */
enum moe_err moe_losses_run(struct moe_losses out[MOE_MOST_LOSSES], size_t *n, struct moe_model *m, const struct moe_losses_options *o, struct moe_diag *d)
	MOE_CHECK_RESULT;

#endif
