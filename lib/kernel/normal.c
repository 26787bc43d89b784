#include "kernel/normal.h"

#include <math.h>

#include "base/rng.h"
#include "kernel/kernel.h"

double moe_random_normal(uint64_t seed, uint64_t stream, uint64_t index)
{
	double u = 0, v, s = 0;

	for (uint64_t attempt = 0; attempt < 64 && (s >= 1 || s == 0); attempt++) {
		uint64_t bits = moe_random_u64(seed, stream, index << 6 | attempt);
		u = ((double)(uint32_t)bits + 0.5) * 0x1p-31 - 1;
		v = ((double)(bits >> 32) + 0.5) * 0x1p-31 - 1;
		s = u * u + v * v;
	}
	return s < 1 && s > 0 ? u * sqrt(-2 * moe_log(s) / s) : 0;
}
