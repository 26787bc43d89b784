#include "io/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/mem.h"
#include "io/sink.h"

enum { BLOCK = 10240 };         /* the archive is padded to these, as tar(1) does it */

struct moe_tar {
	struct archive *archive;
	struct archive_entry *entry;
	int fd;
	bool abandoned;
	struct moe_diag why;    /* the first failure of writing */
};

static la_ssize_t on_write(struct archive *a, void *arg, const void *bytes, size_t n)
{
	struct moe_tar *t = arg;
	struct iovec v = {(void *)(uintptr_t)bytes, n};

	if (t->abandoned || !moe_write_all(t->fd, &v, 1, &t->why))
		return (la_ssize_t)n;
	archive_set_error(a, -1, "%s", t->why.text);
	return -1;
}

static enum moe_err fail(struct moe_tar *t, struct moe_diag *d)
{
	if (t->why.code)
		return moe_fail(d, t->why.code, "%s", t->why.text);
	return moe_fail(d, MOE_EIO, "the archive cannot be written: %s", archive_error_string(t->archive) ? archive_error_string(t->archive) : "out of memory");
}

enum moe_err moe_tar_new(struct moe_tar **out, int fd, struct moe_diag *d)
{
	struct moe_tar *t = moe_calloc(1, sizeof *t);

	*out = NULL;
	if (t) {
		t->fd = fd;
		t->archive = archive_write_new();
		t->entry = archive_entry_new();
	}
	if (!t || !t->archive || !t->entry || archive_write_set_format_ustar(t->archive) || archive_write_set_bytes_per_block(t->archive, BLOCK) ||
	    archive_write_set_bytes_in_last_block(t->archive, BLOCK) || archive_write_open(t->archive, t, NULL, on_write, NULL)) {
		moe_tar_abandon(t);
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	*out = t;
	return MOE_OK;
}

enum moe_err moe_tar_add(struct moe_tar *t, const char *name, const void *bytes, size_t n, struct moe_diag *d)
{
	archive_entry_clear(t->entry);
	archive_entry_set_pathname(t->entry, name);
	archive_entry_set_filetype(t->entry, AE_IFREG);
	archive_entry_set_perm(t->entry, 0644);
	archive_entry_set_size(t->entry, (la_int64_t)n);
	if (archive_write_header(t->archive, t->entry) || archive_write_data(t->archive, bytes, n) != (la_ssize_t)n)
		return fail(t, d);
	return MOE_OK;
}

enum moe_err moe_tar_finish(struct moe_tar *t, struct moe_diag *d)
{
	enum moe_err err = archive_write_close(t->archive) ? fail(t, d) : MOE_OK;

	moe_tar_abandon(t);
	return err;
}

void moe_tar_abandon(struct moe_tar *t)
{
	if (!t)
		return;
	t->abandoned = true;
	if (t->entry)
		archive_entry_free(t->entry);
	if (t->archive)
		archive_write_free(t->archive);
	free(t);
}
