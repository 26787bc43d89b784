/* The largest of many numbers, as a set: what experts and layers take that choose among rows. */
#ifndef MOE_NN_PICK_H
#define MOE_NN_PICK_H

#include <stddef.h>
#include <stdint.h>

/* x (no NaN; -0 is 0) at place i < 2^32 as a key: larger numbers have larger keys and, of equal ones, lower places. */
uint64_t moe_pick_key(float x, size_t i);

/* The place in a key. */
static inline size_t moe_pick_place(uint64_t key) { return (size_t)(~key & 0xffffffff); }

/* The n largest of `count` different keys are those that are not below this. 1 <= n <= count. */
uint64_t moe_pick_limit(const uint64_t *key, size_t count, size_t n);

#endif
