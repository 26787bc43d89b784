/* config.json of a model that surgery makes. */
#ifndef MOE_GRAFT_GRAFT_CONFIG_H
#define MOE_GRAFT_GRAFT_CONFIG_H

#include "graft/graft.h"

/* The text, to be freed: that of the first model with what is another setting in `to`, and with a note of the operation behind those that are there. */
enum moe_err moe_graft_config(char **out, struct moe_model *const *model, size_t n, const struct moe_spec *to, const struct moe_graft_options *o,
			      struct moe_diag *d) MOE_CHECK_RESULT;

#endif
