/* A journal: a file of lines that tells what of long work has been done, so that it can go on after an interruption. Its first line says which work that is.
 * Lines count once they are complete: one that an interruption cut short is taken away when the journal is opened again. */
#ifndef MOE_IO_JOURNAL_H
#define MOE_IO_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct moe_journal;

/* Opens or begins a journal of the work that `head` (one line, without its end) names. MOE_EMATCH when the file is about other work, or no journal, unless it
 * is to be begun anew, whatever it holds; MOE_EIO when another process has it open. */
enum moe_err moe_journal_open(struct moe_journal **out, const char *path, const char *head, bool anew, struct moe_diag *d) MOE_CHECK_RESULT;

/* The next of the lines that were there, behind the first; *number counts from 1 through the file. The line is valid until the journal is closed. NULL: no
 * more. */
const char *moe_journal_next(struct moe_journal *j, size_t *number);

/* Appends n bytes of complete lines. By one thread at a time. */
enum moe_err moe_journal_add(struct moe_journal *j, const char *lines, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;

/* `done`: the file goes, too. NULL is fine. */
void moe_journal_close(struct moe_journal *j, bool done);

#endif
