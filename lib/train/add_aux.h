/* A trained model with auxiliary routers beside its own, which are to be trained. */
#ifndef MOE_TRAIN_ADD_AUX_H
#define MOE_TRAIN_ADD_AUX_H

#include "model/model.h"

/* Writes the folder, which must not be there yet or be empty: the model, open with its weights, and auxiliary routers for whatever it chooses over groups,
 * whose first weights are a function of the seed and their names; `stored`: with thresholds, zeros at first. families as in struct moe_spec_options.
 * MOE_EUSAGE for a model that chooses nothing over groups, or has auxiliary routers. */
enum moe_err moe_add_aux(const char *dir, struct moe_model *m, bool stored, uint64_t seed, const char *families, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
