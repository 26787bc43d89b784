/* Traces the routing of a model: what stages, moe-run and sessions have in common. */
#ifndef MOE_STAGE_TRACING_H
#define MOE_STAGE_TRACING_H

#include "stage/flow.h"
#include "trace/collect.h"

struct moe_tracing;

struct moe_tracing_options {
	const struct moe_model *model;
	size_t first, last;             /* layers, both included; those of them that route are traced */
	enum moe_trace_detail detail;
	struct moe_writer *writer;      /* the caller's, as is `identity` */
	const struct moe_identity *identity;
	bool in_order;                  /* as moe_collector_new has it */
};

enum moe_err moe_tracing_new(struct moe_tracing **out, const struct moe_tracing_options *o, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_tracing_free(struct moe_tracing *t);

/* Begins a member of the trace, behind the one before. Its head has what the head of the stream says that is traced, or, with NULL, what a first
 * program says. */
enum moe_err moe_tracing_begin(struct moe_tracing *t, const struct moe_frame *head, struct moe_diag *d) MOE_CHECK_RESULT;

/* A layer has routed the rows of a span of a batch. `r` holds what moe_trace_rows wants but for position, which the batch has. */
enum moe_err moe_tracing_span(struct moe_tracing *t, size_t layer, const struct moe_batch *b, const struct moe_span *span, const struct moe_routed *routed,
			      const struct moe_trace_rows *r, struct moe_diag *d) MOE_CHECK_RESULT;

/* The same for the frames of a flow. */
enum moe_err moe_tracing_flow(struct moe_tracing *t, size_t layer, const struct moe_flow *flow, struct moe_diag *d) MOE_CHECK_RESULT;

/* The sequence is over. */
enum moe_err moe_tracing_over(struct moe_tracing *t, uint64_t seq, struct moe_diag *d) MOE_CHECK_RESULT;

/* Ends the member that was begun, if any. */
enum moe_err moe_tracing_end(struct moe_tracing *t, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
