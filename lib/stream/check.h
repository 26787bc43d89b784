/* Verifying and completing streams: moe-view --check and --seal. */
#ifndef MOE_STREAM_CHECK_H
#define MOE_STREAM_CHECK_H

#include "stream/account.h"
#include "stream/reader.h"
#include "stream/writer.h"

/* Reads all of a stream as the strictest stage would. Failures carry the byte. *frames counts what was good. */
enum moe_err moe_stream_check(struct moe_reader *r, uint64_t *frames, struct moe_diag *d) MOE_CHECK_RESULT;

/* The same with a look of the caller's own at each good frame, which may find more that is wrong with it. */
enum moe_err moe_stream_check_with(struct moe_reader *r, uint64_t *frames, enum moe_err (*look)(void *self, struct moe_frame *f, struct moe_diag *d), void *self,
				   struct moe_diag *d) MOE_CHECK_RESULT;

struct moe_seal {
	struct moe_reader *head;        /* a stream whose head frame stands in for a missing one, or NULL */
	bool assume_complete;           /* the end of the input is the end of the member */
};

/* Copies a stream with fresh CRCs, padding and counts. Without `head` and `assume_complete`, the head and end frames must be there. */
enum moe_err moe_stream_seal(struct moe_reader *r, struct moe_writer *w, const struct moe_seal *o, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
