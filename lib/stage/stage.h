/* A stage of the forward pass as a filter of frames, and the loop that all of them share. The loop reads, keeps the books, checks the model,
 * gathers what waits in the input into one batch, passes on what the stage is not about, and signs the end. A stage only says what it does
 * with its own kinds. */
#ifndef MOE_STAGE_STAGE_H
#define MOE_STAGE_STAGE_H

#include "model/layer.h"
#include "model/math.h"
#include "stream/account.h"
#include "stream/reader.h"
#include "stream/writer.h"

enum { MOE_BATCH_FRAMES = 64, MOE_BATCH_NBYTES = 512 << 10 };

/* Where a stage puts its frames: the writer and the books of what went out. A sink has no writer. */
struct moe_output {
	struct moe_writer *writer;
	struct moe_account account;
	struct moe_reader *in;          /* what is read, set by the loop; for a stage that must know whether more follows */
};

enum moe_err moe_emit(struct moe_output *out, const struct moe_frame *f, struct moe_diag *d) MOE_CHECK_RESULT;

struct moe_stage {
	void *self;
	unsigned kinds;         /* bits 1 << enum moe_kind that `run` takes; other kinds pass by in order */
	bool sink;              /* kinds that nobody took are refused; with a writer, those that no stage takes (trace, unknown) still pass */

	/* Frames of these kinds that are taken together, neither fewer nor more but where the stream ends, or something else comes between; each is a whole
	 * sequence, or the stream is refused. 0: what waits in the input, at most MOE_BATCH_FRAMES. */
	size_t group;

	/* Takes n frames of these kinds, in order, and emits what becomes of them. */
	enum moe_err (*run)(void *self, struct moe_frame **f, size_t n, struct moe_output *out, struct moe_diag *d);

	/* A head, drop, failed or end frame on its way (may be NULL); the loop passes it on afterwards, or swallows it on MOE_AGAIN. */
	enum moe_err (*notice)(void *self, struct moe_frame *f, struct moe_output *out, struct moe_diag *d);

	/* The arithmetic that the head asks for, before any frame (NULL: the stage computes no products). */
	enum moe_err (*math)(void *self, enum moe_math math, struct moe_diag *d);

	/* Called before the loop sleeps on its input, a descriptor (may be NULL): a stage with a second output of its own writes there. */
	enum moe_err (*idle)(void *self, int input, struct moe_diag *d);
};

/* What head frames are checked against and marked with. NULL: not checked, not marked. */
struct moe_identity {
	const char *model, *tokenizer;  /* fingerprints */
	const struct moe_router_settings *router;       /* whose pools a head has, or gets when it is made */
	bool any_model;
	enum moe_math math;             /* what a head that is made asks for */
	const char *program, *command;  /* for moe.pg; program NULL: leave it as it is */
};

/* Runs the stage over the whole input. */
enum moe_err moe_stage_loop(struct moe_reader *in, struct moe_output *out, const struct moe_stage *s, const struct moe_identity *id,
			    struct moe_diag *d) MOE_CHECK_RESULT;

/* The arithmetic that a head asks for; exact when it does not say. */
enum moe_err moe_head_math(const struct moe_frame *f, enum moe_math *math, struct moe_diag *d) MOE_CHECK_RESULT;

/* Checks and marks a head frame as the loop does; for programs that are the first of a stream. */
enum moe_err moe_head_check(const struct moe_frame *f, const struct moe_identity *id, struct moe_diag *d) MOE_CHECK_RESULT;
enum moe_err moe_head_mark(struct moe_frame *f, const struct moe_identity *id, struct moe_diag *d) MOE_CHECK_RESULT;

/* Refuses a frame whose moe.at is not `want`, unless any_order. */
enum moe_err moe_at_check(const struct moe_frame *f, const char *want, bool any_order, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
