/* What was done to a model before it became what it is: a list in its config.json, which every program hands on. */
#ifndef MOE_MODEL_PROVENANCE_H
#define MOE_MODEL_PROVENANCE_H

#include <jansson.h>

#include "base/err.h"

#define MOE_PROVENANCE "moe_provenance"

/* The list of a model, in the order of the operations: objects of `operation`, `program`, `sources` (fingerprints) and the settings of the operation. A new
 * reference, an empty list where there is none. */
enum moe_err moe_provenance_read(json_t **out, const char *directory, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
