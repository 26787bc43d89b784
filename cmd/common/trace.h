/* --trace: where each token went, beside what the program does. */
#ifndef MOE_CMD_TRACE_H
#define MOE_CMD_TRACE_H

#include "common/cli.h"
#include "stage/tracing.h"

/* Values of the options below. */
extern struct trace_options {
	const char *file, *detail;
} trace_options;

#define OPT_TRACE \
	{0, "trace", OPT_TEXT, &trace_options.file, "FILE", "write where each token went, in every layer; {layers} in its name stands for these", 0, 0, \
	 "$MOE_TRACE, else none"}, \
	{0, "trace-detail", OPT_TEXT, &trace_options.detail, "DETAIL", "what it tells: ids, weights (and ids), or logits (and both)", 0, 0, "logits"}

struct trace {
	struct moe_tracing *tracing;    /* NULL: nobody asked for a trace */
	struct moe_writer *writer;
	struct moe_sink *sink;
	struct moe_identity identity;
	char *path;
};

/* Opens the file of --trace or $MOE_TRACE, for layers first to last of the model; nothing without them. The trace itself begins with moe_tracing_begin.
 * `in_order`: see struct moe_tracing_options. */
void trace_open(struct trace *t, const struct moe_model *m, size_t first, size_t last, const struct moe_identity *id, bool in_order);

/* Ends the trace and completes the file. */
void trace_finish(struct trace *t);

#endif
