/* Writes traces of routing (trace.h): a head, blocks, the end. */
#ifndef MOE_TRACE_TRACE_WRITE_H
#define MOE_TRACE_TRACE_WRITE_H

#include "stream/writer.h"
#include "trace/trace.h"

struct moe_trace_writer;

/* Writes the head and begins a trace; `info` is copied. `head` is a head frame with whatever keys the caller gave it (provenance, moe.math), or NULL;
 * moe.stream, moe.trace and the fingerprints of `info` are set in it. The writer stays the caller's. */
enum moe_err moe_trace_writer_new(struct moe_trace_writer **out, struct moe_writer *w, struct moe_frame *head, const struct moe_trace_info *info,
				  struct moe_diag *d) MOE_CHECK_RESULT;
void moe_trace_writer_free(struct moe_trace_writer *t);

/* Appends a block, of which the detail of the trace says what is read. Weights and logits are rounded to binary16; what is finite stays so. Fails with
 * MOE_EUSAGE where the block lacks what the detail promises. */
enum moe_err moe_trace_writer_put(struct moe_trace_writer *t, const struct moe_trace_block *b, struct moe_diag *d) MOE_CHECK_RESULT;

/* The end frame, and a flush. */
enum moe_err moe_trace_writer_end(struct moe_trace_writer *t, struct moe_diag *d) MOE_CHECK_RESULT;

/* Sets the keys of a trace in a head frame; for programs that write frames themselves. */
enum moe_err moe_trace_info_write(struct moe_frame *head, const struct moe_trace_info *info, struct moe_diag *d) MOE_CHECK_RESULT;

/* Makes *f the frame of a block. Arrays that have to be narrowed are in `a`, the others are the block's. */
enum moe_err moe_trace_block_write(struct moe_frame *f, const struct moe_trace_block *b, const struct moe_trace_info *i, struct moe_arena *a,
				   struct moe_diag *d) MOE_CHECK_RESULT;

#endif
