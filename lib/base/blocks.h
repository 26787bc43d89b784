/* Block types: 32 or 256 neighbours of a row share scales. The layouts are GGML's (ggml/src/ggml-common.h, and gguf-py/gguf/quants.py). */
#ifndef MOE_BASE_BLOCKS_H
#define MOE_BASE_BLOCKS_H

#include <stdbool.h>

#include "base/dtype.h"

/* Widens n elements, whole blocks, to f32, with the bits of gguf-py's dequantize; false: no block type. `from` may be unaligned. */
bool moe_blocks_widen(float *to, const void *from, size_t n, enum moe_dtype t);

/* Quantises n finite values, whole blocks, to Q8_0, Q4_0, Q4_K or Q6_K; false for other types (blocks_quantise.c). Q8_0 and Q4_0 have the bits of
 * gguf-py's quantize. Q4_K and Q6_K look for the scales with the least sum of squared errors. The bits are the same on every CPU. Values too large
 * for scales of type F16 become infinite or NaN when widened. */
bool moe_blocks_quantise(void *to, const float *from, size_t n, enum moe_dtype t);

#endif
