/* Numbers as users write them: one, or a range of them. */
#ifndef MOE_BASE_RANGE_H
#define MOE_BASE_RANGE_H

#include <stdbool.h>
#include <stdint.h>

/* Reads a number (3) or a range with both its ends in it (4-7, or 8- up to `most`) at *p, before `end`, and puts *p behind it. False when there is something
 * else, or not first <= last <= most; *p and what was asked for are then undefined. */
bool moe_range_read(const char **p, const char *end, uint64_t most, uint64_t *first, uint64_t *last);

#endif
