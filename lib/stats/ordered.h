/* Lists of structs that begin with a size_t number, by which they are ordered. */
#ifndef MOE_STATS_ORDERED_H
#define MOE_STATS_ORDERED_H

#include <stddef.h>

/* The element of that number in the list of *n elements of `size` bytes at `list`, which is the address of a pointer; made, with zeros behind its number,
 * when it is not there. It moves when another is made. NULL without memory. */
void *moe_ordered_get(void *list, size_t *n, size_t *cap, size_t size, size_t number);

#endif
