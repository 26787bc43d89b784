/* Read-only mappings of whole files. Weights are used in place; the page cache is shared by all programs of a pipeline. */
#ifndef MOE_IO_MAP_H
#define MOE_IO_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct moe_map {
	const uint8_t *bytes;
	size_t nbytes;
	char *path;
	struct moe_map *next;   /* all mappings of the process, for moe_map_name */
};

enum moe_err moe_map_open(struct moe_map **out, const char *path, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_map_close(struct moe_map *m);

/* The bytes, part of a mapping, are not needed soon: their pages, and neighbours that came with them, no longer count as this process's memory; they come back
 * when they are read. For the main thread, as opening and closing are. */
void moe_map_release(const void *bytes, size_t n);

/* Path of the file that `address` is mapped from, NULL if none; for a SIGBUS handler, which may call nothing else. */
const char *moe_map_name(const void *address);

#endif
