#include "stage/decode.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "stage/flow.h"

/* A sequence that has begun. Answers wait in this list until those before them are out. */
struct moe_decode_sequence {
	struct moe_decode_sequence *next;
	uint64_t seq;
	char *name, *error;
	struct moe_reply reply;
	size_t n_rows;                  /* rows whose tokens were noted */
	size_t n_prompt, n_told;        /* rows of the prompt; bytes of the text that were given as partial */
	bool done;
};

void moe_decode_init(struct moe_decode *dec) { dec->fd = -1; }

static void free_sequence(struct moe_decode_sequence *s)
{
	moe_reply_free(&s->reply);
	free(s->name);
	free(s->error);
	free(s);
}

void moe_decode_free(struct moe_decode *dec)
{
	while (dec->first) {
		struct moe_decode_sequence *s = dec->first;
		dec->first = s->next;
		free_sequence(s);
	}
	if (dec->fd >= 0)
		close(dec->fd);
	free(dec->queue);
	moe_arena_free(&dec->scratch);
}

static enum moe_err find_sequence(struct moe_decode *dec, const struct moe_frame *f, struct moe_decode_sequence **out, struct moe_diag *d)
{
	const char *name = moe_frame_meta(f, "moe.name");
	struct moe_decode_sequence *s;
	uint64_t seq;

	MOE_TRY(moe_frame_number(f, "moe.seq", UINT64_MAX, &seq, d));
	for (s = dec->first; s; s = s->next)
		if (s->seq == seq) {
			*out = s;
			return MOE_OK;
		}
	s = calloc(1, sizeof *s);
	if (!s || (name && !(s->name = moe_strdup(name)))) {
		free(s);
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	s->seq = seq;
	if (dec->first)
		dec->last->next = s;
	else
		dec->first = s;
	dec->last = s;
	*out = s;
	return MOE_OK;
}

static enum moe_err give_answer(struct moe_decode *dec, const struct moe_decode_sequence *s, struct moe_diag *d)
{
	struct moe_answer a = {.name = s->name, .error = s->error, .n_prompt = s->n_prompt};

	moe_reply_answer(&s->reply, dec->generation, &a);
	return dec->answer(dec->to, &a, d);
}

/* What is certain of the first answer's text. */
static enum moe_err give_partial(struct moe_decode *dec, struct moe_diag *d)
{
	struct moe_decode_sequence *s = dec->first;
	size_t from;

	if (!dec->partial || !s || s->error || s->reply.n_sure <= s->n_told)
		return MOE_OK;
	from = s->n_told;
	s->n_told = s->reply.n_sure;
	return dec->partial(dec->to, s->name, s->reply.text + from, s->n_told - from, d);
}

/* Finished answers at the front of the list go out. */
static enum moe_err give_answers(struct moe_decode *dec, struct moe_diag *d)
{
	while (dec->first && dec->first->done) {
		struct moe_decode_sequence *s = dec->first;
		enum moe_err err = give_partial(dec, d);
		if (!err && dec->answer)
			err = give_answer(dec, s, d);
		dec->first = s->next;
		free_sequence(s);
		MOE_TRY(err);
	}
	return give_partial(dec, d);
}

/* write() without SIGPIPE: a ring whose source has gone is a failure to be told, not a reader who has seen enough. */
static ssize_t write_quietly(int fd, const void *bytes, size_t n)
{
	static const struct timespec now;
	sigset_t pipe, old, pending;
	ssize_t r;
	bool waiting;
	int saved;

	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	sigpending(&pending);
	waiting = sigismember(&pending, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe, &old);
	r = write(fd, bytes, n);
	saved = errno;
	if (r < 0 && saved == EPIPE && !waiting)
		while (sigtimedwait(&pipe, NULL, &now) < 0 && errno == EINTR)
			;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	errno = saved;
	return r;
}

/* Writes as much of the queue as the FIFO takes without blocking. */
static enum moe_err push_queue(struct moe_decode *dec, struct moe_diag *d)
{
	size_t at = 0;

	while (at < dec->n_queue) {
		ssize_t r = write_quietly(dec->fd, dec->queue + at, dec->n_queue - at);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && errno == EAGAIN)
			break;
		if (r < 0 && errno == EPIPE)
			return moe_fail(d, MOE_EIO, "nobody reads the loop %s any more: moe-tokenize failed or was stopped", dec->loop);
		if (r < 0)
			return moe_fail_errno(d, "cannot write to the loop %s", dec->loop);
		at += (size_t)r;
	}
	memmove(dec->queue, dec->queue + at, dec->n_queue - at);
	dec->n_queue -= at;
	return MOE_OK;
}

static enum moe_err idle(void *self, int input, struct moe_diag *d)
{
	struct moe_decode *dec = self;

	while (dec->n_queue) {
		struct pollfd p[2] = {{.fd = input, .events = POLLIN}, {.fd = dec->fd, .events = POLLOUT}};
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return moe_fail_errno(d, "cannot wait for the loop");
		if (p[1].revents)
			MOE_TRY(push_queue(dec, d));
		if (p[0].revents)
			break;
	}
	return MOE_OK;
}

/* The FIFO's reader, moe-tokenize, has been there since before it wrote the head frame. */
static enum moe_err open_loop(struct moe_decode *dec, struct moe_diag *d)
{
	if (!dec->loop || dec->fd >= 0)
		return MOE_OK;
	dec->fd = open(dec->loop, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (dec->fd < 0)
		return moe_fail_errno(d, "cannot open the loop %s for writing", dec->loop);
	return MOE_OK;
}

/* Queues a frame for moe-tokenize: the sequence's next token, or the news that it is over. */
static enum moe_err send_back(struct moe_decode *dec, const struct moe_frame *from, enum moe_kind kind, const int32_t *token, uint64_t start, struct moe_diag *d)
{
	static const char *const kept[] = {"moe.seq", "moe.name", "moe.logits", "moe.next", "moe.picture"};
	static const int32_t text = -1;
	struct moe_frame f = {0};
	uint64_t step;
	enum moe_err err = moe_frame_reset(&f, kind, d);

	for (size_t i = 0; i < sizeof kept / sizeof *kept && !err; i++)
		if (moe_frame_meta(from, kept[i]))
			err = moe_frame_set(&f, kept[i], moe_frame_meta(from, kept[i]), d);
	if (!err && kind == MOE_KIND_TOKENS) {
		err = moe_frame_number(from, "moe.step", 0, &step, d);
		if (!err)
			err = moe_frame_set_number(&f, "moe.step", step + 1, d);
		if (!err)
			err = moe_frame_set_number(&f, "moe.start", start, d);
		if (!err)
			err = moe_frame_set(&f, "moe.more", "1", d);
		if (!err)
			err = moe_frame_put(&f, "token", MOE_I32, 1, 1, 0, token, d);
		if (!err)
			err = moe_frame_put(&f, "image", MOE_I32, 1, 1, 0, &text, d);
	}
	if (!err)
		err = moe_frame_format(&f, &dec->queue, &dec->n_queue, &dec->queue_cap, d);
	moe_frame_free(&f);
	return err;
}

/* A frame without wanted rows: a chunk of a prompt, unless it is the last. Then there is nothing to answer with. */
static enum moe_err no_rows(const struct moe_decode *dec, const struct moe_frame *f, struct moe_decode_sequence *s, struct moe_diag *d)
{
	uint64_t more;

	MOE_TRY(moe_frame_number(f, "moe.more", 0, &more, d));
	if (!more && !dec->logits)
		return moe_frame_fail(f, d, MOE_EINPUT, "no logits are wanted of the sequence (moe.logits = none), so it has no answer");
	s->done = !more;
	return MOE_OK;
}

/* The frame's tokens, which the repetition penalty looks at; a prompt of which rows were left out on the way cannot be looked at. */
static enum moe_err note_tokens(struct moe_decode *dec, struct moe_frame *f, struct moe_decode_sequence *s, uint64_t rows, struct moe_diag *d)
{
	double penalty = dec->generation->sampling.repetition_penalty;
	const uint64_t *shape;
	const int32_t *token;
	uint64_t start;

	if (penalty == 0 || penalty == 1)
		return MOE_OK;
	MOE_TRY(moe_frame_number(f, "moe.start", 0, &start, d));
	if (start != s->n_rows)
		return moe_frame_fail(f, d, MOE_EINPUT, "the repetition penalty needs all tokens of the prompt, but rows %zu to %llu were left out (--only-wanted)",
				      s->n_rows, (unsigned long long)start);
	s->n_rows = start + rows;
	MOE_TRY(moe_frame_tensor(f, "token", MOE_I32, 1, (const void **)&token, &shape, d));
	return moe_reply_prompt(&s->reply, dec->generation, token, shape[0], d);
}

/* One token for the sequence of frame f, from the logits of its last row. */
static enum moe_err next_token(struct moe_decode *dec, struct moe_frame *f, struct moe_decode_sequence *s, const float *logit, uint64_t rows, struct moe_diag *d)
{
	struct moe_reply *r = &s->reply;
	uint64_t start, more, picture;

	MOE_TRY(moe_frame_number(f, "moe.start", 0, &start, d));
	MOE_TRY(moe_frame_number(f, "moe.more", 0, &more, d));
	MOE_TRY(moe_frame_number(f, "moe.picture", 0, &picture, d));
	r->picture = picture <= moe_picture_tokens(dec->model->spec) + 1 ? (uint32_t)picture : 0;
	if (!r->ids.n)
		s->n_prompt = start + rows;
	MOE_TRY(moe_frame_blame(f, moe_reply_next(r, dec->generation, logit, s->seq, &dec->scratch, d), d));
	s->done = !more || r->done;
	if (!more)
		return moe_reply_end(r, dec->generation, d);
	if (!dec->loop)
		return moe_frame_fail(f, d, MOE_EINPUT, "the stream generates (moe.more = 1), but there is no --loop to send tokens back through");
	return send_back(dec, f, s->done ? MOE_KIND_DROP : MOE_KIND_TOKENS, &r->ids.id[r->ids.n - 1], start + rows, d);
}

/* `done`: it is the sequence's last frame, whatever moe.more says; only this program knows. */
static enum moe_err emit_logits(struct moe_decode *dec, struct moe_frame *f, const float *logit, uint64_t first, uint64_t rows, bool done,
				struct moe_output *out, struct moe_diag *d)
{
	static const char *const read[] = {"hidden", "token", "position", "image", "patch_index", "modality"};
	uint64_t n = rows - first, start;
	int32_t *row = moe_arena_get(&dec->scratch, n, sizeof *row);

	if (!row)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	MOE_TRY(moe_frame_number(f, "moe.start", 0, &start, d));
	for (uint64_t i = 0; i < n; i++)
		row[i] = (int32_t)(start + first + i);
	f->kind = MOE_KIND_LOGITS;
	MOE_TRY(moe_frame_set(f, "moe.kind", "logits", d));
	moe_frame_unset(f, "moe.at");
	if (done)
		MOE_TRY(moe_frame_set(f, "moe.more", "0", d));
	for (size_t i = 0; i < sizeof read / sizeof *read; i++)
		moe_frame_remove(f, read[i]);
	MOE_TRY(moe_frame_put(f, "logit", MOE_F32, 2, n, (uint64_t)dec->model->spec->vocab, logit, d));
	MOE_TRY(moe_frame_put(f, "row", MOE_I32, 1, n, 0, row, d));
	return moe_emit(out, f, d);
}

/* Hidden rows of all frames whose logits are wanted, behind each other: one product of the head for the whole batch. */
struct head_job {
	float *x, *logit;
	uint64_t *first, *rows;         /* [frames]: first wanted row, rows */
	size_t n;
};

static enum moe_err gather_rows(struct moe_decode *dec, struct moe_frame **f, size_t n, struct head_job *j, struct moe_diag *d)
{
	size_t hidden = (size_t)dec->model->spec->hidden, total = 0, at = 0;
	const float **x = moe_arena_get(&dec->scratch, n, sizeof *x);
	const uint64_t *shape;

	j->first = moe_arena_get(&dec->scratch, n, sizeof *j->first);
	j->rows = moe_arena_get(&dec->scratch, n, sizeof *j->rows);
	if (!x || !j->first || !j->rows)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		MOE_TRY(moe_frame_tensor(f[i], "hidden", MOE_F32, 2, (const void **)&x[i], &shape, d));
		if (!shape[0] || shape[1] != hidden)
			return moe_frame_fail(f[i], d, MOE_EINPUT, "tensor \"hidden\" is %llu x %llu, expected rows of %zu", (unsigned long long)shape[0],
					      (unsigned long long)shape[1], hidden);
		j->rows[i] = shape[0];
		MOE_TRY(moe_wanted_rows(f[i], shape[0], &j->first[i], d));
		total += shape[0] - j->first[i];
	}
	j->n = total;
	j->x = moe_arena_get(&dec->scratch, total * hidden, sizeof *j->x);
	j->logit = moe_arena_get(&dec->scratch, total * (size_t)dec->model->spec->vocab, sizeof *j->logit);
	if (!j->x || !j->logit)
		return moe_fail(d, MOE_ENOMEM, "out of memory for the logits of %zu rows", total);
	for (size_t i = 0; i < n; i++) {
		size_t rows = j->rows[i] - j->first[i];
		memcpy(j->x + at * hidden, x[i] + j->first[i] * hidden, rows * hidden * sizeof *j->x);
		at += rows;
	}
	return MOE_OK;
}

static enum moe_err run(void *self, struct moe_frame **f, size_t n, struct moe_output *out, struct moe_diag *d)
{
	struct moe_decode *dec = self;
	struct moe_compute work = {&dec->scratch, dec->pool, NULL};
	size_t vocab = (size_t)dec->model->spec->vocab, at = 0;
	struct head_job j;
	char want[40];

	snprintf(want, sizeof want, "%lld.expert", (long long)dec->model->spec->n_layers - 1);
	moe_arena_reset(&dec->scratch);
	for (size_t i = 0; i < n; i++)
		MOE_TRY(moe_at_check(f[i], want, dec->any_order, d));
	MOE_TRY(gather_rows(dec, f, n, &j, d));
	MOE_TRY(moe_head_forward(dec->model, j.x, j.n, j.logit, &work, d));
	for (size_t i = 0; i < n; i++) {
		size_t rows = j.rows[i] - j.first[i];
		struct moe_decode_sequence *s;
		uint64_t rest;
		at += rows;
		MOE_TRY(find_sequence(dec, f[i], &s, d));
		MOE_TRY(note_tokens(dec, f[i], s, j.rows[i], d));
		MOE_TRY(moe_frame_number(f[i], "moe.rest", 0, &rest, d));
		if (!rows)
			MOE_TRY(no_rows(dec, f[i], s, d));
		else if (!rest)
			MOE_TRY(next_token(dec, f[i], s, j.logit + (at - 1) * vocab, j.rows[i], d));
		if (dec->logits && (rows || s->done))   /* a sequence of which none are wanted is answered with none */
			MOE_TRY(emit_logits(dec, f[i], j.logit + (at - rows) * vocab, j.first[i], j.rows[i], s->done, out, d));
	}
	if (dec->n_queue)
		MOE_TRY(push_queue(dec, d));
	return give_answers(dec, d);
}

static enum moe_err notice_failed(struct moe_decode *dec, struct moe_frame *f, struct moe_diag *d)
{
	const char *why = moe_frame_meta(f, "moe.error");
	struct moe_decode_sequence *s;
	uint64_t more;

	MOE_TRY(find_sequence(dec, f, &s, d));
	MOE_TRY(moe_frame_number(f, "moe.more", 0, &more, d));
	s->error = moe_strdup(why ? why : "failed without a message");
	s->done = true;
	if (!s->error)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	if (dec->loop && more) {
		MOE_TRY(send_back(dec, f, MOE_KIND_DROP, NULL, 0, d));
		MOE_TRY(push_queue(dec, d));
	}
	return give_answers(dec, d);
}

static enum moe_err notice(void *self, struct moe_frame *f, struct moe_output *out, struct moe_diag *d)
{
	struct moe_decode *dec = self;

	(void)out;
	switch (f->kind) {
	case MOE_KIND_HEAD:
		return open_loop(dec, d);
	case MOE_KIND_DROP:
		return MOE_AGAIN;       /* our own message, back from the ring */
	case MOE_KIND_FAILED:
		return notice_failed(dec, f, d);
	case MOE_KIND_END:
		if (dec->first && !dec->logits)
			return moe_frame_fail(f, d, MOE_EINPUT, "sequence %llu was not answered", (unsigned long long)dec->first->seq);
		if (dec->fd >= 0) {
			close(dec->fd);
			dec->fd = -1;
		}
		return MOE_OK;
	default:
		return MOE_OK;
	}
}

static enum moe_err use_math(void *self, enum moe_math math, struct moe_diag *d)
{
	struct moe_decode *dec = self;

	return moe_model_use_math(dec->model, math, &(struct moe_math_range){.first = 1, .last = 0, .head = true}, dec->pool, d);
}

struct moe_stage moe_decode_stage(struct moe_decode *dec)
{
	return (struct moe_stage){.self = dec, .kinds = 1u << MOE_KIND_HIDDEN, .sink = true, .run = run, .notice = notice, .math = use_math, .idle = idle};
}
