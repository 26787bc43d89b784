/* Which tensors a stage leaves as they are. */
#ifndef MOE_TRAIN_FREEZE_H
#define MOE_TRAIN_FREEZE_H

#include "base/err.h"
#include "train/params.h"

/* What a stage leaves as it is. Begins with zeros. */
struct moe_frozen {
	bool *tensor;                   /* [tensors]: the whole of it */
	struct moe_frozen_run {
		size_t offset, count;   /* floats of the vectors of parameters */
	} *run;                         /* [n_runs]: and of tensors that are trained in part, these */
	size_t n_runs, cap;
	float *kept;                    /* the weights of all runs, between moe_frozen_hold and moe_frozen_restore */
};

/* Sets what the words say, one after the other:
 *
 *     [!][PART][@LAYERS[.EXPERTS]]
 *
 * PART is the name of a part (model/parts.h), or "all" or nothing for every one; LAYERS and EXPERTS are numbers or ranges such as 0-3, 2- or - (all). With !,
 * what it says is trained again. "vision", "experts@0-2", "!experts@-.4-7". Layers are those of the trunk; of the part vision they are those of an encoder of
 * pictures. Of a router, EXPERTS are the rows of its matrix and the numbers of its biases, so that "@-.4-7" is all that these experts have. What is trained
 * beside the model (params.h) is never frozen. MOE_EUSAGE for a word that says nothing, or that no tensor of this model is meant by. */
enum moe_err moe_freeze(struct moe_frozen *f, const struct moe_params *params, char *const *words, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_frozen_free(struct moe_frozen *f);

/* Around a step: the gradient of the runs becomes 0, and their weights are remembered; and they are what they were, since weight decay and old moments move
 * weights without a gradient, too. */
void moe_frozen_hold(struct moe_frozen *f, const float *weights, float *gradient);
void moe_frozen_restore(const struct moe_frozen *f, float *weights);

/* Is this a well-formed word? Of any model. */
enum moe_err moe_freeze_check(const char *word, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
