#include "io/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/source.h"

#define JOURNAL_LIMIT ((size_t)4 << 30)

struct moe_journal {
	int fd;
	char *path, *text, *at;         /* what was there, and the next line in it */
	size_t n, number;               /* bytes of complete lines; number of the last line */
};

/* The number of bytes up to the end of the last complete line. */
static size_t complete(const char *text, size_t n)
{
	const char *end = n ? memrchr(text, '\n', n) : NULL;

	return end ? (size_t)(end - text) + 1 : 0;
}

static enum moe_err take(struct moe_journal *j, const char *head, bool anew, struct moe_diag *d)
{
	size_t n = strlen(head), all;

	if (anew && ftruncate(j->fd, 0))
		return moe_fail_errno(d, "cannot begin it anew");
	MOE_TRY(moe_read_file(j->path, JOURNAL_LIMIT, &j->text, &all, d));
	if (strlen(j->text) != all)
		return moe_fail_at(d, MOE_EMATCH, strlen(j->text), "not a journal");
	j->n = complete(j->text, all);
	if (!j->n && strncmp(j->text, head, all))       /* not even the beginning of one */
		return moe_fail(d, MOE_EMATCH, "not a journal");
	j->text[j->n] = 0;
	if (j->n && (j->n < n + 1 || memcmp(j->text, head, n) || j->text[n] != '\n'))
		return moe_fail(d, MOE_EMATCH, "it is about other work: its first line is %.*s, expected %.200s", (int)strcspn(j->text, "\n"), j->text, head);
	if (j->n != all && ftruncate(j->fd, (off_t)j->n))
		return moe_fail_errno(d, "cannot shorten it");
	j->at = j->text;
	j->number = 1;
	if (j->n) {
		j->at += n + 1;
		return MOE_OK;
	}
	MOE_TRY(moe_journal_add(j, head, n, d));
	return moe_journal_add(j, "\n", 1, d);
}

enum moe_err moe_journal_open(struct moe_journal **out, const char *path, const char *head, bool anew, struct moe_diag *d)
{
	struct moe_journal *j = calloc(1, sizeof *j);
	struct stat st;
	enum moe_err err;

	*out = NULL;
	if (!j || !(j->path = moe_strdup(path))) {
		free(j);
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	j->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (j->fd < 0 || fstat(j->fd, &st))
		err = moe_fail_errno(d, "cannot open it for writing");
	else if (!S_ISREG(st.st_mode))
		err = moe_fail(d, MOE_EIO, "not a regular file");
	else if (flock(j->fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
		err = moe_fail(d, MOE_EIO, "another process is at work on it");
	else
		err = take(j, head, anew, d);
	if (err) {
		moe_journal_close(j, false);
		return moe_diag_path(d, path);
	}
	*out = j;
	return MOE_OK;
}

const char *moe_journal_next(struct moe_journal *j, size_t *number)
{
	char *line = j->at, *end = line ? strchr(line, '\n') : NULL;

	if (!end)
		return NULL;
	*end = 0;
	j->at = end + 1;
	*number = ++j->number;
	return line;
}

enum moe_err moe_journal_add(struct moe_journal *j, const char *lines, size_t n, struct moe_diag *d)
{
	for (size_t done = 0; done < n;) {
		ssize_t r = pwrite(j->fd, lines + done, n - done, (off_t)(j->n + done));
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0) {
			moe_fail_errno(d, "cannot write");
			r = ftruncate(j->fd, (off_t)j->n);      /* where that fails, too, some of the lines stay, which is no harm */
			return moe_diag_path(d, j->path);
		}
		done += (size_t)r;
	}
	j->n += n;
	return MOE_OK;
}

void moe_journal_close(struct moe_journal *j, bool done)
{
	if (!j)
		return;
	if (done)
		unlink(j->path);
	if (j->fd >= 0)
		close(j->fd);
	free(j->path);
	free(j->text);
	free(j);
}
