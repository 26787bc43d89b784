/* Byte sources: a file, a descriptor or memory, read front to back; gzip is recognised by its magic and unpacked on the way. */
#ifndef MOE_IO_SOURCE_H
#define MOE_IO_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct moe_source;

/* Opens `path` for reading; "-" is standard input (not closed later). A directory is refused. */
enum moe_err moe_source_open(struct moe_source **out, const char *path, struct moe_diag *d) MOE_CHECK_RESULT;

/* Reads from a descriptor that stays the caller's. `name` appears in messages. */
enum moe_err moe_source_fd(struct moe_source **out, int fd, const char *name, struct moe_diag *d) MOE_CHECK_RESULT;

/* Reads n bytes of memory that the caller keeps alive. */
enum moe_err moe_source_memory(struct moe_source **out, const void *bytes, size_t n, const char *name, struct moe_diag *d) MOE_CHECK_RESULT;

/* Reads 1 to `n` bytes into buf as soon as any are there; *got = 0 only at the end. */
enum moe_err moe_source_read(struct moe_source *s, void *buf, size_t n, size_t *got, struct moe_diag *d) MOE_CHECK_RESULT;

/* True when a read would not block. */
bool moe_source_ready(struct moe_source *s);

const char *moe_source_name(const struct moe_source *s);
int moe_source_descriptor(const struct moe_source *s);  /* -1 for memory */
void moe_source_close(struct moe_source *s);

/* Reads all of `path` ("-" too) into a fresh buffer with a NUL behind it, refusing more than `limit` bytes. Release with free(). */
enum moe_err moe_read_file(const char *path, size_t limit, char **bytes, size_t *n, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
