#include "bench/spread.h"

#include <stdlib.h>

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

struct moe_spread moe_spread_of(double *value, size_t n)
{
	qsort(value, n, sizeof *value, compare);
	return (struct moe_spread){(value[(n - 1) / 2] + value[n / 2]) / 2, value[0], value[n - 1]};
}
