#include "io/archive.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "io/archive_priv.h"

enum { TIMEOUT_MS = 10000, MAX_RATIO = 1100 };

struct moe_archive {
	struct moe_archive_options o;
	struct moe_worker worker;       /* none once the archive has ended or broken */
	struct moe_archive_counts counts;
	char name[MOE_ARCHIVE_NAME + 1];
	uint8_t *bytes;                 /* of the member at hand, unless they were taken */
	uint8_t *buf;                   /* of the member being received */
	size_t cap, n;
};

/* Writes the suffixes with a NUL behind each into `room`; false when there are too many. */
static bool pack_suffixes(char *room, uint32_t *n, const char *const *s)
{
	for (; s && *s; s++) {
		size_t k = strlen(*s) + 1;
		if (k > MOE_ARCHIVE_SUFFIXES - *n)
			return false;
		memcpy(room + *n, *s, k);
		*n += (uint32_t)k;
	}
	return true;
}

static enum moe_err start(struct moe_archive *a, int fd, struct moe_diag *d)
{
	struct moe_archive_request q = {.max_member_nbytes = a->o.max_member_nbytes, .max_members = a->o.max_members,
	                                .max_ratio = a->o.max_ratio, .names_only = a->o.names_only};
	char suffixes[MOE_ARCHIVE_SUFFIXES];
	uint64_t deadline = moe_now_ms() + a->o.timeout_ms;
	struct stat st;
	enum moe_err err;

	if (fstat(fd, &st))
		return moe_fail_errno(d, "cannot look at the file");
	if (S_ISDIR(st.st_mode))
		return moe_fail(d, MOE_EIO, "is a directory");
	q.nbytes = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
	if (!pack_suffixes(suffixes, &q.n_suffixes, a->o.suffixes))
		return moe_fail(d, MOE_EUSAGE, "too many suffixes");
	MOE_TRY(moe_worker_start(&a->worker, MOE_WORK_ARCHIVE, fd, a->o.no_sandbox, d));
	err = moe_worker_send(&a->worker, &q, sizeof q, deadline);
	if (!err)
		err = moe_worker_send(&a->worker, suffixes, q.n_suffixes, deadline);
	return err ? moe_worker_fail(&a->worker, err, "archive reader", a->o.timeout_ms, d) : MOE_OK;
}

static void set_defaults(struct moe_archive_options *o)
{
	if (!o->max_member_nbytes)
		o->max_member_nbytes = 256 << 20;
	if (!o->max_members)
		o->max_members = 16 << 20;
	if (!o->max_ratio)
		o->max_ratio = MAX_RATIO;
	if (!o->timeout_ms)
		o->timeout_ms = TIMEOUT_MS;
}

enum moe_err moe_archive_open(struct moe_archive **out, const char *path, const struct moe_archive_options *o, struct moe_diag *d)
{
	struct moe_archive *a = calloc(1, sizeof *a);
	enum moe_err err = MOE_OK;
	bool input = !strcmp(path, "-");
	int fd;

	if (!a)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	a->worker.fd = -1;
	a->o = *o;
	set_defaults(&a->o);
	fd = input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		err = moe_fail_errno(d, "cannot open");
	else
		err = start(a, fd, d);
	if (fd >= 0 && !input)
		close(fd);
	if (err) {
		moe_diag_path(d, input ? "standard input" : path);
		moe_archive_close(a);
		return err;
	}
	*out = a;
	return MOE_OK;
}

void moe_archive_close(struct moe_archive *a)
{
	if (!a)
		return;
	moe_worker_end(&a->worker, NULL);
	free(a->bytes);
	free(a->buf);
	free(a);
}

void moe_archive_counts(const struct moe_archive *a, struct moe_archive_counts *out) { *out = a->counts; }

/* ---- what the worker says ---- */

static enum moe_err broken(struct moe_archive *a, struct moe_diag *d, const char *text)
{
	moe_worker_end(&a->worker, NULL);
	return moe_fail(d, MOE_EINPUT, "%s", text);
}

static enum moe_err hear(struct moe_archive *a, void *bytes, size_t n, struct moe_diag *d)
{
	enum moe_err err = moe_worker_receive(&a->worker, bytes, n, moe_now_ms() + a->o.timeout_ms);

	return err ? moe_worker_fail(&a->worker, err, "archive reader", a->o.timeout_ms, d) : MOE_OK;
}

static enum moe_err hear_name(struct moe_archive *a, size_t n, struct moe_diag *d)
{
	if (n > MOE_ARCHIVE_NAME)
		return broken(a, d, "the archive reader's answer makes no sense");
	a->name[0] = 0;
	MOE_TRY(hear(a, a->name, n, d));
	a->name[n] = 0;
	a->n = 0;
	return MOE_OK;
}

static enum moe_err hear_data(struct moe_archive *a, size_t n, struct moe_diag *d)
{
	if (n > MOE_ARCHIVE_CHUNK || n > a->o.max_member_nbytes - a->n)
		return broken(a, d, "the archive reader's answer makes no sense");
	if (moe_grow(&a->buf, &a->cap, a->n + n, 1, d)) {
		moe_worker_end(&a->worker, NULL);
		return MOE_ENOMEM;
	}
	MOE_TRY(hear(a, a->buf + a->n, n, d));
	a->n += n;
	return MOE_OK;
}

/* A failure of the member, or of the whole archive, in the worker's words. */
static enum moe_err hear_failure(struct moe_archive *a, const struct moe_archive_message *m, struct moe_diag *d)
{
	char text[256] = {0};

	if (m->n >= sizeof text)
		return broken(a, d, "the archive reader's answer makes no sense");
	MOE_TRY(hear(a, text, m->n, d));
	for (uint32_t i = 0; i < m->n; i++)
		if (!isprint((unsigned char)text[i]))
			text[i] = '?';
	if (m->what == MOE_SAY_BROKEN)
		return broken(a, d, text);
	return moe_fail(d, MOE_EINPUT, "%s", text);
}

/* One message; *done when a member is complete. MOE_END: the archive is. */
static enum moe_err hear_message(struct moe_archive *a, bool *done, struct moe_diag *d)
{
	struct moe_archive_message m;

	MOE_TRY(hear(a, &m, sizeof m, d));
	if (a->counts.members + a->counts.special + a->counts.passed_over > a->o.max_members)   /* the worker's limit, which it may have forgotten */
		return broken(a, d, "the archive has too many members");
	switch (m.what) {
	case MOE_SAY_NAME:
		return hear_name(a, m.n, d);
	case MOE_SAY_DATA:
		return hear_data(a, m.n, d);
	case MOE_SAY_DONE:
		*done = true;
		return MOE_OK;
	case MOE_SAY_SPECIAL:
		a->counts.special++;
		return MOE_OK;
	case MOE_SAY_PASSED:
		a->counts.passed_over++;
		return MOE_OK;
	case MOE_SAY_FAILED:
	case MOE_SAY_BROKEN:
		return hear_failure(a, &m, d);
	case MOE_SAY_END:
		moe_worker_end(&a->worker, NULL);
		return MOE_END;
	default:
		return broken(a, d, "the archive reader's answer makes no sense");
	}
}

enum moe_err moe_archive_next(struct moe_archive *a, struct moe_member *m, struct moe_diag *d)
{
	enum moe_err err = MOE_OK;
	bool done = false;

	free(a->bytes);
	a->bytes = NULL;
	a->n = 0;
	a->name[0] = 0;
	*m = (struct moe_member){.name = a->name};
	if (a->worker.fd < 0)
		return MOE_END;
	while (!err && !done)
		err = hear_message(a, &done, d);
	if (err == MOE_END)
		return err;
	a->counts.members++;
	if (err)
		return err;
	m->bytes = a->bytes = a->buf;
	m->nbytes = a->n;
	a->buf = NULL;
	a->cap = 0;
	return MOE_OK;
}

uint8_t *moe_archive_take(struct moe_archive *a)
{
	uint8_t *bytes = a->bytes;

	a->bytes = NULL;
	return bytes;
}
