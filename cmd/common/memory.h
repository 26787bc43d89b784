/* Refusing what does not fit, before it begins. */
#ifndef MOE_CMD_MEMORY_H
#define MOE_CMD_MEMORY_H

#include "common/cli.h"
#include "run/engine.h"

extern bool memory_any;

#define OPT_MEMORY {0, "any-memory", OPT_FLAG, &memory_any, 0, "begin even if the memory does not suffice: weights are then read again and again", 0, 0, 0}

/* Dies with the numbers when a run of `sequences` of this prompt, with pictures and max_new tokens, takes more than there is; unless --any-memory. */
void memory_check(const struct moe_model *m, const struct moe_image_choice *image, const struct moe_prompt_ids *prompt, size_t n_pictures, size_t max_new,
		  size_t sequences);

/* Makes the arithmetic of --math the model's for all that it computes. Ends the program when the packed weights do not fit. */
void memory_use_math(struct moe_model *m, struct moe_pool *pool);

#endif
