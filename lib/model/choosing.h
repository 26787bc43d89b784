/* Who chooses in a model whose experts, or layers that only some rows take, choose over groups of rows. A model begins with what it has: auxiliary routers at
 * their stored thresholds, else at one half, else nobody; in one that chooses nothing over groups, each token chooses. */
#ifndef MOE_MODEL_CHOOSING_H
#define MOE_MODEL_CHOOSING_H

#include "model/model.h"

/* What a model begins with. */
void moe_choosing_init(struct moe_model *m);

/* The choice of auxiliary routers, by its name in moe.choice without "causal:": aux or threshold. MOE_EUSAGE where the model has no such. */
enum moe_err moe_choosing_causal(struct moe_model *m, const char *name, struct moe_diag *d) MOE_CHECK_RESULT;

/* The choice over batches of n sequences, as in training: what it gives to a row depends on later rows and on other sequences. MOE_EUSAGE where nothing is
 * chosen over groups. All rows of a batch that the functions of layer.h are given are one group. */
enum moe_err moe_choosing_batch(struct moe_model *m, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;

/* MOE_EMATCH, with the way out, where nobody chooses. */
enum moe_err moe_choosing_check(const struct moe_model *m, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
