/* Byte sinks: a descriptor, or a file that appears under its name only when it is complete. */
#ifndef MOE_IO_SINK_H
#define MOE_IO_SINK_H

#include <stddef.h>
#include <sys/uio.h>

#include "base/err.h"

/* Writes all of iov (which it changes); goes on after short writes and EINTR, and waits where the descriptor does not block. */
enum moe_err moe_write_all(int fd, struct iovec *iov, int n, struct moe_diag *d) MOE_CHECK_RESULT;

/* A file being replaced: a temporary in its directory, without a name where the file system can do that (then even a program that is killed leaves
 * nothing behind), then fsync and rename. */
struct moe_sink;

/* Opens the temporary; the new file gets the mode of the old one, and behind a link it is the link's target that is replaced. Written straight, at
 * once: "-" (standard output), /dev/stdout and other names of open descriptors, devices and FIFOs. MOE_EIO where the old file may not be
 * written. */
enum moe_err moe_sink_open(struct moe_sink **out, const char *path, struct moe_diag *d) MOE_CHECK_RESULT;
int moe_sink_descriptor(const struct moe_sink *s);

/* Makes the file appear (fsync, rename, fsync of the directory) and frees the sink, whatever it returns. */
enum moe_err moe_sink_commit(struct moe_sink *s, struct moe_diag *d) MOE_CHECK_RESULT;

/* For many small files: each appears whole, but the disk is not waited for, which takes longer than to make them; a power cut may cost them all. When the last one is
 * there, moe_sink_settle waits for all of the file system that `path`, one of them, is on; not where that cannot be opened (any more), as "-". */
enum moe_err moe_sink_commit_early(struct moe_sink *s, struct moe_diag *d) MOE_CHECK_RESULT;
enum moe_err moe_sink_settle(const char *path, struct moe_diag *d) MOE_CHECK_RESULT;

/* Removes the temporary; the old file stays. NULL is fine. */
void moe_sink_abandon(struct moe_sink *s);

#endif
