/* What the products of BF16 weights share (bf16_dot.c, bf16_tiles.c): a row is rounded to bf16, [block of 32 inputs][32], padded with zeros, and packed
 * weights are [block][16 pairs of inputs][16 outputs][2]. Subnormal numbers are zeros. */
#include <immintrin.h>
#include <string.h>

#include "base/check.h"
#include "kernel/fast_priv.h"

#define B_TARGET target("avx512f,avx512bw,avx512vl,avx512bf16" B_MORE)
#define B_FN static inline __attribute__((B_TARGET, always_inline))
#define B_STATIC __attribute__((B_TARGET)) static

enum { X_BLOCK = 2 * BLOCK };

/* Rounds n <= 32 floats. vcvtneps2bf16 takes subnormal numbers for zeros; what it rounds is normal. */
B_FN void round_block(uint8_t *to, const float *x, size_t n)
{
	__mmask16 low = (__mmask16)(n >= 16 ? 0xffff : (1u << n) - 1), high = (__mmask16)(n >= 32 ? 0xffff : n > 16 ? (1u << (n - 16)) - 1 : 0);
	__m512bh b = _mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(high, x + 16), _mm512_maskz_loadu_ps(low, x));

	memcpy(to, &b, X_BLOCK);
}

/* One row; from block to block it is one of a tile of `tile_rows`. */
B_FN void round_row(uint8_t *to, const float *x, size_t cols, size_t tile_rows)
{
	for (size_t i = 0; i < cols; i += BLOCK, to += tile_rows * X_BLOCK)
		round_block(to, x + i, moe_min(cols - i, BLOCK));
}
