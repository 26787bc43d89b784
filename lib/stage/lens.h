/* The logit lens (nostalgebraist 2020): hidden rows behind any stage, read as if they were those behind the last layer: final norm, head, softmax over the
 * tokens that may be generated. Behind the last layer it is the model's own distribution. `hidden` or `routed` → rows for a function of the caller's. */
#ifndef MOE_STAGE_LENS_H
#define MOE_STAGE_LENS_H

#include "nn/sample.h"
#include "stage/row_choice.h"
#include "stage/stage.h"

struct moe_lens_row {
	const char *name;               /* of the sequence, or NULL */
	uint64_t seq, step, row;        /* row: its number in the sequence */
	const char *at;                 /* moe.at, or NULL */
	int32_t token, patch;           /* what the row is; -1: a patch, or not known; -1: text */
	uint8_t modality;
	double entropy;                 /* of the distribution, nats */
	const struct moe_choice *top;   /* [n_top] by falling probability */
	size_t n_top;
};

struct moe_lens {
	struct moe_model *model;
	struct moe_pool *pool;
	size_t n_top;                           /* most likely tokens per row */
	const bool *suppress;                   /* [vocab] tokens that may not be generated, or NULL */
	const struct moe_row_choice *rows;      /* NULL: those whose logits are wanted (moe.logits) */

	/* Rows in the order of the stream; what they point to is valid during the call. */
	enum moe_err (*row)(void *to, const struct moe_lens_row *r, struct moe_diag *d);
	enum moe_err (*failed)(void *to, const char *name, const char *error, struct moe_diag *d);
	void *to;

	struct moe_arena scratch;               /* state */
};

struct moe_stage moe_lens_stage(struct moe_lens *l);
void moe_lens_free(struct moe_lens *l);

#endif
