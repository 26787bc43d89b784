#include "nn/depth.h"

#include <math.h>
#include <string.h>

#include "kernel/kernel.h"
#include "nn/pick.h"
#include "nn/router.h"

static enum moe_err check(const float *logit, size_t rows, struct moe_diag *d)
{
	for (size_t r = 0; r < rows; r++)
		if (!isfinite(logit[r]))
			return moe_fail_row(d, MOE_EINPUT, r, "the depth logit is %g", (double)logit[r]);
	return MOE_OK;
}

enum moe_err moe_depth_choose(uint8_t *taken, const float *logit, size_t rows, double capacity, struct moe_arena *scratch, struct moe_diag *d)
{
	struct moe_arena_mark mark = moe_arena_mark(scratch);
	size_t n = moe_router_quota(rows, capacity, 1);
	uint64_t *key = moe_arena_get(scratch, rows, sizeof *key), limit;

	if (!key)
		return moe_fail(d, MOE_ENOMEM, "out of memory for the choice among %zu rows", rows);
	MOE_TRY(check(logit, rows, d));
	for (size_t r = 0; r < rows; r++)
		key[r] = moe_pick_key(logit[r], r);
	limit = n ? moe_pick_limit(key, rows, n) : 0;
	for (size_t r = 0; r < rows; r++)
		taken[r] = key[r] >= limit;
	moe_arena_release(scratch, mark);
	return MOE_OK;
}

enum moe_err moe_depth_predict(uint8_t *taken, const float *predicted, size_t rows, float threshold, struct moe_diag *d)
{
	MOE_TRY(check(predicted, rows, d));
	for (size_t r = 0; r < rows; r++)
		taken[r] = predicted[r] > threshold;
	return MOE_OK;
}

void moe_depth_apply(float *x, const float *delta, float logit, size_t n) { moe_axpy(x, 1.0f / (1.0f + moe_exp(-logit)), delta, n); }
