/* Members of tar, tar.gz and zip archives (zip: regular files only, it is read from its end), read by libarchive in a confined process.
 * Nothing is ever extracted: names are data, bytes are streamed.
 * Links, devices and folders are counted, not read. No declared size is believed. */
#ifndef MOE_IO_ARCHIVE_H
#define MOE_IO_ARCHIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "sys/server.h"

/* Zeroed options are the defaults. */
struct moe_archive_options {
	uint64_t max_member_nbytes;     /* a larger member fails, alone; 0: 256 MiB */
	uint64_t max_members;           /* of any kind; 0: 16 Mi */
	unsigned max_ratio;             /* bytes out per byte of the archive, after the first MiB, of a regular file; 0: 1100 (deflate reaches 1032) */
	unsigned timeout_ms;            /* without a sign of life; 0: 10,000 */
	bool names_only;                /* members are read and checked, but their bytes are not handed over */
	bool no_sandbox;
	const char *const *suffixes;    /* only members whose name ends so (letters in any case) and does not begin with a dot, e.g. ".png", ".jpg", NULL;
	                                 * NULL: all */
};

struct moe_member {
	const char *name;               /* as stored, "" when the failure belongs to no member */
	const uint8_t *bytes;           /* valid until the next call, like the name; NULL with names_only */
	size_t nbytes;
};

struct moe_archive_counts { uint64_t members, special, passed_over; };  /* handed over or failed; links, devices, folders; other suffixes */

struct moe_archive;

/* Opens the archive at `path` ("-": standard input, from where it stands); it stays unread until moe_archive_next. One thread per archive. The server must run (sys/server.h). */
enum moe_err moe_archive_open(struct moe_archive **out, const char *path, const struct moe_archive_options *o, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_archive_close(struct moe_archive *a);

/* The next member; MOE_END after the last. Any other result is a failure of the member m->name, or of the archive; go on calling until MOE_END
 * (which follows at once when the archive cannot be read any further). */
enum moe_err moe_archive_next(struct moe_archive *a, struct moe_member *m, struct moe_diag *d) MOE_CHECK_RESULT;

/* Makes the bytes of the member at hand the caller's (free); NULL when it has none. */
uint8_t *moe_archive_take(struct moe_archive *a);

void moe_archive_counts(const struct moe_archive *a, struct moe_archive_counts *out);

/* What the server runs for it (sys/server.h). */
extern const struct moe_work moe_archive_work;

#endif
