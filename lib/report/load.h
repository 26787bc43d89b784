/* Statistics of routing: which experts the tokens of each modality went to. */
#ifndef MOE_REPORT_LOAD_H
#define MOE_REPORT_LOAD_H

#include <stdio.h>

#include "stats/routing.h"

/* Sums over the tokens of one layer; all parts are there. */
struct moe_load {
	size_t experts, k;
	const char *choice;             /* who chooses (moe.choice): "token", or what the caller has set, which is not copied */
	uint16_t *id;                   /* some rows' choices */
	struct moe_routing sums;        /* with one layer */
};

enum moe_err moe_load_init(struct moe_load *l, size_t experts, size_t k, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_load_free(struct moe_load *l);

/* The part of a modality. */
static inline const struct moe_routing_part *moe_load_part(const struct moe_load *l, unsigned modality) { return l->sums.layer->part[modality]; }

/* Adds `rows` tokens: modality [rows], logit [rows][experts] (may be NULL), expert_id and weight [rows][k], depth [rows], 0 where a token skips the layer
 * (NULL: none does). */
void moe_load_add(struct moe_load *l, size_t rows, const uint8_t *modality, const float *logit, const int32_t *expert_id, const float *weight,
		  const uint8_t *depth);

/* Adds what `from` holds, of the same experts. */
void moe_load_join(struct moe_load *l, const struct moe_load *from);

/* What is printed of a part, or of all together (parts = NULL). Entropies are shares of the largest possible, log(experts);
 * where tokens have pools, that of the router of log(pool). */
struct moe_load_summary {
	uint64_t tokens, choices, passed;
	double load_entropy, router_entropy, busiest, mean_weight, mean_margin, least_margin, per_token, without;
	size_t unused, busiest_expert;
};

enum moe_load_format { MOE_LOAD_TEXT, MOE_LOAD_JSON, MOE_LOAD_TSV };

/* Prints one layer; bars in the text when `bars`. TSV: one line for each modality and expert, which repeats what is said of the modality as a
 * whole; with the header line when `header`. */
enum moe_err moe_load_print(FILE *f, const struct moe_load *l, size_t layer, enum moe_load_format format, bool bars, bool header, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
