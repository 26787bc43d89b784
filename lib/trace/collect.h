/* Collects the routing of a run layer by layer, and writes it as a trace: a frame holds up to MOE_TRACE_ROWS tokens of one sequence in all layers.
 *
 * How a sequence was cut into passes leaves no mark: its frames begin at its start, where given tokens end and generated ones begin, and every
 * MOE_TRACE_ROWS rows from there. Not safe for several threads at a time. */
#ifndef MOE_TRACE_COLLECT_H
#define MOE_TRACE_COLLECT_H

#include "trace/trace_write.h"

struct moe_collector;

/* Rows of one sequence in a pass. Arrays are read during the call. */
struct moe_trace_rows {
	uint64_t seq, step;             /* step 0: given; else the first of these rows is generated token number `step` */
	const char *name;               /* of the sequence, or NULL */
	const char *choice;             /* who chooses (moe.choice), the same for all; it outlives the collector */
	size_t start, n;                /* rows of the sequence before these; these */
	const int32_t *token, *image, *patch;   /* [n] */
	const uint8_t *modality;        /* [n] */
	const int32_t *position;        /* [axes][stride] */
	size_t axes, stride;
};

/* How a layer routed them. */
struct moe_trace_choice {
	const int32_t *expert_id;       /* [n][k], -1: none */
	const float *weight;            /* [n][k] */
	const float *logit;             /* [n][experts]; NULL where a foreign router gave none */
	const float *compared;          /* [n][experts], or NULL */
	const uint8_t *depth;           /* [n]: 0 where a row skips the layer; NULL: none does */
};

/* For the trace of `info`, which outlives the collector, as does `w`. `in_order`: sequences are numbered from 0 without a gap, and written whole in this
 * order, so that the trace does not depend on who was faster; else a frame is written as soon as it is full. `depth`: there are layers that rows may skip. */
enum moe_err moe_collector_new(struct moe_collector **out, struct moe_trace_writer *w, const struct moe_trace_info *info, bool in_order,
			       bool depth, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_collector_free(struct moe_collector *c);

/* Takes the rows of a pass in one traced layer; each pass goes through all traced layers in ascending order. */
enum moe_err moe_collect(struct moe_collector *c, size_t layer, const struct moe_trace_rows *r, const struct moe_trace_choice *choice,
			 struct moe_diag *d) MOE_CHECK_RESULT;

/* The sequence is over; one that had no rows is over, too. */
enum moe_err moe_collect_over(struct moe_collector *c, uint64_t seq, struct moe_diag *d) MOE_CHECK_RESULT;

/* Writes what is still there; the end frame is the caller's. */
enum moe_err moe_collect_rest(struct moe_collector *c, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
