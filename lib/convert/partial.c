#include "convert/partial.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/check.h"
#include "io/journal.h"
#include "io/sink.h"

enum { LINE = 200 };

struct done {
	bool is;
	uint64_t hash;
	struct moe_loss loss;
};

struct moe_partial {
	char *path, *part, *log;
	const struct moe_partial_file *file;
	size_t n_files, n_tensors;
	bool folder;
	int *fd;
	struct moe_journal *journal;    /* the log, while it is open */
	struct done *done;
};

const char *moe_partial_path(const struct moe_partial *p) { return p->part; }

uint64_t moe_partial_hash(uint64_t hash, const void *bytes, size_t n) { return XXH3_64bits_withSeed(bytes, n, hash); }

static enum moe_err fail_path(struct moe_diag *d, const char *path, const char *what)
{
	moe_fail_errno(d, "%s", what);
	return moe_diag_path(d, path);
}

static bool is_empty(const char *folder)
{
	DIR *f = opendir(folder);
	struct dirent *e;
	bool empty = f != NULL;

	while (empty && (e = readdir(f)))
		empty = !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..");
	if (f)
		closedir(f);
	return empty;
}

/* May the output get this name? */
static enum moe_err check_output(const struct moe_partial *p, struct moe_diag *d)
{
	struct stat st;

	if (stat(p->path, &st))
		return errno == ENOENT ? MOE_OK : fail_path(d, p->path, "cannot look at it");
	if (p->folder && S_ISDIR(st.st_mode) && is_empty(p->path))
		return MOE_OK;
	if (p->folder)
		moe_fail(d, MOE_EIO, "is there already: remove it, or name another folder");
	else if (!S_ISREG(st.st_mode))
		moe_fail(d, MOE_EIO, "is there already, and no regular file");
	else if (access(p->path, W_OK))
		moe_fail_errno(d, "is there already, and cannot be replaced");
	else
		return MOE_OK;
	return moe_diag_path(d, p->path);
}

/* A path in the output, to be freed. */
static char *inside(const struct moe_partial *p, const char *name)
{
	char *path;

	return asprintf(&path, "%s%s%s", p->part, name ? "/" : "", name ? name : "") < 0 ? NULL : path;
}

static void remove_part(const struct moe_partial *p)
{
	DIR *f = opendir(p->part);
	struct dirent *e;

	while (f && (e = readdir(f)))
		unlinkat(dirfd(f), e->d_name, 0);
	if (f)
		closedir(f);
	if (f)
		rmdir(p->part);
	else
		unlink(p->part);
}

/* Reads what the log says is done. */
static void read_log(struct moe_partial *p)
{
	const char *line;
	size_t number;

	while ((line = moe_journal_next(p->journal, &number))) {
		struct done v = {.is = true};
		size_t i;
		if (sscanf(line, "%zu %" SCNx64 " %lf %lf %lf", &i, &v.hash, &v.loss.error, &v.loss.reference, &v.loss.largest) == 5 && i < p->n_tensors)
			p->done[i] = v;
	}
}

/* Takes the log for itself. A log that is there without an output is left over, and begun anew. */
static enum moe_err open_log(struct moe_partial *p, const char *key, bool anew, bool *go_on, struct moe_diag *d)
{
	bool there = !access(p->part, F_OK), had_log = !access(p->log, F_OK);
	struct moe_diag why = {0};
	enum moe_err err = MOE_EMATCH;
	char head[LINE];

	*go_on = there && !anew;
	snprintf(head, sizeof head, "conversion 1 %.100s", key);
	if (had_log || !*go_on)
		err = moe_journal_open(&p->journal, p->log, head, !*go_on, &why);
	if (err == MOE_EMATCH) {
		moe_fail(d, err, "is there already, of another model or with other options: remove it, or begin anew");
		return moe_diag_path(d, p->part);
	}
	if (err) {
		moe_fail(d, err, "%s", why.text);
		return moe_diag_path(d, p->log);
	}
	if (*go_on)
		read_log(p);
	else if (there)
		remove_part(p);
	return MOE_OK;
}

/* The whole size at once, so that a full disk is noticed before the work. */
static int take_room(int fd, uint64_t nbytes)
{
	int r;

	do
		r = nbytes ? fallocate(fd, 0, 0, (off_t)nbytes) : 0;
	while (r && errno == EINTR);
	if (r && (errno == EOPNOTSUPP || errno == ENOSYS))
		r = 0;
	return r ? r : ftruncate(fd, (off_t)nbytes);
}

static enum moe_err open_file(struct moe_partial *p, size_t i, struct moe_diag *d)
{
	const struct moe_partial_file *f = &p->file[i];
	char *path = inside(p, f->name);
	struct stat st, old;
	enum moe_err err = MOE_OK;

	if (!path)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	p->fd[i] = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (p->fd[i] < 0)
		err = fail_path(d, path, "cannot create");
	else if (fstat(p->fd[i], &st))
		err = fail_path(d, path, "cannot look at it");
	else if ((uint64_t)st.st_size != f->nbytes && take_room(p->fd[i], f->nbytes))
		err = fail_path(d, path, "cannot take the room for it");
	else if (!p->folder && !stat(p->path, &old))
		fchmod(p->fd[i], old.st_mode & 0777);
	free(path);
	return err ? err : moe_partial_write(p, (unsigned)i, 0, f->head, f->head_nbytes, d);
}

/* The file behind a link is replaced, not the link; a slash at the end says nothing. */
static char *plain_path(const char *path)
{
	char *copy = realpath(path, NULL);
	size_t n;

	if (!copy)
		copy = moe_strdup(path);
	for (n = copy ? strlen(copy) : 0; n > 1 && copy[n - 1] == '/'; n--)
		copy[n - 1] = 0;
	return copy;
}

static enum moe_err begin(struct moe_partial *p, const char *key, bool anew, struct moe_diag *d)
{
	bool go_on = false;
	enum moe_err err = open_log(p, key, anew, &go_on, d);

	if (!err && p->folder && mkdir(p->part, 0777) && errno != EEXIST)
		err = fail_path(d, p->part, "cannot create");
	else if (!err)
		for (size_t i = 0; i < p->n_files && !err; i++)
			err = open_file(p, i, d);
	else
		return err;
	if (err && !go_on)
		moe_partial_discard(p);
	return err;
}

enum moe_err moe_partial_open(struct moe_partial **out, const char *path, const struct moe_partial_file *file, size_t n_files, size_t n_tensors,
			      const char *key, bool anew, struct moe_diag *d)
{
	struct moe_partial *p = calloc(1, sizeof *p);
	enum moe_err err = MOE_OK;

	if (!p)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	*p = (struct moe_partial){.path = plain_path(path), .file = file, .n_files = n_files, .n_tensors = n_tensors, .folder = file[0].name != NULL};
	p->fd = malloc(n_files * sizeof *p->fd);
	p->done = calloc(n_tensors + 1, sizeof *p->done);
	for (size_t i = 0; p->fd && i < n_files; i++)
		p->fd[i] = -1;
	if (!p->path || !p->fd || !p->done || asprintf(&p->part, "%s.part", p->path) < 0 || asprintf(&p->log, "%s.part.log", p->path) < 0)
		err = moe_fail(d, MOE_ENOMEM, "out of memory");
	if (!err)
		err = check_output(p, d);
	if (!err)
		err = begin(p, key, anew, d);
	if (err)
		moe_partial_close(p);
	else
		*out = p;
	return err;
}

enum moe_err moe_partial_put(struct moe_partial *p, const char *name, const void *bytes, size_t n, struct moe_diag *d)
{
	char *path = inside(p, name);
	int fd = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : -1;
	enum moe_err err = MOE_OK;

	if (fd < 0)
		err = path ? fail_path(d, path, "cannot create") : moe_fail(d, MOE_ENOMEM, "out of memory");
	if (!err && (moe_write_all(fd, &(struct iovec){(void *)(uintptr_t)bytes, n}, 1, d) || fsync(fd)))
		err = fail_path(d, path, "cannot write");
	if (fd >= 0 && close(fd) && !err)
		err = fail_path(d, path, "cannot write");
	free(path);
	return err;
}

static enum moe_err fail_file(const struct moe_partial *p, unsigned file, const char *what, struct moe_diag *d)
{
	char *path;

	moe_fail_errno(d, "%s", what);
	path = inside(p, p->file[file].name);
	moe_diag_path(d, path ? path : p->part);
	free(path);
	return MOE_EIO;
}

enum moe_err moe_partial_write(struct moe_partial *p, unsigned file, uint64_t at, const void *bytes, size_t n, struct moe_diag *d)
{
	const uint8_t *from = bytes;

	while (n) {
		ssize_t wrote = pwrite(p->fd[file], from, moe_min(n, 1 << 30), (off_t)at);
		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote <= 0)
			return fail_file(p, file, "cannot write", d);
		from += wrote;
		at += (uint64_t)wrote;
		n -= (size_t)wrote;
	}
	return MOE_OK;
}

enum moe_err moe_partial_read(struct moe_partial *p, unsigned file, uint64_t at, void *bytes, size_t n, struct moe_diag *d)
{
	uint8_t *to = bytes;

	while (n) {
		ssize_t got = pread(p->fd[file], to, n, (off_t)at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return fail_file(p, file, "cannot read", d);
		to += got;
		at += (uint64_t)got;
		n -= (size_t)got;
	}
	return MOE_OK;
}

enum moe_err moe_partial_done(struct moe_partial *p, size_t tensor, uint64_t hash, const struct moe_loss *loss, struct moe_diag *d)
{
	char line[LINE];
	int n = snprintf(line, sizeof line, "%zu %016" PRIx64 " %a %a %a\n", tensor, hash, loss->error, loss->reference, loss->largest);

	return moe_journal_add(p->journal, line, (size_t)n, d);
}

bool moe_partial_was_done(const struct moe_partial *p, size_t tensor, uint64_t *hash, struct moe_loss *loss)
{
	*hash = p->done[tensor].hash;
	*loss = p->done[tensor].loss;
	return p->done[tensor].is;
}

static enum moe_err sync_folder(const char *path, struct moe_diag *d)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = fd < 0 ? 0 : fsync(fd);       /* one that cannot be read cannot be synced */

	if (fd >= 0)
		close(fd);
	return r && errno != EINVAL ? fail_path(d, path, "cannot sync") : MOE_OK;
}

static void end_log(struct moe_partial *p)
{
	moe_journal_close(p->journal, true);
	p->journal = NULL;
}

enum moe_err moe_partial_commit(struct moe_partial *p, struct moe_diag *d)
{
	char *copy;
	enum moe_err err;

	for (size_t i = 0; i < p->n_files; i++)
		if (fsync(p->fd[i]))
			return fail_file(p, (unsigned)i, "cannot write", d);
	if (p->folder)
		MOE_TRY(sync_folder(p->part, d));
	MOE_TRY(check_output(p, d));
	if (rename(p->part, p->path))
		return fail_path(d, p->path, "cannot rename the finished output to it");
	end_log(p);
	copy = moe_strdup(p->path);
	err = copy ? sync_folder(dirname(copy), d) : moe_fail(d, MOE_ENOMEM, "out of memory");
	free(copy);
	return err;
}

void moe_partial_discard(struct moe_partial *p)
{
	remove_part(p);
	end_log(p);
}

void moe_partial_close(struct moe_partial *p)
{
	if (!p)
		return;
	for (size_t i = 0; p->fd && i < p->n_files; i++)
		if (p->fd[i] >= 0)
			close(p->fd[i]);
	moe_journal_close(p->journal, false);
	free(p->fd);
	free(p->done);
	free(p->path);
	free(p->part);
	free(p->log);
	free(p);
}
