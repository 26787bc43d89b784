/* Writing tar archives (ustar): members without times and owners, so that the same content gives the same bytes. */
#ifndef MOE_IO_TAR_H
#define MOE_IO_TAR_H

#include <stddef.h>

#include "base/err.h"

struct moe_tar;

/* An archive to the descriptor, which stays the caller's. */
enum moe_err moe_tar_new(struct moe_tar **out, int fd, struct moe_diag *d) MOE_CHECK_RESULT;

/* A regular file, mode 0644, of n bytes. */
enum moe_err moe_tar_add(struct moe_tar *t, const char *name, const void *bytes, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;

/* Writes the end and frees the writer, whatever it returns. */
enum moe_err moe_tar_finish(struct moe_tar *t, struct moe_diag *d) MOE_CHECK_RESULT;

/* Frees it; what is written stays unfinished. NULL is fine. */
void moe_tar_abandon(struct moe_tar *t);

#endif
