/* What is told of repeated measurements. */
#ifndef MOE_BENCH_SPREAD_H
#define MOE_BENCH_SPREAD_H

#include <stddef.h>

struct moe_spread {
	double median, least, most;
};

/* Of n >= 1 values, which are sorted; of an even number the median is the mean of the middle two. */
struct moe_spread moe_spread_of(double *value, size_t n);

#endif
