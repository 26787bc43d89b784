#include "train/trainlog.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "sys/memory.h"

enum { LOCK_TRIES = 50, LOCK_WAIT = 20000 };     /* microseconds: a second in all */

struct moe_trainlog {
	int fd;
	char *path;
	uint64_t at;            /* bytes in the file */
	char *pending;          /* lines that it does not have yet */
	size_t n_pending, cap;
};

/* A process that was killed a moment ago may still be leaving. */
static bool lock(int fd)
{
	for (int tries = 0; flock(fd, LOCK_EX | LOCK_NB); tries++) {
		if (errno == EINTR)
			continue;
		if (errno != EWOULDBLOCK || tries == LOCK_TRIES)
			return errno != EWOULDBLOCK;    /* a file system without locks */
		usleep(LOCK_WAIT);
	}
	return true;
}

enum moe_err moe_trainlog_open(struct moe_trainlog **out, const char *path, uint64_t at, bool *lost, struct moe_diag *d)
{
	struct moe_trainlog *l = calloc(1, sizeof *l);
	struct stat st;

	if (!l || !(l->path = moe_strdup(path))) {
		free(l);
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	l->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (l->fd >= 0 && !lock(l->fd)) {
		moe_trainlog_close(l);
		moe_fail(d, MOE_EIO, "another process is training here");
		return moe_diag_path(d, path);
	}
	if (l->fd < 0 || fstat(l->fd, &st) || ((uint64_t)st.st_size > at && ftruncate(l->fd, (off_t)at))) {
		moe_fail_errno(d, "cannot open it for writing");
		moe_trainlog_close(l);
		return moe_diag_path(d, path);
	}
	*lost = (uint64_t)st.st_size < at;
	l->at = *lost ? (uint64_t)st.st_size : at;
	*out = l;
	return MOE_OK;
}

/* As much as the disk takes; errno when that is not all. */
static bool flush(struct moe_trainlog *l)
{
	while (l->n_pending) {
		ssize_t n = pwrite(l->fd, l->pending, l->n_pending, (off_t)l->at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		l->at += (uint64_t)n;
		l->n_pending -= (size_t)n;
		memmove(l->pending, l->pending + n, l->n_pending);
	}
	return true;
}

static enum moe_err append(struct moe_trainlog *l, const char *line, size_t n, struct moe_diag *d)
{
	MOE_TRY(moe_grow(&l->pending, &l->cap, l->n_pending + n, 1, d));
	memcpy(l->pending + l->n_pending, line, n);
	l->n_pending += n;
	flush(l);               /* what stays is written later, or moe_trainlog_sync tells */
	return MOE_OK;
}

static void number(FILE *f, const char *key, double v)
{
	if (isfinite(v))
		fprintf(f, ",\"%s\":%.7g", key, v);
	else
		fprintf(f, ",\"%s\":null", key);
}

static void text(FILE *f, const char *before, const char *s)
{
	json_t *v = json_string(s);
	char *quoted = v ? json_dumps(v, JSON_ENCODE_ANY) : NULL;

	fprintf(f, "%s%s", before, quoted ? quoted : "\"\"");
	free(quoted);
	json_decref(v);
}

/* What is not the same twice: the speed of a step, and the memory that the run holds. Nothing when no time was taken. */
static void timings(FILE *f, uint64_t rows, double seconds)
{
	if (seconds > 0) {
		number(f, "tokens_per_s", (double)rows / seconds);
		fprintf(f, ",\"memory\":%" PRIu64, moe_memory_now());
	}
}

/* Completes the line that was printed to f (NULL: there is none), and frees it. */
static enum moe_err finish(struct moe_trainlog *l, FILE *f, char **line, size_t *n, struct moe_diag *d)
{
	enum moe_err err;

	if (f)
		fputs("}\n", f);
	err = !f || fclose(f) ? moe_fail(d, MOE_ENOMEM, "out of memory") : append(l, *line, *n, d);
	free(*line);
	return err;
}

enum moe_err moe_trainlog_write_step(struct moe_trainlog *l, const struct moe_trainlog_step *s, struct moe_diag *d)
{
	char *line = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&line, &n);

	if (f) {
		fprintf(f, "{\"step\":%" PRIu64 ",\"tokens\":%" PRIu64, s->step, s->tokens);
		text(f, ",\"stage\":", s->stage);
		number(f, "loss", s->loss);
		number(f, "text", s->text);
		if (s->has_image)
			number(f, "image", s->image);
		number(f, "patch", s->patch);
		number(f, "balance", s->balance);
		number(f, "z", s->z);
		if (s->taught) {
			number(f, "soft", s->soft);
			number(f, "match", s->match);
		}
		if (s->of_aux) {
			number(f, "aux", s->aux);
			number(f, "right", s->right);
			number(f, "foretold", s->foretold);
			number(f, "taken", s->taken);
		}
		number(f, "grad_norm", s->grad_norm);
		number(f, "lr_muon", s->muon_rate);
		number(f, "lr_adamw", s->adamw_rate);
		number(f, "busiest", s->busiest);
		if (s->experts_choose)
			number(f, "unserved", s->unserved);
		if (s->skipped)
			fputs(",\"skipped\":true", f);
		timings(f, s->rows, s->seconds);
	}
	return finish(l, f, &line, &n, d);
}

enum moe_err moe_trainlog_write_dev(struct moe_trainlog *l, const struct moe_trainlog_dev *v, struct moe_diag *d)
{
	char *line = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&line, &n);

	if (f) {
		fprintf(f, "{\"dev\":true,\"step\":%" PRIu64 ",\"tokens\":%" PRIu64, v->step, v->tokens);
		if (v->choice)
			text(f, ",\"choice\":", v->choice);
		if (v->flips > 0)
			number(f, "flips", v->flips);
		number(f, "text", v->text);
		if (v->has_image)
			number(f, "image", v->image);
		number(f, "patch", v->patch);
		fprintf(f, ",\"questions\":%" PRIu64 ",\"exact\":%" PRIu64 ",\"types\":{", v->questions, v->exact);
		for (size_t i = 0; i < v->n_types; i++) {
			text(f, i ? "," : "", v->type[i].type);
			fprintf(f, ":[%" PRIu64 ",%" PRIu64 "]", v->type[i].exact, v->type[i].questions);
		}
		fputs("}", f);
	}
	return finish(l, f, &line, &n, d);
}

enum moe_err moe_trainlog_write_quantiser(struct moe_trainlog *l, const struct moe_trainlog_quantiser *s, struct moe_diag *d)
{
	char *line = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&line, &n);

	if (f) {
		fprintf(f, "{%s\"step\":%" PRIu64 ",\"tokens\":%" PRIu64, s->dev ? "\"dev\":true," : "", s->step, s->tokens);
		if (!s->dev) {
			text(f, ",\"stage\":", s->stage);
			number(f, "loss", s->loss);
			number(f, "picture", s->picture);
			number(f, "commitment", s->commitment);
		}
		number(f, "psnr", s->psnr);
		fprintf(f, ",\"codes\":%" PRIu64, s->codes);
		if (!s->dev) {
			number(f, "grad_norm", s->grad_norm);
			number(f, "lr_adamw", s->rate);
		}
		if (s->skipped)
			fputs(",\"skipped\":true", f);
		timings(f, s->patches, s->seconds);
	}
	return finish(l, f, &line, &n, d);
}

enum moe_err moe_trainlog_sync(struct moe_trainlog *l, uint64_t *at, struct moe_diag *d)
{
	if (!flush(l) || (fsync(l->fd) && errno != EINVAL)) {
		moe_fail_errno(d, "cannot write");
		return moe_diag_path(d, l->path);
	}
	*at = l->at;
	return MOE_OK;
}

void moe_trainlog_close(struct moe_trainlog *l)
{
	if (!l)
		return;
	if (l->fd >= 0)
		close(l->fd);
	free(l->path);
	free(l->pending);
	free(l);
}
