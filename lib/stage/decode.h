/* moe-decode: final norm, head, the next token; hands it back into the ring or finishes the answer. `hidden` → text or `logits`. */
#ifndef MOE_STAGE_DECODE_H
#define MOE_STAGE_DECODE_H

#include "stage/reply.h"
#include "stage/stage.h"

struct moe_decode_sequence;

struct moe_decode {
	struct moe_model *model;
	const struct moe_generation *generation;
	struct moe_pool *pool;
	const char *loop;                       /* path of the FIFO to moe-tokenize, NULL: no ring */
	bool logits;                            /* emit `logits` frames */
	bool any_order;

	/* Answers, in the order in which their sequences began. */
	enum moe_err (*answer)(void *to, const struct moe_answer *a, struct moe_diag *d);
	/* Text of the first answer that is not complete, as soon as it is certain (may be NULL); the answer itself still comes, whole. */
	enum moe_err (*partial)(void *to, const char *name, const char *text, size_t n, struct moe_diag *d);
	void *to;

	/* State. */
	int fd;
	uint8_t *queue;                         /* bytes that the FIFO has not taken yet */
	size_t n_queue, queue_cap;
	struct moe_decode_sequence *first, *last;       /* in order of beginning */
	struct moe_arena scratch;
};

void moe_decode_init(struct moe_decode *dec);
void moe_decode_free(struct moe_decode *dec);
struct moe_stage moe_decode_stage(struct moe_decode *dec);

#endif
