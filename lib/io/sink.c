#include "io/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"

enum { MAX_IOV = 512 };

/* `path` is NULL for standard output, devices and pipes. `temporary` is NULL while the file has no name: then it goes with the process, however
 * that ends, and gets a name only to be renamed. */
struct moe_sink {
	int fd;
	char *path, *temporary;
};

enum moe_err moe_write_all(int fd, struct iovec *iov, int n, struct moe_diag *d)
{
	while (n > 0) {
		ssize_t r = writev(fd, iov, n < MAX_IOV ? n : MAX_IOV);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return moe_fail_errno(d, "cannot write");
		while (n > 0 && (size_t)r >= iov->iov_len) {
			r -= (ssize_t)iov->iov_len;
			iov++;
			n--;
		}
		if (n > 0) {
			iov->iov_base = (char *)iov->iov_base + r;
			iov->iov_len -= (size_t)r;
		}
	}
	return MOE_OK;
}

/* Devices and FIFOs cannot be replaced: they are written in place. */
static bool in_place(const char *path)
{
	struct stat st;

	return !stat(path, &st) && !S_ISREG(st.st_mode);
}

/* DIRECTORY/.moe-SUFFIX, the directory being that of the path; NULL: no memory. */
static char *beside(const char *path, const char *suffix)
{
	char *copy = moe_strdup(path), *name = NULL;

	if (copy && asprintf(&name, "%s/.moe-%s", dirname(copy), suffix) < 0)
		name = NULL;
	free(copy);
	return name;
}

/* A file without a name in the path's directory; -1 where the file system has no such thing, or no /proc lets it be named later. */
static int open_unnamed(const char *path)
{
	char *copy = moe_strdup(path);
	int fd = -1;

	if (copy && !access("/proc/self/fd", X_OK))
		fd = open(dirname(copy), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
	free(copy);
	return fd;
}

static enum moe_err open_temporary(struct moe_sink *s, const char *path, struct moe_diag *d)
{
	mode_t mask;

	s->path = moe_strdup(path);
	if (!s->path)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	s->fd = open_unnamed(path);
	if (s->fd >= 0)
		return MOE_OK;
	s->temporary = beside(path, "XXXXXX");
	if (!s->temporary)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	s->fd = mkostemp(s->temporary, O_CLOEXEC);
	if (s->fd < 0) {
		moe_fail_errno(d, "cannot create a temporary file beside it");
		free(s->temporary);
		s->temporary = NULL;
		return moe_diag_path(d, path);
	}
	mask = umask(0);
	umask(mask);
	fchmod(s->fd, 0666 & ~mask);
	return MOE_OK;
}

/* Gives the nameless file a temporary name. */
static enum moe_err name_temporary(struct moe_sink *s, struct moe_diag *d)
{
	char from[40], suffix[40];

	snprintf(from, sizeof from, "/proc/self/fd/%d", s->fd);
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(suffix, sizeof suffix, "%ld-%u", (long)getpid(), i);
		s->temporary = beside(s->path, suffix);
		if (!s->temporary)
			return moe_fail(d, MOE_ENOMEM, "out of memory");
		if (!linkat(AT_FDCWD, from, AT_FDCWD, s->temporary, AT_SYMLINK_FOLLOW))
			return MOE_OK;
		free(s->temporary);
		s->temporary = NULL;
		if (errno != EEXIST)
			break;
	}
	return moe_fail_errno(d, "cannot create a temporary file beside it");
}

enum moe_err moe_sink_open(struct moe_sink **out, const char *path, struct moe_diag *d)
{
	struct moe_sink *s = calloc(1, sizeof *s);
	enum moe_err err = MOE_OK;

	if (!s)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	if (!*path) {
		err = moe_fail(d, MOE_EUSAGE, "the name of the output is empty");
	} else if (!strcmp(path, "-")) {
		s->fd = STDOUT_FILENO;
	} else if (in_place(path)) {
		s->fd = open(path, O_WRONLY | O_CLOEXEC);
		if (s->fd < 0) {
			moe_fail_errno(d, "cannot open for writing");
			err = moe_diag_path(d, path);
		}
	} else {
		err = open_temporary(s, path, d);
	}
	if (err) {
		free(s->path);
		free(s);
		return err;
	}
	*out = s;
	return MOE_OK;
}

int moe_sink_descriptor(const struct moe_sink *s) { return s->fd; }

static enum moe_err sync_directory(const char *path, struct moe_diag *d)
{
	char *copy = moe_strdup(path);
	int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	enum moe_err err = MOE_OK;

	free(copy);
	if (fd < 0)
		return moe_fail_errno(d, "cannot open its directory");
	if (fsync(fd) && errno != EINVAL)
		err = moe_fail_errno(d, "cannot sync its directory");
	close(fd);
	return err;
}

static enum moe_err commit(struct moe_sink *s, struct moe_diag *d)
{
	enum moe_err err = MOE_OK;

	if (!s->path)
		return s->fd != STDOUT_FILENO && close(s->fd) ? moe_fail_errno(d, "cannot close") : MOE_OK;
	if (fsync(s->fd))
		err = moe_fail_errno(d, "cannot sync");
	if (!err && !s->temporary)
		err = name_temporary(s, d);
	if (close(s->fd) && !err)
		err = moe_fail_errno(d, "cannot close");
	if (err)
		return err;
	if (rename(s->temporary, s->path))
		return moe_fail_errno(d, "cannot rename the temporary file to it");
	free(s->temporary);
	s->temporary = NULL;
	return sync_directory(s->path, d);
}

enum moe_err moe_sink_commit(struct moe_sink *s, struct moe_diag *d)
{
	enum moe_err err = commit(s, d);

	if (err)
		moe_diag_path(d, s->path ? s->path : "standard output");
	if (s->temporary)
		unlink(s->temporary);
	free(s->temporary);
	free(s->path);
	free(s);
	return err;
}

void moe_sink_abandon(struct moe_sink *s)
{
	if (!s)
		return;
	if (s->fd != STDOUT_FILENO)
		close(s->fd);
	if (s->temporary)
		unlink(s->temporary);
	free(s->temporary);
	free(s->path);
	free(s);
}
