/* Products with the tiles of AMX: of 16 rows with 16 outputs, 32 inputs (or 16) at a time, whose integer sums go by
 * way of memory to the float sums. Weights are signed here. Part of fast_impl.h. */
#include "kernel/tiles.h"

enum { AHEAD = 2 };     /* so many integer sums are under way while one is scaled */

/* Tiles 0 and 1 are sums, 2 and 3 rows of x, 4 and 5 weights: of even and of odd numbers. */
#define TILES(scales) { \
	.palette = 1, .row_nbytes = {64, 64, 32 / (scales), 32 / (scales), 64, 64}, .rows = {16, 16, 16, 16, STEPS / (scales), STEPS / (scales)} \
}

F_FN void use_tiles(enum sums sums)
{
	static const struct tile_config whole = TILES(1), half = TILES(2);

	if (sums == SUMS_2 || sums == SUMS_2_LEAST)
		TILE_CONFIG(half);
	else
		TILE_CONFIG(whole);
}

F_FN void forget_tiles(void) { TILE_RELEASE(); }

#define DOT(c, a, b) __asm__ volatile("tdpbssd %tmm" #b ", %tmm" #a ", %tmm" #c)

/* Integer sum i [16][16]: of block i, or of a half of block i / 2. */
F_FN void integer_sum(int32_t *to, const uint8_t *x, const uint8_t *w, size_t i, size_t scales)
{
	x += i / scales * MOST_M * X_BLOCK + i % scales * 16;
	w += i * (BLOCK_NBYTES / scales);
	if (i % 2) {
		TILE_LOAD(3, x, X_BLOCK);
		TILE_LOAD(5, w, STEP_NBYTES);
		TILE_ZERO(1);
		DOT(1, 3, 5);
		TILE_STORE(1, to, 64);
	} else {
		TILE_LOAD(2, x, X_BLOCK);
		TILE_LOAD(4, w, STEP_NBYTES);
		TILE_ZERO(0);
		DOT(0, 2, 4);
		TILE_STORE(0, to, 64);
	}
}

#define UNROLL_ROWS _Pragma("GCC unroll 16")

/* Adds a sum, scaled, to s. */
F_FN void scale_sum(vpart *s, const int32_t *sum, const float *scale, const uint8_t *x, size_t i, enum sums sums)
{
	size_t scales = scales_of(sums), width = floats_of(sums) / scales, which = scales == 1 ? 0 : 1 + i % 2;
	const uint8_t *block = x + i / scales * MOST_M * X_BLOCK + X_NBYTES;
	const float *e = scale + i * width;

	UNROLL_ROWS
	for (size_t r = 0; r < MOST_M; r++) {
		const struct fast_block *f = (const struct fast_block *)(block + r * X_BLOCK);
		vpart t = part_fma(_mm512_cvtepi32_ps(i_load(sum + r * 16)), f_load(e), f_set(0));
		s[r] = part_fma(t, f_set(f->d), s[r]);
		if (sums == SUMS_1_LEAST || sums == SUMS_2_LEAST)
			s[r] = part_fma(f_load(e + 32), f_set(f->dsum[which]), s[r]);
	}
}

/* One tile of rows with one group of outputs. */
F_FN void tile(float *sum, const uint8_t *x, const uint8_t *w, const float *scale, size_t blocks, enum sums sums)
{
	_Alignas(64) int32_t made[2 * AHEAD][256];
	size_t scales = scales_of(sums), n = blocks * scales;
	vpart s[MOST_M];

	for (size_t i = 0; i < moe_min(n, AHEAD); i++)
		integer_sum(made[i], x, w, i, scales);
	UNROLL_ROWS
	for (size_t r = 0; r < MOST_M; r++)
		s[r] = f_load(sum + r * 32);
	for (size_t i = 0; i < n; i++) {
		if (i + AHEAD < n)
			integer_sum(made[(i + AHEAD) % (2 * AHEAD)], x, w, i + AHEAD, scales);
		scale_sum(s, made[i % (2 * AHEAD)], scale, x, i, sums);
	}
	UNROLL_ROWS
	for (size_t r = 0; r < MOST_M; r++)
		f_store(sum + r * 32, s[r]);
}

F_FN void panel(float *sum, const uint8_t *x, size_t tile_nbytes, size_t rows, const uint8_t *const *q, const float *const *scale, size_t parts,
		size_t blocks, enum sums sums)
{
	for (size_t p = 0; p < parts; p++)
		for (size_t r = 0; r < rows; r += MOST_M)
			tile(sum + r * 32 + p * PART, x + r / MOST_M * tile_nbytes, q[p], scale[p], blocks, sums);
}
