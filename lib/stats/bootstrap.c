#include "stats/bootstrap.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/sort.h"

static double resample(const double *part, const double *whole, size_t n, uint32_t number)
{
	const uint32_t key[2] = {0x6d6f65, 0};
	double p = 0, w = 0;
	uint32_t word[4];

	for (size_t i = 0; i < n; i++) {
		size_t at;
		if (i % 4 == 0)
			moe_philox((const uint32_t[]){(uint32_t)(i / 4), number, 0, 0}, key, word);
		at = (size_t)((uint64_t)word[i % 4] * n >> 32);
		p += part[at];
		w += whole[at];
	}
	return p / w;
}

void moe_bootstrap_interval(double *estimate, size_t n, size_t unknown, double *low, double *high)
{
	size_t cut = (n + unknown) / 40;

	*low = *high = NAN;
	if (!n || unknown > cut)
		return;
	moe_sort_doubles(estimate, n);
	*low = estimate[cut - unknown];
	*high = estimate[n - 1 - (cut - unknown)];
}

enum moe_err moe_bootstrap_ratio(const double *part, const double *whole, size_t n, double *low, double *high, struct moe_diag *d)
{
	double *estimate = moe_calloc(MOE_BOOTSTRAP_RESAMPLES, sizeof *estimate);

	*low = *high = 0;
	if (!estimate)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (uint32_t b = 0; n && b < MOE_BOOTSTRAP_RESAMPLES; b++)
		estimate[b] = resample(part, whole, n, b);
	moe_bootstrap_interval(estimate, MOE_BOOTSTRAP_RESAMPLES, 0, low, high);
	free(estimate);
	return MOE_OK;
}
