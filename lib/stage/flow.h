/* Frames in the form that layers work on: several `hidden` or `routed` frames become one batch, and back. */
#ifndef MOE_STAGE_FLOW_H
#define MOE_STAGE_FLOW_H

#include "stage/stage.h"

struct moe_sequences;

struct moe_flow {
	struct moe_frame **frame;
	size_t n;
	struct moe_batch batch;
	struct moe_routed routed;       /* of frames of kind routed */
	struct moe_span *span;          /* [n]: the frames' rows */
};

/* Makes a batch of the frames, whose hidden rows are changed where they lie. Shapes are checked against the model (those of routed frames: of its
 * `layer`); all memory comes from `a`. */
enum moe_err moe_flow_open(struct moe_flow *flow, struct moe_frame **f, size_t n, const struct moe_model *m, size_t layer, struct moe_arena *a,
			   struct moe_diag *d) MOE_CHECK_RESULT;

/* Rows [*first, rows) of a frame are those whose logits are wanted (moe.logits). */
enum moe_err moe_wanted_rows(const struct moe_frame *f, uint64_t rows, uint64_t *first, struct moe_diag *d) MOE_CHECK_RESULT;

/* Has the next attention keep only the rows whose logits are wanted, and at least one of each frame: the others are not needed once the last layer
 * has their keys and values. */
enum moe_err moe_flow_keep(struct moe_flow *flow, struct moe_diag *d) MOE_CHECK_RESULT;

/* Makes the frames hold the rows that attention kept. */
enum moe_err moe_flow_cut(struct moe_flow *flow, struct moe_arena *a, struct moe_diag *d) MOE_CHECK_RESULT;

/* Puts hidden rows (and, when `routed`, what the router made) back into the frames, sets moe.at to "LAYER.step", and emits them. */
enum moe_err moe_flow_close(struct moe_flow *flow, const struct moe_model *m, size_t layer, const char *step, bool routed, struct moe_output *out,
			    struct moe_diag *d) MOE_CHECK_RESULT;

/* Sequences with attention caches, by number. */
struct moe_sequences {
	struct moe_sequence {
		uint64_t seq;
		struct moe_cache *cache;        /* [n_layers] */
	} *list;
	size_t n, cap, n_layers;
	struct moe_cache_pool blocks;
};

void moe_sequences_init(struct moe_sequences *s, const struct moe_model *m);
void moe_sequences_free(struct moe_sequences *s);
void moe_sequences_drop(struct moe_sequences *s, uint64_t seq);

/* Points the spans of a flow, each of another sequence, to their caches; refuses a frame whose moe.start is not what the cache of `layer` holds. */
enum moe_err moe_sequences_attach(struct moe_sequences *s, struct moe_flow *flow, size_t layer, struct moe_diag *d) MOE_CHECK_RESULT;

/* After the last use of a flow: forgets the caches of sequences that need no more steps. */
void moe_sequences_detach(struct moe_sequences *s, const struct moe_flow *flow);

#endif
