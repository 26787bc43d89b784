#include "io/source.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/check.h"
#include "base/mem.h"

enum { GZIP_INPUT = 64 << 10 };

/* Bytes come from `fd`, or from memory when fd is -1. Once the magic of gzip is seen, `z` unpacks what `raw` holds. */
struct moe_source {
	int fd;
	bool owned;
	char *name;
	const uint8_t *mem;
	size_t nmem;
	bool begun;             /* the first bytes have been looked at */
	uint8_t peek[2];
	size_t npeek;
	z_stream z;
	bool gzip, member_done, raw_end;
	uint8_t *raw;
};

static enum moe_err make(struct moe_source **out, int fd, const char *name, struct moe_diag *d)
{
	struct moe_source *s = calloc(1, sizeof *s);

	if (!s || !(s->name = moe_strdup(name))) {
		free(s);
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	s->fd = fd;
	*out = s;
	return MOE_OK;
}

enum moe_err moe_source_fd(struct moe_source **out, int fd, const char *name, struct moe_diag *d) { return make(out, fd, name, d); }

enum moe_err moe_source_memory(struct moe_source **out, const void *bytes, size_t n, const char *name, struct moe_diag *d)
{
	MOE_TRY(make(out, -1, name, d));
	(*out)->mem = bytes;
	(*out)->nmem = n;
	return MOE_OK;
}

enum moe_err moe_source_open(struct moe_source **out, const char *path, struct moe_diag *d)
{
	struct stat st;
	enum moe_err err;
	int fd;

	if (!strcmp(path, "-"))
		return make(out, STDIN_FILENO, "standard input", d);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		moe_fail_errno(d, "cannot open");
		return moe_diag_path(d, path);
	}
	if (!fstat(fd, &st) && S_ISDIR(st.st_mode)) {
		close(fd);
		moe_fail(d, MOE_EIO, "is a directory");
		return moe_diag_path(d, path);
	}
	err = make(out, fd, path, d);
	if (err)
		close(fd);
	else
		(*out)->owned = true;
	return err;
}

/* Descriptors are inherited, and some programs leave theirs non-blocking. */
static bool wait_for(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, -1) > 0 || errno == EINTR;
}

static enum moe_err read_plain(struct moe_source *s, void *buf, size_t n, size_t *got, struct moe_diag *d)
{
	ssize_t r;

	if (s->fd < 0) {
		*got = moe_min(n, s->nmem);
		if (*got)
			memcpy(buf, s->mem, *got);
		s->mem += *got;
		s->nmem -= *got;
		return MOE_OK;
	}
	do
		r = read(s->fd, buf, moe_min(n, 1 << 30));
	while (r < 0 && (errno == EINTR || (errno == EAGAIN && wait_for(s->fd))));
	if (r < 0) {
		moe_fail_errno(d, "cannot read");
		return moe_diag_path(d, s->name);
	}
	*got = (size_t)r;
	return MOE_OK;
}

/* Looks at the first bytes and sets up inflate when they are gzip's magic. Waits for a second byte only where the first could be gzip's. */
static enum moe_err begin(struct moe_source *s, struct moe_diag *d)
{
	size_t got = 1;

	s->begun = true;
	while (got && (!s->npeek || (s->npeek < 2 && s->peek[0] == 0x1f))) {
		MOE_TRY(read_plain(s, s->peek + s->npeek, 2 - s->npeek, &got, d));
		s->npeek += got;
	}
	if (s->npeek < 2 || s->peek[0] != 0x1f || s->peek[1] != 0x8b)
		return MOE_OK;
	s->raw = malloc(GZIP_INPUT);
	if (!s->raw || inflateInit2(&s->z, 15 + 16) != Z_OK)
		return moe_fail(d, MOE_ENOMEM, "out of memory for gzip");
	s->gzip = true;
	memcpy(s->raw, s->peek, 2);
	s->z.next_in = s->raw;
	s->z.avail_in = 2;
	s->npeek = 0;
	return MOE_OK;
}

static enum moe_err gzip_error(struct moe_source *s, struct moe_diag *d, const char *what)
{
	moe_fail(d, MOE_EINPUT, "gzip: %s", what);
	return moe_diag_path(d, s->name);
}

static enum moe_err refill(struct moe_source *s, struct moe_diag *d)
{
	size_t got;

	MOE_TRY(read_plain(s, s->raw, GZIP_INPUT, &got, d));
	s->z.next_in = s->raw;
	s->z.avail_in = (uInt)got;
	s->raw_end = !got;
	return MOE_OK;
}

/* Several members in a row are one file (RFC 1952, 2.2); anything else behind a member is damage. */
static enum moe_err read_gzip(struct moe_source *s, void *buf, size_t n, size_t *got, struct moe_diag *d)
{
	s->z.next_out = buf;
	s->z.avail_out = (uInt)moe_min(n, 1 << 30);
	*got = 0;
	while (!*got) {
		int r;
		if (!s->z.avail_in && !s->raw_end)
			MOE_TRY(refill(s, d));
		if (s->raw_end)
			return s->member_done ? MOE_OK : gzip_error(s, d, "the file ends inside the compressed data");
		if (s->member_done) {
			inflateReset(&s->z);
			s->member_done = false;
		}
		r = inflate(&s->z, Z_NO_FLUSH);
		*got = (size_t)(s->z.next_out - (uint8_t *)buf);
		if (r == Z_STREAM_END)
			s->member_done = true;
		else if (r != Z_OK && r != Z_BUF_ERROR)
			return gzip_error(s, d, s->z.msg ? s->z.msg : "damaged data");
	}
	return MOE_OK;
}

enum moe_err moe_source_read(struct moe_source *s, void *buf, size_t n, size_t *got, struct moe_diag *d)
{
	*got = 0;
	if (!n)
		return MOE_OK;
	if (!s->begun)
		MOE_TRY(begin(s, d));
	if (s->gzip)
		return read_gzip(s, buf, n, got, d);
	if (s->npeek) {
		*got = moe_min(n, s->npeek);
		memcpy(buf, s->peek, *got);
		s->npeek -= *got;
		memmove(s->peek, s->peek + *got, s->npeek);
		return MOE_OK;
	}
	return read_plain(s, buf, n, got, d);
}

bool moe_source_ready(struct moe_source *s)
{
	struct pollfd p = {.fd = s->fd, .events = POLLIN};

	if (s->fd < 0 || s->npeek || (s->gzip && s->z.avail_in))
		return true;
	return poll(&p, 1, 0) > 0;
}

const char *moe_source_name(const struct moe_source *s) { return s->name; }
int moe_source_descriptor(const struct moe_source *s) { return s->fd; }

void moe_source_close(struct moe_source *s)
{
	if (!s)
		return;
	if (s->gzip)
		inflateEnd(&s->z);
	if (s->owned)
		close(s->fd);
	free(s->raw);
	free(s->name);
	free(s);
}

enum moe_err moe_read_file(const char *path, size_t limit, char **bytes, size_t *n, struct moe_diag *d)
{
	struct moe_source *s;
	char *buf = NULL;
	size_t cap = 0, used = 0, got = 1;
	enum moe_err err;

	MOE_TRY(moe_source_open(&s, path, d));
	s->begun = true;        /* whole files are wanted as they are */
	err = moe_grow(&buf, &cap, 4096, 1, d);
	while (!err && got) {
		if (used + 1 >= cap)
			err = moe_grow(&buf, &cap, cap + 1, 1, d);
		if (!err)
			err = moe_source_read(s, buf + used, cap - used - 1, &got, d);
		if (!err && (used += got) > limit)
			err = moe_fail(d, MOE_ENOMEM, "larger than %zu bytes", limit);
	}
	if (err) {
		moe_diag_path(d, moe_source_name(s));
		free(buf);
	} else {
		buf[used] = 0;
		*bytes = buf;
		*n = used;
	}
	moe_source_close(s);
	return err;
}
