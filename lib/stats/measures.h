/* What the sums of routing say, each figure beside its chance level: what it is when every token chooses evenly among the experts of its pool. Definitions
 * and their sources stand in moe-stats(1). Pure functions of counts; any thread. */
#ifndef MOE_STATS_MEASURES_H
#define MOE_STATS_MEASURES_H

#include "stats/routing.h"

/* How evenly a load lies on experts. */
struct moe_evenness {
	double entropy;                 /* H(load) / log(pool), 0 to 1 */
	double effective;               /* exp(H(load)): effective number of experts */
	double participation;           /* 1 / sum of squared shares: another one */
	double max_vio;                 /* largest load over the mean, less 1 (Wang et al. 2024) */
	double cv2;                     /* (standard deviation over mean) squared (Shazeer et al. 2017) */
	double busiest;                 /* largest share */
	size_t busiest_expert;
};

/* Of load [experts], over the experts that are eligible. */
void moe_evenness(struct moe_evenness *out, const double *load, const struct moe_routing_part *p, size_t experts);

/* One modality, or all together, in one layer. Where there is nothing to measure a figure is NaN. */
struct moe_measures {
	uint64_t tokens, passed, choices, scored;
	size_t pool;                    /* experts in any token's pool */
	struct moe_evenness load, chance;
	double cv2_random;              /* mean of cv2 when as many tokens choose at random */
	size_t unused;                  /* experts of the pool without a token */
	double unused_chance;           /* their mean when tokens choose at random */
	double router_entropy;          /* mean of H(p) / log(size of the pool); chance 1 */
	double mass, mass_chance;       /* mean of the sum of p over the chosen */
	double mean_weight;             /* of a choice */
	double mean_margin, least_margin, mean_logit_margin, least_logit_margin;
	double without;                 /* share of tokens without an expert */
	double without_chance;          /* where experts choose: when each takes tokens at random; else NaN */
};

enum moe_err moe_measure(struct moe_measures *out, const struct moe_routing *r, const struct moe_routing_part *p, struct moe_diag *d) MOE_CHECK_RESULT;

/* Experts that two modalities use most: intersection over union of the quarter of the pool, rounded up, with the largest loads (ERNIE 5.0). Where loads
 * are equal at the border, the mean over all ways to draw it. `chance`: of two random quarters. */
struct moe_overlap { double value, chance; };
enum moe_err moe_overlap(struct moe_overlap *out, const struct moe_routing_part *a, const struct moe_routing_part *b, size_t experts,
			 struct moe_diag *d) MOE_CHECK_RESULT;

/* How much experts and labels say of each other. `count` [n_labels][experts]: tokens of a label that an expert got; `tokens` [n_labels]. Permutation levels
 * are means over all permutations of the tokens' labels, exact: then a count is hypergeometric. */
struct moe_specialisation {
	double score;                   /* mean over used experts of 1 - H(labels of its tokens) / log(labels); with two labels that of Shukor et al. 2025 */
	double score_even;              /* of even routing: 1 - H(labels) / log(labels) */
	double score_chance;            /* mean over permutations */
	double information;             /* I(expert; label) in nats */
	double information_chance;      /* mean over permutations: its bias */
	double label_entropy;           /* H(label) in nats */
	double share;                   /* (information - information_chance) / label_entropy, NaN where that is 0 */
};

enum moe_err moe_specialise(struct moe_specialisation *out, const uint64_t *count, const uint64_t *tokens, size_t n_labels, size_t experts,
			    struct moe_diag *d) MOE_CHECK_RESULT;

/* Of a layer, with the labels text and everything else, and with the modalities as labels. */
enum moe_err moe_specialise_modality(struct moe_specialisation *of_text, struct moe_specialisation *of_modalities, const struct moe_routing_layer *l,
				     size_t experts, struct moe_diag *d) MOE_CHECK_RESULT;

/* The same of the experts of two layers: table [experts][experts] of tokens that have both, and the layers' counts, over `tokens` tokens. */
struct moe_pairing { double information, chance; };    /* nats; mean over permutations */
void moe_pair(struct moe_pairing *out, const uint64_t *table, const uint64_t *here, const uint64_t *next, uint64_t tokens, size_t experts);

/* E[X log X] of X hypergeometric: `drawn` of `all` things, of which `marked` are marked; 0 log 0 = 0. */
double moe_hypergeometric_xlogx(uint64_t all, uint64_t marked, uint64_t drawn);

#endif
