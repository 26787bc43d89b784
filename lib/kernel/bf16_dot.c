/* BF16 with the dot products of AVX-512: s = fma(w1, x1, s), then fma(w0, x0, s) for each pair of inputs (Intel SDM, volume 2, VDPBF16PS). */
#if defined __x86_64__
#define B_MORE ""
#include "kernel/bf16_impl.h"

#define UNROLL _Pragma("GCC unroll 8")

enum { MOST_M = 8 };

B_STATIC void quantise(uint8_t *to, const float *x, size_t cols) { round_row(to, x, cols, MOST_M); }

B_FN __m512bh pair_of_x(const uint8_t *p)
{
	int32_t two;

	memcpy(&two, p, 4);
	return (__m512bh)_mm512_set1_epi32(two);
}

/* Adds the products of `blocks` blocks of m rows with so many groups. */
B_FN void tile(float *sum, const uint8_t *x, size_t m, const uint8_t *const *w, size_t groups, size_t blocks)
{
	__m512 s[MOST_M][2];

	UNROLL
	for (size_t i = 0; i < m; i++)
		UNROLL
		for (size_t g = 0; g < groups; g++)
			s[i][g] = _mm512_load_ps(sum + i * 32 + g * 16);
	for (size_t b = 0; b < blocks; b++, x += MOST_M * X_BLOCK)
		for (size_t pair = 0; pair < BLOCK / 2; pair++) {
			__m512bh u[2];
			UNROLL
			for (size_t g = 0; g < groups; g++)
				u[g] = (__m512bh)_mm512_load_si512(w[g] + b * BF16_BLOCK_NBYTES + pair * STEP_NBYTES);
			UNROLL
			for (size_t i = 0; i < m; i++) {
				__m512bh two = pair_of_x(x + i * X_BLOCK + 4 * pair);
				UNROLL
				for (size_t g = 0; g < groups; g++)
					s[i][g] = _mm512_dpbf16_ps(s[i][g], u[g], two);
			}
		}
	UNROLL
	for (size_t i = 0; i < m; i++)
		UNROLL
		for (size_t g = 0; g < groups; g++)
			_mm512_store_ps(sum + i * 32 + g * 16, s[i][g]);
}

/* All rows, tile by tile; the number of rows of a tile is a constant, so that the sums stay in registers. */
B_FN void panel(float *sum, const uint8_t *x, size_t tile_nbytes, size_t rows, const uint8_t *const *w, size_t groups, size_t blocks)
{
	for (; rows >= MOST_M; rows -= MOST_M, sum += MOST_M * 32, x += tile_nbytes)
		tile(sum, x, MOST_M, w, groups, blocks);
	switch (rows) {
	case 1: tile(sum, x, 1, w, groups, blocks); break;
	case 2: tile(sum, x, 2, w, groups, blocks); break;
	case 3: tile(sum, x, 3, w, groups, blocks); break;
	case 4: tile(sum, x, 4, w, groups, blocks); break;
	case 5: tile(sum, x, 5, w, groups, blocks); break;
	case 6: tile(sum, x, 6, w, groups, blocks); break;
	case 7: tile(sum, x, 7, w, groups, blocks); break;
	}
}

B_STATIC void sums(struct fast_scratch *s, const struct fast_job *j)
{
	size_t blocks = bf16_blocks(j->cols);

	memset(s->sum, 0, j->n * sizeof s->sum[0]);
	for (size_t b = 0; b < blocks; b += FAST_BLOCKS) {
		const uint8_t *w[2] = {j->group[0] + b * BF16_BLOCK_NBYTES, j->n_groups > 1 ? j->group[1] + b * BF16_BLOCK_NBYTES : NULL};
		size_t n = moe_min(FAST_BLOCKS, blocks - b);
		if (j->n_groups > 1)
			panel(s->sum[0], j->x + b * MOST_M * X_BLOCK, blocks * MOST_M * X_BLOCK, j->n, w, 2, n);
		else
			panel(s->sum[0], j->x + b * MOST_M * X_BLOCK, blocks * MOST_M * X_BLOCK, j->n, w, 1, n);
	}
}

const struct moe_fast moe_bf16_dot = {.name = "avx512-bf16", .tile_rows = MOST_M, .block_nbytes = X_BLOCK, .quantise = quantise, .sums = sums};
#endif
