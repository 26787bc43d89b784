#include "run/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "stage/layers.h"
#include "stage/prompts.h"

extern char **environ;

enum { GRACE_MS = 500 };        /* for a command to end by itself once something has failed */

struct moe_exec {
	const struct moe_model *model;
	enum moe_pass_step step;
	size_t first, last;
	char *command;
	int timeout_ms;
	pid_t pid;
	int to;                         /* its standard input */
	struct moe_reader *from;
	struct moe_frame out, in;
	uint8_t *bytes;                 /* frames on their way out: drops that nobody waits for, and the one that is answered */
	size_t n_bytes, cap;
};

static enum moe_err parse(struct moe_exec *x, const char *text, struct moe_diag *d)
{
	const char *colon = strchr(text, ':'), *equals = colon ? strchr(colon, '=') : NULL;
	size_t layers = (size_t)x->model->spec->n_layers;
	int step;

	if (!equals || !equals[1])
		return moe_fail(d, MOE_EUSAGE, "--exec %s: expected STAGE:LAYERS=COMMAND, such as route:1-2=./mine", text);
	for (step = 0; step <= MOE_PASS_EXPERT; step++) {
		const char *name = moe_step_name((enum moe_step)step);
		if (strlen(name) == (size_t)(colon - text) && !strncmp(text, name, strlen(name)))
			break;
	}
	if (step > MOE_PASS_EXPERT)
		return moe_fail(d, MOE_EUSAGE, "--exec %s: a stage is attend, route or expert", text);
	x->step = (enum moe_pass_step)step;
	if (!moe_layers_parse(colon + 1, (size_t)(equals - colon - 1), layers, &x->first, &x->last))
		return moe_fail(d, MOE_EUSAGE, "--exec %s: layers go from 0 to %zu", text, layers - 1);
	x->command = moe_strdup(equals + 1);
	return x->command ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");
}

/* Starts /bin/sh with these two descriptors as standard input and output, in a process group of its own, so that all that it starts can be killed.
 * Signals that this process may ignore have their defaults there. */
static int start_shell(struct moe_exec *x, int in, int out)
{
	char *argv[] = {"sh", "-c", x->command, NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	sigset_t normal;
	int err;

	sigemptyset(&normal);
	sigaddset(&normal, SIGPIPE);
	sigaddset(&normal, SIGXFSZ);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigdefault(&attributes, &normal);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
	err = posix_spawn(&x->pid, "/bin/sh", &files, &attributes, argv, environ);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attributes);
	return err;
}

static enum moe_err spawn(struct moe_exec *x, struct moe_diag *d)
{
	struct moe_source *s;
	int in[2], back[2], err;

	if (pipe2(in, O_CLOEXEC))
		return moe_fail_errno(d, "cannot make a pipe");
	if (pipe2(back, O_CLOEXEC)) {
		close(in[0]);
		close(in[1]);
		return moe_fail_errno(d, "cannot make a pipe");
	}
	err = start_shell(x, in[0], back[1]);
	close(in[0]);
	close(back[1]);
	x->to = in[1];
	fcntl(x->to, F_SETFL, O_NONBLOCK);
	if (err) {
		x->pid = 0;
		close(back[0]);
		errno = err;
		return moe_fail_errno(d, "cannot start \"%s\"", x->command);
	}
	MOE_TRY(moe_source_fd(&s, back[0], x->command, d));
	MOE_TRY(moe_reader_new(&x->from, s, d));
	moe_reader_open_end(x->from);
	moe_reader_any_crc(x->from, true);
	return MOE_OK;
}

/* write() without SIGPIPE, which ends this process when nobody reads its own output but not when a command stops reading. */
static ssize_t write_quietly(int fd, const void *p, size_t n)
{
	const struct timespec now = {0};
	sigset_t sigpipe, before, pending;
	ssize_t r;
	int err;

	sigemptyset(&sigpipe);
	sigaddset(&sigpipe, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &sigpipe, &before);
	sigpending(&pending);
	r = write(fd, p, n);
	err = errno;
	if (r < 0 && err == EPIPE && !sigismember(&pending, SIGPIPE))
		sigtimedwait(&sigpipe, NULL, &now);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = err;
	return r;
}

/* Writes what the pipe takes now. */
static enum moe_err push(struct moe_exec *x, size_t *at, struct moe_diag *d)
{
	ssize_t r = write_quietly(x->to, x->bytes + *at, x->n_bytes - *at);

	if (r < 0 && errno != EAGAIN && errno != EINTR)
		return moe_fail(d, MOE_EIO, "\"%s\" stopped reading: %s", x->command, strerror(errno));
	*at += r > 0 ? (size_t)r : 0;
	return MOE_OK;
}

/* Sends x->out and waits for the answer in x->in, attending to both ends, so that neither side can block the other. A command may answer before
 * it has read everything. */
static enum moe_err exchange(struct moe_exec *x, struct moe_diag *d)
{
	bool answered = false;
	size_t at = 0;

	MOE_TRY(moe_frame_format(&x->out, &x->bytes, &x->n_bytes, &x->cap, d));
	while (!answered || at < x->n_bytes) {
		struct pollfd p[2] = {{.fd = answered ? -1 : moe_reader_descriptor(x->from), .events = POLLIN},
				      {.fd = at < x->n_bytes ? x->to : -1, .events = POLLOUT}};
		enum moe_err err = answered ? MOE_AGAIN : moe_reader_next(x->from, &x->in, false, d);
		int n;
		if (err == MOE_END)
			return moe_fail(d, MOE_EIO, "\"%s\" ended before it answered", x->command);
		if (!err) {
			answered = x->in.kind != MOE_KIND_DROP;         /* a command may pass those on */
			continue;
		}
		if (err != MOE_AGAIN)
			return err;
		n = poll(p, 2, x->timeout_ms);
		if (n < 0 && errno != EINTR)
			return moe_fail_errno(d, "cannot wait for \"%s\"", x->command);
		if (!n)
			return moe_fail(d, MOE_EIO, "\"%s\" was silent for %g s (--exec-timeout)", x->command, x->timeout_ms / 1000.0);
		if (p[1].revents)
			MOE_TRY(push(x, &at, d));
	}
	x->n_bytes = 0;
	return MOE_OK;
}

static enum moe_err greet(struct moe_exec *x, struct moe_diag *d)
{
	struct moe_identity id = {.model = x->model->fingerprint, .router = &x->model->spec->router, .math = x->model->math};
	const char *crc;

	MOE_TRY(moe_head_make(&x->out, &id, d));
	MOE_TRY(moe_frame_set(&x->out, "moe.end", "none", d));
	MOE_TRY(exchange(x, d));
	if (x->in.kind != MOE_KIND_HEAD)
		return moe_fail(d, MOE_EINPUT, "\"%s\" did not answer the head frame with one", x->command);
	MOE_TRY(moe_head_check(&x->in, &id, d));
	crc = moe_frame_meta(&x->in, "moe.crc");
	moe_reader_any_crc(x->from, crc && !strcmp(crc, "none"));
	return MOE_OK;
}

enum moe_err moe_exec_start(struct moe_exec **out, const char *text, double timeout, const struct moe_model *m, struct moe_diag *d)
{
	struct moe_exec *x = calloc(1, sizeof *x);
	enum moe_err err;

	if (!x)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	x->model = m;
	x->to = -1;
	x->timeout_ms = (int)(timeout * 1000);
	err = parse(x, text, d);
	if (!err)
		err = spawn(x, d);
	if (!err)
		err = greet(x, d);
	if (err) {
		(void)!moe_exec_stop(x, true, NULL);    /* the first failure is the one to tell */
		return err;
	}
	*out = x;
	return MOE_OK;
}

/* Waits until the process has ended, for some time; false: it goes on. */
static bool ended_within(pid_t pid, int ms)
{
	struct pollfd p = {.fd = pidfd_open(pid, 0), .events = POLLIN};
	int n;

	if (p.fd < 0)           /* a kernel without it: wait as long as it takes */
		return true;
	while ((n = poll(&p, 1, ms)) < 0 && errno == EINTR)
		;
	close(p.fd);
	return n != 0;
}

/* What the command still writes when its input has ended, such as news of finished sequences that it passes on: read, so that it is not cut off. */
static void drain(int fd, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char rest[4096];

	while (poll(&p, 1, timeout_ms) > 0) {
		ssize_t n = read(fd, rest, sizeof rest);
		if (!n || (n < 0 && errno != EINTR && errno != EAGAIN))
			return;
	}
}

enum moe_err moe_exec_stop(struct moe_exec *x, bool failed, struct moe_diag *d)
{
	enum moe_err err = MOE_OK;
	bool late = false;
	int status = 0;

	if (x->to >= 0)
		close(x->to);
	if (x->from) {
		int fd = moe_reader_descriptor(x->from);
		if (!failed)
			drain(fd, x->timeout_ms);
		moe_reader_free(x->from);
		close(fd);
	}
	if (x->pid && !ended_within(x->pid, failed ? GRACE_MS : x->timeout_ms)) {
		late = true;
		kill(-x->pid, SIGKILL);         /* and all that it started */
	}
	while (x->pid && waitpid(x->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (late)
		err = moe_fail(d, MOE_EIO, "\"%s\" did not end within %g s of the end of its input (--exec-timeout)", x->command, x->timeout_ms / 1000.0);
	else if (WIFEXITED(status) && WEXITSTATUS(status))
		err = moe_fail(d, MOE_EIO, "\"%s\" ended with status %d", x->command, WEXITSTATUS(status));
	else if (WIFSIGNALED(status) && WTERMSIG(status) != SIGPIPE)
		err = moe_fail(d, MOE_EIO, "\"%s\" was killed by signal %d", x->command, WTERMSIG(status));
	moe_frame_free(&x->out);
	moe_frame_free(&x->in);
	free(x->bytes);
	free(x->command);
	free(x);
	return err;
}

/* Who takes the layer, where not all rows do. */
static enum moe_err put_depth(struct moe_exec *x, const struct moe_pass *p, const struct moe_span *s, struct moe_diag *d)
{
	const struct moe_batch_depth *depth = &p->batch.depth;
	struct moe_frame *f = &x->out;

	if (!depth->on)
		return MOE_OK;
	MOE_TRY(moe_frame_set(f, "moe.choice", x->model->choice, d));
	MOE_TRY(moe_frame_put(f, "entry", MOE_F32, 2, s->n, p->batch.hidden, depth->entry + s->first * p->batch.hidden, d));
	MOE_TRY(moe_frame_put(f, "depth", MOE_U8, 1, s->n, 0, depth->taken + s->first, d));
	return moe_frame_put(f, "depth_logit", MOE_F32, 1, s->n, 0, depth->logit + s->first, d);
}

/* The rows of span i as the stage would get them. */
static enum moe_err make_frame(struct moe_exec *x, const struct moe_pass *p, size_t i, struct moe_diag *d)
{
	const struct moe_span *s = &p->batch.span[i];
	const struct moe_pass_sequence *q = &p->sequence[i];
	size_t hidden = p->batch.hidden, axes = p->batch.axes, k = p->routed.top_k, e = (size_t)x->model->spec->router.experts;
	enum moe_kind kind = x->step == MOE_PASS_EXPERT ? MOE_KIND_ROUTED : MOE_KIND_HIDDEN;
	struct moe_frame *f = &x->out;
	int32_t *position;
	char at[40];

	MOE_TRY(moe_frame_reset(f, kind, d));
	position = moe_arena_get(&f->own, s->n * axes, sizeof *position);
	if (!position)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t a = 0; a < axes; a++)
		memcpy(position + a * s->n, p->batch.position + a * p->batch.rows + s->first, s->n * sizeof *position);
	moe_step_before(p->layer * MOE_N_STEPS + (size_t)x->step, at, sizeof at);
	MOE_TRY(moe_frame_set(f, "moe.at", at, d));
	MOE_TRY(moe_frame_set_number(f, "moe.seq", q->index, d));
	MOE_TRY(moe_frame_set_number(f, "moe.step", q->step, d));
	MOE_TRY(moe_frame_set_number(f, "moe.start", s->start, d));
	MOE_TRY(moe_frame_set_number(f, "moe.next", q->next, d));
	MOE_TRY(moe_frame_set(f, "moe.more", "1", d));
	MOE_TRY(moe_frame_set(f, "moe.logits", "last", d));
	if (q->name)
		MOE_TRY(moe_frame_set(f, "moe.name", q->name, d));
	MOE_TRY(moe_frame_put(f, "hidden", MOE_F32, 2, s->n, hidden, s->x, d));
	MOE_TRY(moe_frame_put(f, "token", MOE_I32, 1, s->n, 0, p->token + s->first, d));
	MOE_TRY(moe_frame_put(f, "position", MOE_I32, 2, axes, s->n, position, d));
	MOE_TRY(moe_frame_put(f, "modality", MOE_U8, 1, s->n, 0, p->modality + s->first, d));
	MOE_TRY(moe_frame_put(f, "image", MOE_I32, 1, s->n, 0, p->batch.image + s->first, d));
	MOE_TRY(moe_frame_put(f, "patch_index", MOE_I32, 1, s->n, 0, p->patch + s->first, d));
	if (x->step != MOE_PASS_ATTEND)
		MOE_TRY(put_depth(x, p, s, d));
	if (kind == MOE_KIND_HIDDEN)
		return MOE_OK;
	MOE_TRY(moe_frame_set(f, "moe.choice", x->model->choice, d));
	MOE_TRY(moe_frame_put(f, "normed", MOE_F32, 2, s->n, hidden, p->routed.normed[s->first], d));
	MOE_TRY(moe_frame_put(f, "expert_id", MOE_I32, 2, s->n, k, p->routed.expert_id + s->first * k, d));
	MOE_TRY(moe_frame_put(f, "weight", MOE_F32, 2, s->n, k, p->routed.weight + s->first * k, d));
	return p->routed.logit ? moe_frame_put(f, "router_logit", MOE_F32, 2, s->n, e, p->routed.logit + s->first * e, d) : MOE_OK;
}

/* Copies a matrix of the answer; an absent one is left alone when it is not `needed`. *given says whether it came. */
static enum moe_err copy_back(struct moe_exec *x, const char *name, enum moe_dtype type, uint64_t rows, uint64_t width, void *to, bool needed, bool *given,
			      struct moe_diag *d)
{
	const uint64_t *shape;
	const void *from;

	*given = moe_frame_find(&x->in, name) != NULL;
	if (!*given && !needed)
		return MOE_OK;
	MOE_TRY(moe_frame_tensor(&x->in, name, type, 2, &from, &shape, d));
	if (shape[0] != rows || shape[1] != width)
		return moe_frame_fail(&x->in, d, MOE_EINPUT, "tensor \"%s\" is %llu x %llu, expected %llu x %llu", name, (unsigned long long)shape[0],
				      (unsigned long long)shape[1], (unsigned long long)rows, (unsigned long long)width);
	memcpy(to, from, rows * width * 4);
	return MOE_OK;
}

/* A column of the answer. */
static enum moe_err column_back(struct moe_exec *x, const char *name, enum moe_dtype type, uint64_t rows, void *to, struct moe_diag *d)
{
	const uint64_t *shape;
	const void *from;

	MOE_TRY(moe_frame_tensor(&x->in, name, type, 1, &from, &shape, d));
	if (shape[0] != rows)
		return moe_frame_fail(&x->in, d, MOE_EINPUT, "tensor \"%s\" has %llu rows, expected %llu", name, (unsigned long long)shape[0], (unsigned long long)rows);
	memcpy(to, from, rows * moe_dtype_nbits(type) / 8);
	return MOE_OK;
}

/* Who takes the layer, by the choice of a command in the place of attention. */
static enum moe_err take_depth(struct moe_exec *x, struct moe_pass *p, const struct moe_span *s, struct moe_diag *d)
{
	struct moe_batch_depth *depth = &p->batch.depth;

	MOE_TRY(column_back(x, "depth", MOE_U8, s->n, depth->taken + s->first, d));
	MOE_TRY(column_back(x, "depth_logit", MOE_F32, s->n, depth->logit + s->first, d));
	for (size_t r = s->first; r < s->first + s->n; r++)
		if (depth->taken[r] > 1 || !isfinite(depth->logit[r]))
			return moe_frame_fail(&x->in, d, MOE_EINPUT, "row %zu: depth is %u and depth_logit %g, expected 0 or 1 and a number", r - s->first, depth->taken[r],
					      (double)depth->logit[r]);
	return MOE_OK;
}

/* Clears *with_logits when a router gave none. */
static enum moe_err take_answer(struct moe_exec *x, struct moe_pass *p, size_t i, bool *with_logits, struct moe_diag *d)
{
	const struct moe_span *s = &p->batch.span[i];
	size_t hidden = p->batch.hidden, k = p->routed.top_k, e = (size_t)x->model->spec->router.experts;
	enum moe_kind want = x->step == MOE_PASS_ROUTE ? MOE_KIND_ROUTED : MOE_KIND_HIDDEN;
	const char *seq = moe_frame_meta(&x->in, "moe.seq"), *sent = moe_frame_meta(&x->out, "moe.seq");
	bool given;

	if (x->in.kind != want && !(x->in.kind == MOE_KIND_HIDDEN && want == MOE_KIND_ROUTED))
		return moe_frame_fail(&x->in, d, MOE_EINPUT, "\"%s\" answered with such a frame, expected \"%s\"", x->command, moe_kind_name(want));
	if (!seq || strcmp(seq, sent))
		return moe_frame_fail(&x->in, d, MOE_EINPUT, "\"%s\" answered for another sequence than %s", x->command, sent);
	MOE_TRY(copy_back(x, "hidden", MOE_F32, s->n, hidden, s->x, x->step != MOE_PASS_ROUTE, &given, d));
	if (x->step == MOE_PASS_ATTEND && p->batch.depth.on)
		MOE_TRY(take_depth(x, p, s, d));
	if (x->step != MOE_PASS_ROUTE)
		return MOE_OK;
	MOE_TRY(copy_back(x, "expert_id", MOE_I32, s->n, k, p->routed.expert_id + s->first * k, true, &given, d));
	MOE_TRY(copy_back(x, "weight", MOE_F32, s->n, k, p->routed.weight + s->first * k, true, &given, d));
	MOE_TRY(copy_back(x, "router_logit", MOE_F32, s->n, e, p->routed.logit + s->first * e, false, &given, d));
	*with_logits &= given;
	MOE_TRY(moe_frame_blame(&x->in, moe_router_check(p->routed.expert_id + s->first * k, p->routed.weight + s->first * k, s->n, k, e, d), d));
	if (given)
		MOE_TRY(moe_frame_blame(&x->in, moe_router_check_logits(p->routed.logit + s->first * e, p->routed.expert_id + s->first * k, s->n, k, e, d), d));
	return copy_back(x, "normed", MOE_F32, s->n, hidden, p->routed.normed[s->first], false, &given, d);
}

enum moe_err moe_exec_step(struct moe_exec *x, struct moe_pass *p, enum moe_pass_step step, bool *done, struct moe_diag *d)
{
	bool with_logits = true;

	if (step != x->step || p->layer < x->first || p->layer > x->last)
		return MOE_OK;
	if (step == MOE_PASS_ROUTE && !moe_spec_top_k(x->model->spec, p->layer))        /* a dense layer has no choice to make */
		return MOE_OK;
	*done = true;
	if (step == MOE_PASS_ATTEND && moe_spec_has_depth(x->model->spec, p->layer))
		MOE_TRY(moe_layer_enter(&p->batch, &p->compute, d));
	if (step == MOE_PASS_ROUTE)     /* what a foreign router need not give: the normed rows, and logits for who watches */
		MOE_TRY(moe_layer_route(x->model, p->layer, &p->batch, NULL, &p->routed, &p->compute, d));
	for (size_t i = 0; i < p->batch.spans; i++) {
		MOE_TRY(make_frame(x, p, i, d));
		enum moe_err err = exchange(x, d);
		if (!err)
			err = take_answer(x, p, i, &with_logits, d);
		if (err && d && d->byte >= 0)   /* a byte of what the command wrote */
			moe_diag_path(d, x->command);
		MOE_TRY(err);
	}
	if (step == MOE_PASS_ROUTE)
		p->routed.choice = NULL;        /* that of the model's own router */
	if (step == MOE_PASS_ROUTE && !with_logits)
		p->routed.logit = NULL;
	if (step == MOE_PASS_EXPERT)
		p->batch.depth.on = false;
	return MOE_OK;
}

enum moe_err moe_exec_drop(struct moe_exec *x, uint64_t sequence, struct moe_diag *d)
{
	if (x->step != MOE_PASS_ATTEND)
		return MOE_OK;
	MOE_TRY(moe_frame_reset(&x->out, MOE_KIND_DROP, d));
	MOE_TRY(moe_frame_set_number(&x->out, "moe.seq", sequence, d));
	return moe_frame_format(&x->out, &x->bytes, &x->n_bytes, &x->cap, d);
}
