/* The stages attend, route and expert, and any run of them: moe-attend, moe-route, moe-expert and moe-block are one stage with other borders. */
#ifndef MOE_STAGE_LAYERS_H
#define MOE_STAGE_LAYERS_H

#include "stage/insight.h"
#include "stage/partial_experts.h"
#include "stage/tracing.h"

enum moe_step { MOE_STEP_ATTEND, MOE_STEP_ROUTE, MOE_STEP_EXPERT, MOE_N_STEPS };

const char *moe_step_name(enum moe_step s);

/* Reads n bytes of text, "3", "0-11" or "12-", as layers of a model with n_layers; false when they are anything else. */
bool moe_layers_parse(const char *text, size_t n, size_t n_layers, size_t *first, size_t *last);

/* moe.at that a frame must have before step number n (see struct moe_layers). */
void moe_step_before(size_t n, char *at, size_t cap);

/* Steps count through the model: step s of layer l is number l · 3 + s. */
struct moe_layers {
	struct moe_model *model;
	size_t first, last;             /* steps, both included */
	bool any_order;
	bool only_wanted;               /* the last layer goes on only with rows whose logits are wanted */
	size_t group;                   /* frames whose rows are chosen among (choosing.h, batch), whole sequences; 0: none */
	const struct moe_what_if_table *what_if;
	const struct moe_partial *partial;      /* the step expert of one layer computes these experts' results only, unsummed; NULL: all that it is */
	struct moe_insight insight;     /* what to put into the frames beside the rows */
	struct moe_pool *pool;

	/* Sees each routing decision (may be NULL). */
	enum moe_err (*observe)(void *observer, size_t layer, const struct moe_flow *flow, struct moe_diag *d);
	void *observer;
	struct moe_tracing *tracing;    /* writes the trace of these layers, or NULL; its members begin and end with those of the stream */

	struct moe_sequences sequences; /* state */
	struct moe_arena scratch;
	uint64_t *seq;                  /* of the frames that are run */
	size_t seq_cap;
};

void moe_layers_init(struct moe_layers *l, struct moe_model *m, size_t first, size_t last);
void moe_layers_free(struct moe_layers *l);

/* MOE_EUSAGE or MOE_EMATCH for what cannot be done with this model: choices that nobody makes, and looking into layers where what a frame would get is not what
 * was added (mixture-of-depths; parts, where a norm stands behind the experts). */
enum moe_err moe_layers_check(const struct moe_layers *l, struct moe_diag *d) MOE_CHECK_RESULT;

/* The stage of `l`, for moe_stage_loop. */
struct moe_stage moe_layers_stage(struct moe_layers *l);

#endif
