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

/* Compares two tensors; false when type or shape differ. Of types without numbers, and of 64-bit integers that only differ beyond the precision
 * of a double, `differing` counts bytes, and a and b are bytes. */
bool moe_tensor_compare(const struct moe_tensor *a, const struct moe_tensor *b, const struct moe_tolerance *t, struct moe_difference *out);

/* Rows of two `routed` frames whose experts, or their order, differ: rows that differ, and how many of them are ties (the logits of all experts
 * in places that differ lie within `tie` of each other). False when the frames are not comparable. */
bool moe_routing_compare(const struct moe_frame *a, const struct moe_frame *b, double tie, uint64_t *rows, uint64_t *differing, uint64_t *ties);

#endif
