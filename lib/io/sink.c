#include "io/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"

enum { MAX_IOV = 512 };

/* `path` is NULL for standard output, devices and pipes. `temporary` is NULL while the file has no name: then it goes with the process, however
 * that ends, and gets a name only to be renamed. */
struct moe_sink {
	int fd;
	char *path, *temporary;
};

/* Descriptors are inherited, and some programs leave theirs non-blocking. */
static bool wait_for(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	return poll(&p, 1, -1) > 0 || errno == EINTR;
}

enum moe_err moe_write_all(int fd, struct iovec *iov, int n, struct moe_diag *d)
{
	while (n > 0) {
		ssize_t r = writev(fd, iov, n < MAX_IOV ? n : MAX_IOV);
		if (r < 0 && (errno == EINTR || (errno == EAGAIN && wait_for(fd))))
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

/* The descriptor that a name of the kind /dev/stdout, /dev/fd/3 stands for, -1 for any other name. They are links to what is open, and must be
 * written where it stands: to open the file behind them again would begin at its first byte, to replace it would miss the reader. */
static int named_descriptor(const char *path)
{
	static const char *const folders[] = {"/dev/fd/", "/proc/self/fd/"};
	int fd = 0;

	if (!strcmp(path, "/dev/stdout"))
		return STDOUT_FILENO;
	if (!strcmp(path, "/dev/stderr"))
		return STDERR_FILENO;
	for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
		size_t n = strlen(folders[i]);
		if (strncmp(path, folders[i], n))
			continue;
		for (path += n; *path >= '0' && *path <= '9' && fd < 1 << 20; path++)
			fd = fd * 10 + (*path - '0');
		return *path || path[-1] == '/' ? -1 : fd;
	}
	return -1;
}

/* A file without a name in the path's folder, with the bits of `mode` that the umask leaves; -1 where the file system has no such thing, or no
 * /proc lets it be named later. */
static int create_unnamed(const char *path, mode_t mode)
{
	char *copy = moe_strdup(path);
	int fd = -1;

	if (copy && !access("/proc/self/fd", X_OK))
		fd = open(dirname(copy), O_TMPFILE | O_WRONLY | O_CLOEXEC, mode);
	free(copy);
	return fd;
}

/* Calls create(arg, NAME) with names in the path's folder until one is new; what it returned, -1 with errno when nothing helps. *name is owned. */
static int create_beside(const char *path, int (*create)(int arg, const char *name), int arg, char **name)
{
	static _Atomic unsigned turn;
	char *copy = moe_strdup(path);
	const char *folder = copy ? dirname(copy) : NULL;
	int made = -1;

	*name = NULL;
	for (int tries = 0; folder && made < 0 && tries < 100; tries++) {
		uint64_t x = moe_random_u64((uint64_t)getpid(), turn++, (uint64_t)clock());
		free(*name);
		if (asprintf(name, "%s/.moe-%012llx", folder, (unsigned long long)(x >> 16)) < 0) {
			*name = NULL;
			break;
		}
		made = create(arg, *name);
		if (made < 0 && errno != EEXIST)
			break;
	}
	if (made < 0) {
		free(*name);
		*name = NULL;
	}
	free(copy);
	return made;
}

static int create_named(int mode, const char *name) { return open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, (mode_t)mode); }

/* Gives the nameless file `fd` a name. */
static int link_named(int fd, const char *name)
{
	char from[40];

	snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, from, AT_FDCWD, name, AT_SYMLINK_FOLLOW);
}

/* Replaces `old`, the file that a name leads to; *st is the file that is there, or NULL. */
static enum moe_err open_temporary(struct moe_sink *s, const char *old, const struct stat *st, struct moe_diag *d)
{
	mode_t mode = st ? 0600 : 0666;

	s->path = moe_strdup(old);
	if (!s->path)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	s->fd = create_unnamed(old, mode);
	if (s->fd < 0)
		s->fd = create_beside(old, create_named, (int)mode, &s->temporary);
	if (s->fd < 0)
		return moe_fail_errno(d, "cannot create a temporary file beside it");
	if (st)
		fchmod(s->fd, st->st_mode & 0777);      /* where that cannot be, it stays the owner's alone */
	return MOE_OK;
}

/* What is there is opened, not asked about: the system then applies its own rules about permissions and links. Devices and FIFOs are
 * written in place; the file behind a link is replaced, not the link. */
static enum moe_err open_path(struct moe_sink *s, const char *path, struct moe_diag *d)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	enum moe_err err;
	struct stat st;
	char *real;

	if (fd < 0 && errno == ENOENT && lstat(path, &st))
		return open_temporary(s, path, NULL, d);
	if (fd < 0)
		return moe_fail_errno(d, "cannot open for writing");
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		s->fd = fd;
		return MOE_OK;
	}
	close(fd);
	real = realpath(path, NULL);
	if (!real)
		return moe_fail_errno(d, "cannot find what it leads to");
	err = open_temporary(s, real, &st, d);
	free(real);
	return err;
}

enum moe_err moe_sink_open(struct moe_sink **out, const char *path, struct moe_diag *d)
{
	struct moe_sink *s = calloc(1, sizeof *s);
	int named = named_descriptor(path);
	enum moe_err err = MOE_OK;

	if (!s)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	if (!*path) {
		err = moe_fail(d, MOE_EUSAGE, "the name of the output is empty");
	} else if (!strcmp(path, "-")) {
		s->fd = STDOUT_FILENO;
	} else if (named >= 0) {
		s->fd = fcntl(named, F_DUPFD_CLOEXEC, 3);
		err = s->fd < 0 ? moe_fail_errno(d, "cannot open for writing") : MOE_OK;
	} else {
		err = open_path(s, path, d);
	}
	if (err) {
		if (*path)
			moe_diag_path(d, path);
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
	if (fd < 0 && errno == EACCES)          /* a folder that may be written, but not read, cannot be synced by anybody */
		return MOE_OK;
	if (fd < 0)
		return moe_fail_errno(d, "cannot open its directory");
	if (fsync(fd) && errno != EINVAL)
		err = moe_fail_errno(d, "cannot sync its directory");
	close(fd);
	return err;
}

/* `lasting`: what the disk holds is waited for, before the file has its name and after that. */
static enum moe_err appear(struct moe_sink *s, bool lasting, struct moe_diag *d)
{
	enum moe_err err = MOE_OK;

	if (!s->path)
		return s->fd != STDOUT_FILENO && close(s->fd) ? moe_fail_errno(d, "cannot close") : MOE_OK;
	if (lasting && fsync(s->fd))
		err = moe_fail_errno(d, "cannot sync");
	else if (!s->temporary && create_beside(s->path, link_named, s->fd, &s->temporary) < 0)
		err = moe_fail_errno(d, "cannot create a temporary file beside it");
	if (close(s->fd) && !err)
		err = moe_fail_errno(d, "cannot close");
	if (err)
		return err;
	if (rename(s->temporary, s->path))
		return moe_fail_errno(d, "cannot rename the temporary file to it");
	free(s->temporary);
	s->temporary = NULL;
	return lasting ? sync_directory(s->path, d) : MOE_OK;
}

static enum moe_err end(struct moe_sink *s, bool lasting, struct moe_diag *d)
{
	enum moe_err err = appear(s, lasting, d);

	if (err)
		moe_diag_path(d, s->path ? s->path : "standard output");
	if (s->temporary)
		unlink(s->temporary);
	free(s->temporary);
	free(s->path);
	free(s);
	return err;
}

enum moe_err moe_sink_commit(struct moe_sink *s, struct moe_diag *d) { return end(s, true, d); }

enum moe_err moe_sink_commit_early(struct moe_sink *s, struct moe_diag *d) { return end(s, false, d); }

enum moe_err moe_sink_settle(const char *path, struct moe_diag *d)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	enum moe_err err = MOE_OK;

	if (fd < 0)
		return MOE_OK;
	if (syncfs(fd))
		err = moe_fail_errno(d, "cannot sync");
	close(fd);
	return err ? moe_diag_path(d, path) : MOE_OK;
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
