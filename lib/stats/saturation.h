/* Router saturation: how many of a token's experts in one run it also has in another, on the same tokens; of a checkpoint against the last one,
 * as Muennighoff et al. 2024 (OLMoE, section 5.1) measure when routing settles. */
#ifndef MOE_STATS_SATURATION_H
#define MOE_STATS_SATURATION_H

#include "stats/routing.h"

struct moe_saturation_part {
	uint64_t tokens;                /* that have experts in the last run */
	double shared;                  /* sum of |both| / |last| */
	double chance;                  /* sum of what it is when the earlier run chooses as many experts at random */
	uint64_t same_first;            /* tokens with the same first expert */
	double first_chance;
};

struct moe_saturation_layer {
	size_t number;
	struct moe_saturation_part part[MOE_N_MODALITIES];
};

struct moe_saturation {
	struct moe_saturation_layer *layer;     /* [n_layers], ascending */
	size_t n_layers, cap, first, last;      /* first, last: numbers of the layers to keep, set by the caller */
};

void moe_saturation_free(struct moe_saturation *s);

/* Adds a block of each run: the same tokens (else MOE_EMATCH) with the same number of experts, in the layers that both have. */
enum moe_err moe_saturation_add(struct moe_saturation *s, const struct moe_trace_info *info, const struct moe_trace_block *b,
				const struct moe_trace_info *last_info,
				const struct moe_trace_block *last, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
