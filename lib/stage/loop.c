#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage/stage.h"
#include "trace/pools.h"

enum moe_err moe_emit(struct moe_output *out, const struct moe_frame *f, struct moe_diag *d)
{
	MOE_TRY(moe_account_frame(&out->account, f, d));
	return moe_writer_put(out->writer, f, d);
}

enum moe_err moe_head_math(const struct moe_frame *f, enum moe_math *math, struct moe_diag *d)
{
	const char *name = moe_frame_meta(f, "moe.math");

	*math = name ? moe_math_find(name) : MOE_MATH_EXACT;
	return *math < MOE_N_MATHS ? MOE_OK
				   : moe_frame_fail(f, d, MOE_EMATCH, "the stream asks for the arithmetic \"%.20s\"; this program has exact and fast", name);
}

enum moe_err moe_head_check(const struct moe_frame *f, const struct moe_identity *id, struct moe_diag *d)
{
	const char *model = moe_frame_meta(f, "moe.model"), *tokenizer = moe_frame_meta(f, "moe.tokenizer");
	enum moe_math math;

	MOE_TRY(moe_head_math(f, &math, d));
	if (id->any_model)
		return MOE_OK;
	if (id->model && model && strcmp(id->model, model))
		return moe_frame_fail(f, d, MOE_EMATCH, "the stream was made with model %.32s, this is %s (--any-model mixes on purpose)", model, id->model);
	if (id->router)
		MOE_TRY(moe_pools_check(f, &id->router->pools, (size_t)id->router->experts, d));
	if (id->tokenizer && tokenizer && strcmp(id->tokenizer, tokenizer))
		return moe_frame_fail(f, d, MOE_EMATCH, "the stream was made with tokenizer %.32s, this is %s (--any-model mixes on purpose)", tokenizer,
				      id->tokenizer);
	return MOE_OK;
}

/* Adds "ID:n PN:program CL:command" to the provenance, as SAM's @PG does; the ID is the line's number. */
enum moe_err moe_head_mark(struct moe_frame *f, const struct moe_identity *id, struct moe_diag *d)
{
	const char *old = moe_frame_meta(f, "moe.pg");
	unsigned lines = 0;
	char *text;
	enum moe_err err;

	if (!id->program)
		return MOE_OK;
	for (const char *p = old; p && *p; p++)
		lines += *p == '\n';
	if (asprintf(&text, "%s@PG\tID:%u\tPN:%s\tCL:%s\n", old ? old : "", lines, id->program, id->command ? id->command : id->program) < 0)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	err = moe_frame_set(f, "moe.pg", text, d);
	free(text);
	return err;
}

enum moe_err moe_at_check(const struct moe_frame *f, const char *want, bool any_order, struct moe_diag *d)
{
	const char *at = moe_frame_meta(f, "moe.at");

	if (any_order || (at && !strcmp(at, want)))
		return MOE_OK;
	return moe_frame_fail(f, d, MOE_EMATCH, "the stream is behind stage \"%.40s\", expected \"%s\" (--any-order to run it all the same)", at ? at : "(none)", want);
}

/* Checks the head, and tells the stage what it asks for. */
static enum moe_err meet_head(const struct moe_stage *s, const struct moe_frame *f, const struct moe_identity *id, struct moe_diag *d)
{
	enum moe_math math;

	MOE_TRY(moe_head_check(f, id, d));
	MOE_TRY(moe_head_math(f, &math, d));
	return s->math ? s->math(s->self, math, d) : MOE_OK;
}

struct loop {
	struct moe_reader *in;
	struct moe_output *out;
	const struct moe_stage *s;
	const struct moe_identity *id;
	struct moe_account account;     /* of the input */
	struct moe_frame *frame, **batch;       /* [most]; batch[i] is &frame[i] */
	size_t most;
	struct moe_frame aside;
	size_t n, nbytes;               /* frames of the batch, in the first n places */
};

static enum moe_err run_batch(struct loop *l, struct moe_diag *d)
{
	size_t n = l->n;

	l->n = l->nbytes = 0;
	return n ? l->s->run(l->s->self, l->batch, n, l->out, d) : MOE_OK;
}

/* A frame that is not the stage's: noticed, checked, passed on. */
static enum moe_err pass(struct loop *l, struct moe_frame *f, struct moe_diag *d)
{
	bool known = f->kind == MOE_KIND_HEAD || f->kind == MOE_KIND_END || f->kind == MOE_KIND_DROP || f->kind == MOE_KIND_FAILED;
	bool beside = f->kind == MOE_KIND_TRACE || f->kind == MOE_KIND_OTHER;   /* no stage's input */

	if (f->kind == MOE_KIND_BARE)
		return moe_frame_fail(f, d, MOE_EINPUT, "a bare safetensors file is not a stream that a stage can work on");
	if (f->kind == MOE_KIND_HEAD)
		MOE_TRY(meet_head(l->s, f, l->id, d));
	if (!known && l->s->sink && !(beside && l->out->writer))
		return moe_frame_fail(f, d, MOE_EINPUT, "this program cannot use such a frame (is a stage missing?)");
	if (known && l->s->notice) {
		enum moe_err err = l->s->notice(l->s->self, f, l->out, d);
		if (err)
			return err == MOE_AGAIN ? MOE_OK : err;
	}
	if (!l->out->writer)
		return MOE_OK;
	if (f->kind == MOE_KIND_HEAD)
		MOE_TRY(moe_head_mark(f, l->id, d));
	if (f->kind == MOE_KIND_END && l->out->account.sequences != l->account.sequences)
		return moe_frame_fail(f, d, MOE_EINPUT, "%llu sequences came, but %llu went on", (unsigned long long)l->account.sequences,
				      (unsigned long long)l->out->account.sequences);
	if (f->kind == MOE_KIND_END)
		MOE_TRY(moe_account_sign(&l->out->account, f, d));
	return moe_emit(l->out, f, d);
}

/* Frames that are taken in groups are sequences as they are given, from their first row to their last. */
static enum moe_err check_whole(const struct moe_frame *f, struct moe_diag *d)
{
	uint64_t start, step, more;

	MOE_TRY(moe_frame_number(f, "moe.start", 0, &start, d));
	MOE_TRY(moe_frame_number(f, "moe.step", 0, &step, d));
	MOE_TRY(moe_frame_number(f, "moe.more", 0, &more, d));
	if (!start && !step && !more)
		return MOE_OK;
	return moe_frame_fail(f, d, MOE_EMATCH, "the frame is a part of its sequence, and a choice over a batch is among whole ones: nothing can be "
			      "generated, nor may sequences be cut (moe-embed --chunk)");
}

static bool full(const struct loop *l) { return l->n == l->most || (!l->s->group && l->nbytes >= MOE_BATCH_NBYTES); }

/* Sorts a frame that was read into place l->n: into the batch, or past the stage. */
static enum moe_err take(struct loop *l, struct moe_diag *d)
{
	struct moe_frame *f = &l->frame[l->n];

	MOE_TRY(moe_account_frame(&l->account, f, d));
	if (l->s->kinds >> f->kind & 1) {
		if (l->s->group)
			MOE_TRY(check_whole(f, d));
		l->batch[l->n++] = f;
		l->nbytes += f->nbytes;
		return full(l) ? run_batch(l, d) : MOE_OK;
	}
	if (l->n) {     /* what came before goes first; the frame steps aside meanwhile */
		struct moe_frame empty = l->aside;
		l->aside = *f;
		*f = empty;
		MOE_TRY(run_batch(l, d));
		return pass(l, &l->aside, d);
	}
	return pass(l, f, d);
}

static enum moe_err loop(struct loop *l, struct moe_diag *d)
{
	for (;;) {
		enum moe_err err = moe_reader_next(l->in, &l->frame[l->n], false, d);
		if (err == MOE_AGAIN) {         /* nothing waits: do what is there, hand it on, and sleep */
			if (l->n && !l->s->group) {
				MOE_TRY(run_batch(l, d));
				continue;
			}
			if (l->out->writer)
				MOE_TRY(moe_writer_flush(l->out->writer, d));
			if (l->s->idle)
				MOE_TRY(l->s->idle(l->s->self, moe_reader_descriptor(l->in), d));
			if (l->out->writer)
				MOE_TRY(moe_writer_wait(l->out->writer, moe_reader_descriptor(l->in), d));
			err = moe_reader_next(l->in, &l->frame[l->n], true, d);
		}
		if (err == MOE_END)
			break;
		MOE_TRY(err);
		MOE_TRY(take(l, d));
	}
	MOE_TRY(run_batch(l, d));
	return l->out->writer ? moe_writer_flush(l->out->writer, d) : MOE_OK;
}

static void free_loop(struct loop *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->most; i++)
		moe_frame_free(&l->frame[i]);
	free(l->frame);
	free(l->batch);
	moe_frame_free(&l->aside);
	moe_account_free(&l->account);
	free(l);
}

enum moe_err moe_stage_loop(struct moe_reader *in, struct moe_output *out, const struct moe_stage *s, const struct moe_identity *id, struct moe_diag *d)
{
	struct loop *l = calloc(1, sizeof *l);
	size_t most = s->group ? s->group : MOE_BATCH_FRAMES;
	enum moe_err err;

	if (l) {
		l->frame = moe_calloc(most, sizeof *l->frame);
		l->batch = moe_calloc(most, sizeof(struct moe_frame *));
	}
	if (!l || !l->frame || !l->batch) {
		free_loop(l);
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	l->most = most;
	l->in = in;
	l->out = out;
	out->in = in;
	l->s = s;
	l->id = id;
	err = loop(l, d);
	if (err && d && d->byte >= 0)   /* a byte of the input */
		moe_diag_path(d, moe_reader_name(in));
	free_loop(l);
	return err;
}
