/* Numbers in order. */
#ifndef MOE_BASE_SORT_H
#define MOE_BASE_SORT_H

#include <stddef.h>

/* Sorts n numbers that are not NAN, the smallest first. */
void moe_sort_doubles(double *value, size_t n);

#endif
