/* What a token costs, in floating-point operations: one count for models of every kind, so that they can be compared. */
#ifndef MOE_MODEL_FLOPS_H
#define MOE_MODEL_FLOPS_H

#include "model/spec.h"

/* Forward, means over the rows of a sequence. Products with weights and those of attention count, 2 for each multiplication with its addition; norms,
 * activations, softmax and rotations do not. An expert, and a layer of mixture-of-depths, counts as often as rows pass it: the share that the capacity says,
 * of keys too. Auxiliary routers are apart from `all`: a pass in which they choose costs both. */
struct moe_flops {
	double tower;                   /* and projector; their attention too */
	double attention, router, experts;      /* router: that of depth too; experts: shared and dense units too */
	double head;                    /* of the rows of text, and of image tokens */
	double all, aux;
	double forward_only;            /* of the tower: what training does not change, the quantiser of image tokens */
};

/* Of a sequence of one picture of `patches` patches, which become as many rows, and `text` tokens behind it; either may be 0, not both. */
enum moe_err moe_spec_flops(struct moe_flops *out, const struct moe_spec *s, size_t patches, size_t text, struct moe_diag *d) MOE_CHECK_RESULT;

/* Of a step of training: forward, and twice that backward. Of auxiliary routers alone: one forward pass of everything, and theirs backward. */
double moe_flops_training(const struct moe_flops *f, bool aux_alone);

#endif
