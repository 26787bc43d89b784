/* Products with the tiles of AMX: of 16 rows with 16 outputs, a block of 32 inputs at a time, whose integer sums go by way of memory to the float sums.
 * Weights are signed here. For types with one scale in a block; with two the vector units are quicker (rows.c). Part of fast_impl.h. */
#include "kernel/tiles.h"

enum { AHEAD = 2 };     /* so many integer sums are under way while one is scaled */

F_FN void use_tiles(void)
{
	/* Tiles 0 and 1 are sums, 2 and 3 rows of x, 4 and 5 weights: of even and of odd blocks. */
	static const struct tile_config config = {.palette = 1, .row_nbytes = {64, 64, 32, 32, 64, 64}, .rows = {16, 16, 16, 16, STEPS, STEPS}};

	TILE_CONFIG(config);
}

F_FN void forget_tiles(void) { TILE_RELEASE(); }

#define DOT(c, a, b) __asm__ volatile("tdpbssd %tmm" #b ", %tmm" #a ", %tmm" #c)

/* Integer sums [16][16] of block b. */
F_FN void integer_sum(int32_t *to, const uint8_t *x, const uint8_t *w, size_t b)
{
	x += b * MOST_M * X_BLOCK;
	w += b * BLOCK_NBYTES;
	if (b % 2) {
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

/* Adds the sums of a block of x, scaled, to s; e [scale, not used here, least][16]. */
F_FN void scale_sum(vpart *s, const int32_t *sum, const float *e, const uint8_t *x, bool least)
{
	UNROLL_ROWS
	for (size_t r = 0; r < MOST_M; r++) {
		const struct fast_block *f = (const struct fast_block *)(x + r * X_BLOCK + X_NBYTES);
		vpart t = part_fma(_mm512_cvtepi32_ps(i_load(sum + r * 16)), f_load(e), f_set(0));
		s[r] = part_fma(t, f_set(f->d), s[r]);
		if (least)
			s[r] = part_fma(f_load(e + 32), f_set(f->dsum[0]), s[r]);
	}
}

/* One tile of rows with one group of outputs. */
F_FN void tile(float *sum, const uint8_t *x, const uint8_t *w, const float *scale, size_t blocks, enum sums sums)
{
	_Alignas(64) int32_t made[2 * AHEAD][256];
	vpart s[MOST_M];

	for (size_t b = 0; b < moe_min(blocks, AHEAD); b++)
		integer_sum(made[b], x, w, b);
	UNROLL_ROWS
	for (size_t r = 0; r < MOST_M; r++)
		s[r] = f_load(sum + r * 32);
	for (size_t b = 0; b < blocks; b++) {
		if (b + AHEAD < blocks)
			integer_sum(made[(b + AHEAD) % (2 * AHEAD)], x, w, b + AHEAD);
		scale_sum(s, made[b % (2 * AHEAD)], scale + b * floats_of(sums), x + b * MOST_M * X_BLOCK, sums == SUMS_1_LEAST);
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
