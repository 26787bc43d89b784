/* Is the gradient right? Tensor by tensor the loss is measured at two points on either side of the weights along the gradient itself, which is the direction with the most
 * signal; the difference quotient must be the gradient's norm. Choices of experts are those of the base pass (net.h). */
#ifndef MOE_TRAIN_GRADCHECK_H
#define MOE_TRAIN_GRADCHECK_H

#include "train/net.h"

struct moe_gradcheck {
	const struct moe_param *param;
	double norm;                    /* of the gradient; 0: nothing to compare */
	double ratio;                   /* difference quotient over norm: 1 */
	double tolerance;               /* of the ratio: what rounding of the losses leaves, and 0.001 */
	bool right;
};

/* Calls fn for every tensor. The network's products should be f32. Its weights are what they were, at the end. */
enum moe_err moe_gradcheck(struct moe_net *net, const struct moe_packed *batch, size_t count, const struct moe_loss_settings *s,
			   void (*fn)(void *arg, const struct moe_gradcheck *c), void *arg, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
