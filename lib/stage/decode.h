/* moe-decode: final norm, head, the next token; hands it back into the ring or finishes the answer. `hidden` → text or `logits`. */
#ifndef MOE_STAGE_DECODE_H
#define MOE_STAGE_DECODE_H

#include "stage/answer.h"
#include "stage/stage.h"

struct moe_decode_sequence;

struct moe_decode {
	const struct moe_model *model;
	const struct moe_tokenizer *tokenizer;  /* NULL when only logits are wanted */
	struct moe_pool *pool;
	size_t max_new;                         /* tokens per answer */
	const char *loop;                       /* path of the FIFO to moe-tokenize, NULL: no ring */
	bool logits;                            /* emit `logits` frames */
	bool any_order;

	/* Answers, in the order in which their sequences began. */
	enum moe_err (*answer)(void *to, const struct moe_answer *a, struct moe_diag *d);
	void *to;

	/* State. */
	bool *suppress;
	int fd;
	uint8_t *queue;                         /* bytes that the FIFO has not taken yet */
	size_t n_queue, queue_cap;
	struct moe_decode_sequence *first, *last;       /* in order of beginning */
	struct moe_arena scratch;
};

enum moe_err moe_decode_init(struct moe_decode *dec, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_decode_free(struct moe_decode *dec);
struct moe_stage moe_decode_stage(struct moe_decode *dec);

/* True for an id that ends an answer. */
bool moe_is_end(const struct moe_spec *s, int32_t token);

/* A table [vocab] of the ids that may not be generated; to be freed. */
bool *moe_suppress_table(const struct moe_spec *s);

#endif
