/* Comparing tensors and streams. Routing ties are told apart from differences. */
#ifndef MOE_REPORT_COMPARE_H
#define MOE_REPORT_COMPARE_H

#include <stdbool.h>

#include "stream/frame.h"

struct moe_tolerance {
	double rtol, atol;      /* |a - b| <= atol + rtol · |b|; NaN equals NaN */
	double tie;             /* router logits closer than this are a tie */
};

struct moe_difference {
	uint64_t compared, differing;   /* elements */
	double largest;                 /* |a - b|; infinity when one is not finite and the other is, or has another value */
	uint64_t at;                    /* element of `largest` */
	double a, b;                    /* there */
	double relative;                /* root mean square of a - b over that of b */
};

/* Compares two tensors, without the rows that `skip` [shape[0]] names (NULL: all rows); false when type or shape differ. Whole numbers, and types
 * without numbers, are equal only bit by bit; a block type is compared with any float type by value. */
bool moe_tensor_compare(const struct moe_tensor *a, const struct moe_tensor *b, const struct moe_tolerance *t, const bool *skip, struct moe_difference *out)
	MOE_CHECK_RESULT;

/* Rows of two `routed` frames whose experts differ, in number or order, and which of them are ties: slot by slot, the logits (of b) of the two
 * experts lie within `tie`. (Sorting moves no value further than noise has moved the values, so noise of tie/2 can do no more.) is_tie has a
 * place for every row of a's expert_id. False when the frames are not comparable. */
bool moe_routing_compare(const struct moe_frame *a, const struct moe_frame *b, double tie, bool *is_tie, uint64_t *differing, uint64_t *ties) MOE_CHECK_RESULT;

#endif
