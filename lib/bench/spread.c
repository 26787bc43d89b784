#include "bench/spread.h"

#include "base/sort.h"

struct moe_spread moe_spread_of(double *value, size_t n)
{
	moe_sort_doubles(value, n);
	return (struct moe_spread){(value[(n - 1) / 2] + value[n / 2]) / 2, value[0], value[n - 1]};
}
