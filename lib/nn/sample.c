#include "nn/sample.h"

#include <math.h>

#include "kernel/kernel.h"

enum moe_err moe_choose_greedy(const float *logit, size_t n, const bool *suppress, float *scratch, struct moe_choice *out, struct moe_diag *d)
{
	size_t best = n;
	float sum;

	for (size_t i = 0; i < n; i++) {
		scratch[i] = suppress && suppress[i] ? -INFINITY : logit[i];
		if (isnan(scratch[i]))
			return moe_fail(d, MOE_EINPUT, "the logit of token %zu is NaN", i);
		if (scratch[i] > -INFINITY && (best == n || scratch[i] > scratch[best]))
			best = i;
	}
	if (best == n)
		return moe_fail(d, MOE_EINPUT, "no token is left to choose");
	sum = moe_exp_sum(scratch, scratch, n);         /* relative to the largest, which is the chosen one */
	*out = (struct moe_choice){(int32_t)best, (float)-moe_log((double)sum)};
	return MOE_OK;
}
