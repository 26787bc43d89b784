/* Sums of routing: which experts the tokens of each modality went to, layer by layer, from the blocks of traces. One pass, memory that depends on the
 * numbers of layers, experts and modalities only. What statistics make of the sums is in measures.h.
 *
 * Tokens that another rule chose for (moe.choice: each token by itself, or experts among a batch) are other numbers, and are never added up: a set has
 * one struct moe_routing for each kind. */
#ifndef MOE_STATS_ROUTING_H
#define MOE_STATS_ROUTING_H

#include "base/modality.h"
#include "trace/trace.h"

/* Tables of experts × experts, which are kept only when asked for. */
enum { MOE_ROUTING_TOGETHER = 1, MOE_ROUTING_NEXT = 2 };

/* A margin: last chosen minus first expert that was not chosen; over `n` tokens for which there are both. */
struct moe_margin {
	uint64_t n;
	double sum, least;              /* least: INFINITY without any */
};

/* Sums over the tokens of one modality in one layer. */
struct moe_routing_part {
	uint64_t tokens, passed;        /* that came to the router; that passed the layer by (depth) */
	uint64_t choices;               /* pairs of a token and one of its experts */
	uint64_t *count;                /* [experts]: choices; a token has an expert at most once */
	double *weight;                 /* [experts]: sum of weights; without them 0 */
	uint64_t *chosen;               /* [k + 1]: tokens by their number of experts */
	uint64_t *together;             /* [experts][experts] or NULL: tokens that have both, the first with the larger weight */
	uint64_t *next;                 /* [experts][experts] or NULL: tokens by expert here and expert in the next traced layer */

	/* The pool of a token: the experts whose logits are not -inf; without logits, what the head says (moe.pools), else all. */
	uint64_t open;                  /* choices of tokens whose pool is all experts */
	uint64_t *eligible;             /* [experts]: other tokens in whose pool it is */
	double *narrow;                 /* [experts]: choices it would have if those tokens chose evenly from their pools */

	/* Of tokens with logits. p: softmax(logits), or sigmoid(logits) over their sum. Entropies in nats. */
	uint64_t scored;
	double entropy;                 /* sum of H(p) */
	double entropy_share;           /* sum of H(p) / log(size of the pool); of a pool of one expert 0 */
	double mass, even_mass;         /* sum over tokens of p of the chosen; and of chosen / size of the pool, what it is when all p are equal */
	struct moe_margin margin;       /* in what the choice compared */
	struct moe_margin logit_margin; /* in router logits */
};

struct moe_routing_layer {
	size_t number, next;            /* next: number of the next traced layer, SIZE_MAX for none */
	struct moe_routing_part *part[MOE_N_MODALITIES];        /* NULL: no such token yet */
};

struct moe_routing {
	char choice[MOE_TRACE_CHOICE];
	size_t experts, k;
	enum moe_trace_score score;
	struct moe_pools pools;         /* of tokens without logits */
	unsigned tables;
	struct moe_routing_layer *layer;        /* [n_layers], ascending */
	size_t n_layers, cap;
	float *scratch;                 /* [2][experts] */
};

/* Everything that was read: one struct moe_routing for each kind of choice, in the order of their coming. */
struct moe_routing_set {
	struct moe_routing *kind;
	size_t n, cap;
	unsigned tables;                /* MOE_ROUTING_ bits, set by the caller before the first block */
	size_t first, last;             /* numbers of the layers to keep; set by the caller, 0 and SIZE_MAX for all */
};

void moe_routing_set_free(struct moe_routing_set *s);

/* Adds a block. Layers that are new are new rows; others are added up, which needs the same numbers of experts and choices: else MOE_EMATCH. */
enum moe_err moe_routing_set_add(struct moe_routing_set *s, const struct moe_trace_info *info, const struct moe_trace_block *b,
				 struct moe_diag *d) MOE_CHECK_RESULT;

/* The same for one kind. */
enum moe_err moe_routing_init(struct moe_routing *r, const struct moe_trace_info *info, const char *choice, unsigned tables,
			      struct moe_diag *d) MOE_CHECK_RESULT;
void moe_routing_free(struct moe_routing *r);

/* The layer of that number, made when it is not there; NULL without memory. */
struct moe_routing_layer *moe_routing_layer(struct moe_routing *r, size_t number);

/* Tokens of one layer: modality [rows], expert [rows][k], and where they are known weight [rows][k], logit and compared [rows][experts], depth [rows],
 * and the experts of the next layer [rows][k] (for MOE_ROUTING_NEXT). Or, of a trace of counts, count [experts] alone: of no known modality. */
struct moe_routed_rows {
	size_t rows;
	const uint8_t *modality, *depth;
	const uint16_t *expert, *next;
	const float *weight, *logit, *compared;
	const uint64_t *count;
};

enum moe_err moe_routing_add(struct moe_routing *r, struct moe_routing_layer *l, const struct moe_routed_rows *rows, struct moe_diag *d) MOE_CHECK_RESULT;

/* Adds the sums of `from`, with as many experts and choices. */
enum moe_err moe_routing_join(struct moe_routing *to, const struct moe_routing *from, struct moe_diag *d) MOE_CHECK_RESULT;

/* A part by itself: for sums over modalities. */
struct moe_routing_part *moe_routing_part_new(size_t experts, size_t k, unsigned tables);
void moe_routing_part_free(struct moe_routing_part *p);
void moe_routing_part_join(struct moe_routing_part *to, const struct moe_routing_part *from, size_t experts, size_t k);

/* Choices that expert e would have if every token chose evenly from its pool; and whether it is in any token's pool. */
double moe_routing_even(const struct moe_routing_part *p, size_t experts, size_t e);
bool moe_routing_eligible(const struct moe_routing_part *p, size_t e);

/* Did experts choose? Then tokens have different numbers of them, or one that was not chosen stands above one that was: what was compared for a token is not
 * what decided, and it has no margins. */
bool moe_routing_by_experts(const char *choice, const struct moe_routing_part *p, size_t k);

#endif
