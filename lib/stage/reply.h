/* An answer in the making: tokens are chosen, become text, and stop strings are watched for. moe-decode and moe-run share it, so that they stop and sample
 * alike. */
#ifndef MOE_STAGE_REPLY_H
#define MOE_STAGE_REPLY_H

#include "model/merge.h"
#include "model/model.h"
#include "nn/sample.h"
#include "stage/answer.h"
#include "text/detokenizer.h"

/* How answers are generated. */
struct moe_generation {
	const struct moe_spec *spec;
	const struct moe_tokenizer *tokenizer;  /* NULL when nobody wants text */
	struct moe_sampling sampling;
	size_t max_new;                         /* tokens per answer */
	const char *const *stop;                /* [n_stop] texts that end an answer, beside the family's own */
	size_t n_stop;
	bool logprobs;                          /* keep the log-probability of every token, and of the n_best most likely ones in its place */
	size_t n_best;
	bool *suppress;                         /* [vocab] the ids that may not be generated; made by moe_generation_init */
	bool *in_picture, *behind_picture;      /* [vocab] the same between the image tokens of a picture, and behind the last; NULL where the model has none */
};

enum moe_err moe_generation_init(struct moe_generation *g, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_generation_free(struct moe_generation *g);

/* True for an id that ends an answer. */
bool moe_is_end(const struct moe_spec *s, int32_t token);

/* Zeroed: begun. */
struct moe_reply {
	struct moe_ids ids;
	double logprob;                         /* sum over ids */
	struct moe_choice *token;               /* [ids.n] with logprobs */
	struct moe_choice *best;                /* [ids.n][n_best]; token -1 where there are fewer */
	size_t token_cap, best_cap;
	bool *seen;                             /* [vocab] prompt and answer, for the repetition penalty */
	struct moe_text_stream *stream;
	char *text;                             /* n_text bytes, which no later id changes; up to a stop string */
	size_t n_text, text_cap;
	size_t n_sure;                          /* bytes of it that cannot become part of a stop string */
	enum moe_finish finish;
	bool done;
	uint32_t picture;                       /* cursor.picture (model/merge.h) of the next token: to be set where the prompt may end in a picture */
};

/* Tells of tokens of the prompt, for the repetition penalty. */
enum moe_err moe_reply_prompt(struct moe_reply *r, const struct moe_generation *g, const int32_t *token, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;

/* Chooses the next token from logits [vocab], for sequence number `sequence`, and sets `done` when the answer has ended. */
enum moe_err moe_reply_next(struct moe_reply *r, const struct moe_generation *g, const float *logit, uint64_t sequence, struct moe_arena *scratch,
			    struct moe_diag *d) MOE_CHECK_RESULT;

/* Ends the answer here: its text gets what was held back. */
enum moe_err moe_reply_end(struct moe_reply *r, const struct moe_generation *g, struct moe_diag *d) MOE_CHECK_RESULT;

/* The answer as it stands; it borrows all that it points to. */
void moe_reply_answer(const struct moe_reply *r, const struct moe_generation *g, struct moe_answer *a);
void moe_reply_free(struct moe_reply *r);

#endif
