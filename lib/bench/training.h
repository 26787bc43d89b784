/* How fast a model is trained, on sequences of random numbers that are as long as those of real data: a picture, and questions about it. */
#ifndef MOE_BENCH_TRAINING_H
#define MOE_BENCH_TRAINING_H

#include "bench/spread.h"
#include "kernel/gemm.h"
#include "model/model.h"
#include "sys/pool.h"

struct moe_bench_training_options {
	enum moe_unit unit;
	bool adamw;                     /* the optimiser for everything, instead of Muon for the matrices of the layers */
	size_t sequences, repeats;      /* of a step; steps that are measured, after one to warm up */
	size_t text;                    /* tokens of text of a sequence, in questions of 6 to 12 */
};

struct moe_bench_training {
	struct moe_spread rate;         /* tokens/s of whole steps, optimiser included */
	size_t tokens;                  /* of a step */
	double optimiser;               /* its share of the time */
	double flops_per_token;         /* model/flops.h, forward and backward; the optimiser apart */
};

enum moe_err moe_bench_training_run(struct moe_bench_training *out, struct moe_model *m, const struct moe_bench_training_options *o, struct moe_pool *pool,
				    struct moe_diag *d) MOE_CHECK_RESULT;

/* A description (train/create.h) of the size that training is measured with unless another is asked for: 128 hidden, 4 layers, 8 experts of 192, top-2. */
extern const char moe_bench_description[];

#endif
