/* Direct logit attribution (Elhage et al. 2021): with the scale of the final norm held at what it is, the logit of a token is a sum over everything that was
 * ever added to the row: its embedding, each layer's attention, each expert with its weight, the shared experts. `hidden` frames behind the last layer,
 * with the parts of all layers (stage/insight.h), → rows for a function of the caller's.
 *
 * With u = the token's row of the head times the weight of the norm, and r = 1 / the root mean square of the row x behind the last layer (RMSNorm), what c
 * adds to the logit is r · u · c. In a LayerNorm r is 1 / the standard deviation and the mean of c is taken off first; its bias is a summand of its own. */
#ifndef MOE_STAGE_ATTRIBUTION_H
#define MOE_STAGE_ATTRIBUTION_H

#include "stage/stage.h"

enum moe_summand_kind { MOE_SUMMAND_EMBEDDING, MOE_SUMMAND_ATTENTION, MOE_SUMMAND_EXPERT, MOE_SUMMAND_SHARED, MOE_SUMMAND_BIAS };

struct moe_summand {
	enum moe_summand_kind kind;
	size_t layer;                   /* of attention and experts */
	int32_t expert;                 /* -1 but for experts */
	double weight;                  /* of the expert; else 1 */
	double logit, lead;             /* what it adds to the answer's logit, and to what that is ahead of the second */
};

/* A row of text whose logits are wanted, and that has parts. */
struct moe_attributed {
	const char *name;               /* of the sequence, or NULL */
	uint64_t seq, step, row;        /* row: its number in the sequence */
	int32_t token, second;          /* the two most likely tokens of those that may be generated; second -1: there is no other */
	double logit, lead;             /* of the token, as the head computes it, and ahead of the second (0 without) */
	const struct moe_summand *summand;      /* [n], which add up to them but for rounding */
	size_t n;
};

struct moe_attribution {
	struct moe_model *model;
	struct moe_pool *pool;
	bool any_order;
	const bool *suppress;           /* [vocab] tokens that may not be generated, or NULL */

	/* Rows in the order of the stream; what they point to is valid during the call. */
	enum moe_err (*row)(void *to, const struct moe_attributed *a, struct moe_diag *d);
	enum moe_err (*failed)(void *to, const char *name, const char *error, struct moe_diag *d);
	void *to;

	struct moe_arena scratch;       /* state */
};

/* A frame without the parts of a layer fails with MOE_EMATCH; one whose parts do not add up to its rows with MOE_EINPUT. */
struct moe_stage moe_attribution_stage(struct moe_attribution *a);
void moe_attribution_free(struct moe_attribution *a);

#endif
