/* The router: one formula with settings.
 *
 *     z = W_r u (+ b_r)               u: the normed row; z are the router logits
 *     s = softmax(z) | sigmoid(z) | z
 *     c = s (+ b_c)                   what is compared; the bias is for the choice only (DeepSeek-V3, eq. 16)
 *     with groups: a group's score is its largest c, or the sum of its two largest; only experts of the best groups remain
 *     I = the k largest of c (ties: the lowest index)
 *     w = s_I | softmax(z_I);  renormalised: w /= sum w + eps;  times a scale
 *
 * (Shazeer et al. 2017; the settings cover OLMoE, Mixtral, Qwen, DeepSeek and others.) What-if settings change it on purpose.
 *
 * With pools (Lin et al. 2024, MoMa, section 2.2), a row sees only the experts of its modality: the logits of the others are -inf, whoever chooses.
 *
 * Where experts choose (Zhou et al. 2022), an expert of a pool of E experts takes k = max(1, floor(T capacity / E + 0.5)) of the pool's T rows, those with
 * the largest s (ties: the lowest row), so that I may be of any size, even none. Rows are then chosen from together, later ones with earlier ones: what is
 * wanted of a sequence that goes on is the choice that auxiliary routers predict (predicted a > threshold), with the same weights. */
#ifndef MOE_NN_ROUTER_H
#define MOE_NN_ROUTER_H

#include <stdbool.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/modality.h"
#include "kernel/kernel.h"

enum moe_score { MOE_SCORE_SOFTMAX, MOE_SCORE_SIGMOID, MOE_SCORE_LOGIT };
enum moe_gate_weight { MOE_WEIGHT_SCORE, MOE_WEIGHT_SOFTMAX_OF_CHOSEN };
enum moe_group_score { MOE_GROUP_MAX, MOE_GROUP_TOP2 };
enum moe_chooser { MOE_CHOICE_TOKEN, MOE_CHOICE_EXPERT };

/* Pools: the experts that the rows of a modality choose among, or that choose among them. Every expert is in one pool; without pools all modalities share
 * all experts. */
enum { MOE_POOLED_EXPERTS = 1024 };
struct moe_pools {
	size_t n;                       /* 0: none; pool m is that of the modality m */
	int64_t size[MOE_N_MODALITIES];
	uint8_t of[MOE_POOLED_EXPERTS]; /* the pool of each expert */
};

struct moe_router_settings {
	int64_t experts, top_k;
	int score, weight;              /* enum moe_score, enum moe_gate_weight */
	bool renormalise, bias, choice_bias;    /* the two biases are weights of the layer */
	int64_t choice_biases;          /* as many of the latter, modality m has number m, others the last; 0 and 1: one for all */
	int64_t groups, top_groups;     /* experts fall into so many equal groups, of which so many remain; 1 and 1: no groups */
	int group_score;                /* enum moe_group_score */
	double eps, scale;
	int chooses;                    /* enum moe_chooser. An expert chooses among the rows of a group (Zhou et al. 2022): those with the largest scores */
	double capacity;                /* experts that choose: how many of them take a row on average (moe_router_quota); 0: top_k */
	int64_t batch;                  /* sequences of such a group in training */
	struct moe_pools pools;
};

/* Changes of the choice for experiments, in the order in which they act; zeroed: none. Arrays are [experts], or NULL. The width of the tables stays the
 * model's top_k: places without an expert are -1. */
struct moe_what_if {
	const float *bias;              /* added to the logits */
	float temperature;              /* logits are divided by it; 0: 1 */
	const bool *drop;               /* never chosen */
	const bool *force;              /* always chosen, first */
	int64_t top_k;                  /* 1 to the model's; 0: the model's */
	const bool *mute;               /* chosen as ever, then left out: the others of the chosen get its weight, in proportion. A row may have nobody left */
	const int32_t *swap;            /* who works in the place of each: a permutation */
};

/* The same for each layer and modality. */
struct moe_what_if_table {
	const struct moe_what_if *row;  /* [layers][MOE_N_MODALITIES] */
	bool by_modality;               /* not all modalities of a layer have the same settings */
};

/* Places of a row in the tables of choices: top_k or, where experts choose, the size of the largest pool. */
size_t moe_router_width(const struct moe_router_settings *s);

/* Where experts choose: how many of them take a row on average. */
double moe_router_capacity(const struct moe_router_settings *s);

/* Rows that each of n experts takes of `rows`: at least 1 and at most all of them; of none, none. Rounded half up. */
size_t moe_router_quota(size_t rows, double capacity, size_t experts);

/* Makes the logits [rows][experts] of experts outside of a row's pool, and all of a row that skips the layer, -inf. modality and taken as below. A row of a
 * modality without a pool fails with MOE_EINPUT. */
enum moe_err moe_router_mask(float *logit, size_t rows, const struct moe_router_settings *s, const uint8_t *modality, const uint8_t *taken,
			     struct moe_diag *d) MOE_CHECK_RESULT;

/* The rows that a router chooses for. */
struct moe_router_rows {
	size_t rows;
	const float *logit;             /* [rows][experts]; -inf: not eligible (moe_router_mask) */
	const float *choice_bias;       /* [choice_biases][experts] or NULL */
	const float *noise;             /* [rows][experts], added to the logits for choice and weight; NULL: none */
	const uint8_t *modality;        /* [rows]; NULL: all are text */
	const uint8_t *taken;           /* [rows]: 0: the row skips the layer (depth.h) and gets nobody; NULL: no row does */
	const struct moe_what_if *what_if;      /* by modality, [MOE_N_MODALITIES]; NULL: none */
};

/* Who works on them, [rows][width]: sorted by falling weight (ties: the lower id), -1 and 0 at the end. */
struct moe_router_choice {
	int32_t *expert_id;
	float *weight;
	float *compared;                /* [rows][experts]: what was compared, c; where experts choose, s. NULL: not wanted */
};

/* Each row chooses. A logit that is NaN or +inf fails with MOE_EINPUT and the row; so does a row for which no expert is left. */
enum moe_err moe_router_choose(struct moe_router_choice *out, const struct moe_router_rows *in, const struct moe_router_settings *s,
			       struct moe_arena *scratch, struct moe_diag *d) MOE_CHECK_RESULT;

/* Each expert chooses among all of these rows. Of the what-if settings, those who are forced take every row that they may; top_k has no meaning. */
enum moe_err moe_router_choose_rows(struct moe_router_choice *out, const struct moe_router_rows *in, const struct moe_router_settings *s,
				    struct moe_arena *scratch, struct moe_diag *d) MOE_CHECK_RESULT;

/* Auxiliary routers predict, row by row, what the experts would have chosen: those with predicted [rows][experts] above threshold [experts] (NULL: 0, which
 * is a probability of one half). Weights are the main router's, and so is what was compared. */
enum moe_err moe_router_choose_predicted(struct moe_router_choice *out, const struct moe_router_rows *in, const float *predicted, const float *threshold,
					 const struct moe_router_settings *s, struct moe_arena *scratch, struct moe_diag *d) MOE_CHECK_RESULT;

/* Checks choices that came from outside: ids in range, no duplicates, -1 only at the end and with weight 0, finite weights. */
enum moe_err moe_router_check(const int32_t *expert_id, const float *weight, size_t rows, size_t k, size_t experts, struct moe_diag *d) MOE_CHECK_RESULT;

/* Checks logits [rows][experts] that came from outside with such choices, which moe_router_check has passed: no NaN, no +inf, and no chosen expert
 * with -inf. */
enum moe_err moe_router_check_logits(const float *logit, const int32_t *expert_id, size_t rows, size_t k, size_t experts, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
