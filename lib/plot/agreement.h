/* How often two runs over the same tokens send them to the same experts: sums by layer and modality. */
#ifndef MOE_PLOT_AGREEMENT_H
#define MOE_PLOT_AGREEMENT_H

#include "plot/figure.h"
#include "stats/routing.h"

struct moe_agreement_part {
	uint64_t tokens, first, all;            /* tokens of which both runs know the experts; with the same first expert; with the same experts in any order */
	uint64_t *count[2];                     /* [experts] each: tokens by first expert, in either run */
};

struct moe_agreement {
	size_t first, last;                     /* numbers of the layers to compare; set by the caller, 0 and SIZE_MAX for all */
	size_t experts, n_layers, k[2];
	size_t *number;                         /* [n_layers]: those that both have */
	struct moe_agreement_part *part;        /* [n_layers][MOE_N_MODALITIES] */
	bool begun;
	uint64_t left_out;                      /* tokens of blocks of other tokens */
};

/* Adds a block of each run; MOE_EMATCH where they have other numbers of experts. Blocks of other tokens, or of other places in their sequences, are counted
 * as left out. */
enum moe_err moe_agreement_add(struct moe_agreement *g, const struct moe_trace_info *ia, const struct moe_trace_block *a, const struct moe_trace_info *ib,
			       const struct moe_trace_block *b, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_agreement_free(struct moe_agreement *g);

/* Layers, by modality: the shares of tokens with the same first expert and with all the same, beside chance: that of first experts, were the two runs
 * independent. */
enum moe_err moe_plot_agreement(struct moe_figure *f, const struct moe_agreement *g, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
