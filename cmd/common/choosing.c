#include "common/choosing.h"

#include "model/choosing.h"

struct choosing_options choosing_options;

void choosing_apply(struct moe_model *m)
{
	const struct choosing_options *o = &choosing_options;
	struct moe_diag d = {0};

	if (o->batch && o->causal)
		cli_fail("--batch-choice and --causal-choice are two ways to choose: give one");
	if (o->batch)
		cli_check(moe_choosing_batch(m, (size_t)o->batch, &d), &d);
	if (o->causal)
		cli_check(moe_choosing_causal(m, o->causal, &d), &d);
}
