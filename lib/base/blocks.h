/* Block types: 32 or 256 neighbours of a row share scales. The layouts are GGML's (ggml/src/ggml-common.h, and gguf-py/gguf/quants.py). */
#ifndef MOE_BASE_BLOCKS_H
#define MOE_BASE_BLOCKS_H

#include <stdbool.h>

#include "base/dtype.h"

/* Widens n elements, whole blocks, to f32, with the bits of gguf-py's dequantize; false: no block type. `from` may be unaligned. */
bool moe_blocks_widen(float *to, const void *from, size_t n, enum moe_dtype t);

#endif
