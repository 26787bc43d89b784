/* Progress of long work: one line on standard error that is written over, only on a terminal, only after a second, never with --quiet. */
#ifndef MOE_CMD_PROGRESS_H
#define MOE_CMD_PROGRESS_H

#include <stdint.h>

/* `done` things of this kind (such as "pictures") are done. Cheap enough to call for each. */
void progress_show(uint64_t done, const char *things);

/* So many of all bytes are done, in megabytes: what libraries call while they write. `arg` is not used. */
void progress_bytes(void *arg, uint64_t done, uint64_t all);

/* A line of the program's own, for work that has more to tell. */
void progress_line(const char *text);

/* Takes the line away, before anything else is printed on standard error and at the end. */
void progress_clear(void);

#endif
