/* Where a run stands: what a checkpoint holds beside weights and moments. */
#ifndef MOE_TRAIN_POSITION_H
#define MOE_TRAIN_POSITION_H

#include <jansson.h>

#include "data/mix.h"

struct moe_run_position {
	uint64_t step, tokens;          /* done in all; tokens are rows that went through the layers */
	uint64_t stage, stage_tokens;   /* the stage at hand, and what is done of it */
	uint64_t samples, failed;       /* samples that were learnt from, and that were passed over */
	uint64_t skipped, in_a_row;     /* steps whose loss or gradient was not finite, in all and since the last good one */
	uint64_t log_nbytes;
	bool ended;                     /* the stage's data have ended before its tokens */
	bool has_data;
	struct moe_mix_position data;   /* of the stage */
};

/* As an object, NULL without memory; and back: MOE_EINPUT where something is missing or out of range. */
json_t *moe_position_value(const struct moe_run_position *p);
enum moe_err moe_position_read(struct moe_run_position *p, const json_t *o, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
