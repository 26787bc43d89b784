/* Binding: the only place where a name in a checkpoint meets a field of a struct. The same walk over all tensors of a spec counts them. */
#ifndef MOE_MODEL_BIND_H
#define MOE_MODEL_BIND_H

#include "model/model.h"

/* Fills the weights of *m from m->weights as m->spec->doc says. Errors name the tensor. */
enum moe_err moe_model_bind(struct moe_model *m, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
