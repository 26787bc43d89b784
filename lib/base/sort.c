#include "base/sort.h"

#include <stdlib.h>

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

void moe_sort_doubles(double *value, size_t n) { qsort(value, n, sizeof *value, by_value); }
