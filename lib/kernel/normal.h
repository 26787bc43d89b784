/* Normal random numbers, counter-based (base/rng.h). */
#ifndef MOE_KERNEL_NORMAL_H
#define MOE_KERNEL_NORMAL_H

#include <stdint.h>

/* With mean 0 and variance 1, by Marsaglia's polar method (Marsaglia and Bray, "A convenient method for generating normal variables", SIAM Review 6, 1964); index
 * is below 2^58. The same bits on every machine. Uses what moe_random_u64 has at 64 index to 64 index + 63 of the stream. */
double moe_random_normal(uint64_t seed, uint64_t stream, uint64_t index);

#endif
