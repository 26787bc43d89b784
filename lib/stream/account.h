/* Bookkeeping of one member: every sequence that began was answered or failed, none began twice, and the counts agree with the end frame.
 * Memory is constant for a million sequences that are numbered in order: what is over is kept as ranges. */
#ifndef MOE_STREAM_ACCOUNT_H
#define MOE_STREAM_ACCOUNT_H

#include "stream/frame.h"

struct moe_account {
	uint64_t frames, sequences, failed;
	struct moe_range { uint64_t first, last; } *seen;       /* numbers that have begun, ascending and apart */
	size_t n_seen, seen_cap;
	uint64_t *open;         /* sequences whose next step is expected */
	size_t n_open, open_cap;
};

void moe_account_free(struct moe_account *a);

/* Takes note of a frame that was read (or written). A head frame starts the next member. */
enum moe_err moe_account_frame(struct moe_account *a, const struct moe_frame *f, struct moe_diag *d) MOE_CHECK_RESULT;

/* Sets the counts in an end frame that is about to be written. */
enum moe_err moe_account_sign(const struct moe_account *a, struct moe_frame *end, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
