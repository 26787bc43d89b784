/* Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 * The value at (seed, stream, index) is a pure function of the three, so results depend on no order of calls and no thread. */
#ifndef MOE_BASE_RNG_H
#define MOE_BASE_RNG_H

#include <stdint.h>

/* Four 32-bit words for one counter under one key. */
void moe_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* 64 random bits at (seed, stream, index). */
uint64_t moe_random_u64(uint64_t seed, uint64_t stream, uint64_t index);

/* Uniform in [0, 1), 53 bits. */
double moe_random_unit(uint64_t seed, uint64_t stream, uint64_t index);

#endif
