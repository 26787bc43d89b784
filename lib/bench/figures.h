/* Measurements as rows of a table, or each as one JSON object on a line. A failure to write stays in the state of the file. */
#ifndef MOE_BENCH_FIGURES_H
#define MOE_BENCH_FIGURES_H

#include <stdio.h>

#include "bench/passes.h"
#include "bench/products.h"
#include "bench/training.h"

struct moe_figures {
	FILE *f;
	bool json;
	unsigned threads;
};

/* Of a model: the head of the table, a test, and what stands below; the head and the end are not for JSON, where each row has all. */
void moe_figures_model(const struct moe_figures *to, const struct moe_model *m, size_t repeats);
void moe_figures_pass(const struct moe_figures *to, const char *test, const struct moe_bench_pass *p, const struct moe_model *m);
void moe_figures_memory(const struct moe_figures *to, const struct moe_model *m);

/* The peaks, with the head of the table of products, and a product of m rows. */
void moe_figures_peaks(const struct moe_figures *to, const struct moe_peaks *peaks);
void moe_figures_product(const struct moe_figures *to, const struct moe_bench_weights *w, size_t m, const struct moe_product *p, const struct moe_peaks *peaks);

/* Training, beside the peak of what its products are made of. */
void moe_figures_training(const struct moe_figures *to, const struct moe_bench_training *t, const struct moe_bench_training_options *o,
			  const struct moe_peaks *peaks);

#endif
