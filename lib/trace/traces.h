/* Several inputs as one series of blocks: what statistics and pictures of routing are made from.
 *
 * An input is a trace, or a stream of `routed` frames as it goes from stage to stage. Traces that stand one after the other and tell of different layers
 * of one model are read side by side, as one trace of all these layers: they are of one run, and where their tokens are not the same that is an
 * error (MOE_EMATCH). Other inputs follow one another. */
#ifndef MOE_TRACE_TRACES_H
#define MOE_TRACE_TRACES_H

#include "trace/trace.h"

/* Zeroed: the defaults. */
struct moe_traces_options {
	bool any_model;                 /* inputs may be of several models */
	bool apart;                     /* never side by side */
	/* Of `routed` frames, which do not say it: */
	enum moe_trace_score score;     /* what the router makes of its logits */
	size_t experts;                 /* where the frames have no router logits; 0: then they are refused */
	/* Sees every frame, in order, before it is made a block; may be NULL. For an input that is passed on. */
	enum moe_err (*seen)(void *self, struct moe_frame *f, struct moe_diag *d);
	/* Called before the input, a descriptor, is waited for; may be NULL. */
	enum moe_err (*idle)(void *self, int input, struct moe_diag *d);
	void *self;
};

struct moe_traces;

/* `options` is copied. Paths are copied, and opened when their turn comes; "-" is standard input. */
enum moe_err moe_traces_new(struct moe_traces **out, const struct moe_traces_options *options, const char *const *path, size_t n,
			    struct moe_diag *d) MOE_CHECK_RESULT;
void moe_traces_free(struct moe_traces *t);

/* The next block, and what it is a block of (which stays the same object while nothing in it changes), valid until the next call. MOE_END after the last. */
enum moe_err moe_traces_next(struct moe_traces *t, const struct moe_trace_info **info, struct moe_trace_block *b, struct moe_diag *d) MOE_CHECK_RESULT;

/* The input that the last block is from, or the first of several side by side; and its head frame (NULL before the first block). */
size_t moe_traces_input(const struct moe_traces *t);
const struct moe_frame *moe_traces_head(const struct moe_traces *t);

/* `failed` frames that were passed over: sequences that have no routing. */
uint64_t moe_traces_failed(const struct moe_traces *t);

#endif
