#include "io/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"

enum { MAX_IOV = 512 };

struct moe_sink {
	int fd;
	char *path, *temporary;         /* both NULL for standard output, devices and pipes */
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

/* The descriptor that /dev/stdout and the like stand for, -1 for other paths. They must never be replaced, whatever file is behind them; and
 * opening them anew would write over what that file holds already. */
static int named_descriptor(const char *path)
{
	static const char *const folders[] = {"/dev/fd/", "/proc/self/fd/"};
	char *end;

	if (!strcmp(path, "/dev/stdout"))
		return STDOUT_FILENO;
	if (!strcmp(path, "/dev/stderr"))
		return STDERR_FILENO;
	for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
		size_t n = strlen(folders[i]);
		if (strncmp(path, folders[i], n) || path[n] < '0' || path[n] > '9')
			continue;
		unsigned long fd = strtoul(path + n, &end, 10);
		if (!*end && fd <= INT_MAX)
			return (int)fd;
	}
	return -1;
}

/* Devices and FIFOs cannot be replaced: they are written in place. */
static bool in_place(const char *path)
{
	struct stat st;

	return !stat(path, &st) && !S_ISREG(st.st_mode);
}

/* A symbolic link stays: what it points to is replaced. */
static enum moe_err open_temporary(struct moe_sink *s, const char *path, struct moe_diag *d)
{
	char *target = realpath(path, NULL), *directory = moe_strdup(target ? target : path);

	s->path = target ? target : moe_strdup(path);
	if (!directory || !s->path || asprintf(&s->temporary, "%s/.moe-XXXXXX", dirname(directory)) < 0) {
		free(directory);
		s->temporary = NULL;
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	free(directory);
	s->fd = mkostemp(s->temporary, O_CLOEXEC);
	if (s->fd < 0) {
		moe_fail_errno(d, "cannot create a temporary file beside it");
		free(s->temporary);
		s->temporary = NULL;
		return moe_diag_path(d, path);
	}
	mode_t mask = umask(0);
	umask(mask);
	fchmod(s->fd, 0666 & ~mask);
	return MOE_OK;
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
	} else if (named_descriptor(path) >= 0 || in_place(path)) {
		int fd = named_descriptor(path);
		s->fd = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : open(path, O_WRONLY | O_CLOEXEC);
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
	if (!s->temporary)
		return s->fd != STDOUT_FILENO && close(s->fd) ? moe_fail_errno(d, "cannot close") : MOE_OK;
	if (fsync(s->fd)) {
		moe_fail_errno(d, "cannot sync");
		close(s->fd);
		return MOE_EIO;
	}
	if (close(s->fd))
		return moe_fail_errno(d, "cannot close");
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
