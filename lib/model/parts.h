/* Parts of a model by name, as options and recipes have them. */
#ifndef MOE_MODEL_PARTS_H
#define MOE_MODEL_PARTS_H

#include "model/spec.h"

/* "embedding", "attention", "vision". */
const char *moe_part_name(enum moe_part part);

/* The part of that name (n bytes, in any case), MOE_N_PARTS if there is none. */
enum moe_part moe_part_find(const char *word, size_t n);

#define MOE_PART_NAMES "embedding, attention, router, experts, shared, dense, norm, head, vision and projector"

#endif
