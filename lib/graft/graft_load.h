/* How often each expert was chosen, from traces. */
#ifndef MOE_GRAFT_GRAFT_LOAD_H
#define MOE_GRAFT_GRAFT_LOAD_H

#include <stdbool.h>

#include "model/model.h"

/* *out [layers][experts], to be freed: the choices that the traces tell of. MOE_EMATCH: they are of another model (unless `any_model`), or of other layers or
 * experts than it has. */
enum moe_err moe_graft_load(double **out, const char *const *path, size_t n, const struct moe_model *m, bool any_model, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
