/* BF16 with the tiles of AMX: for each block of 32 inputs one fma chain over those of even numbers, one over the odd ones, both from +0, then
 * s = s + (even + odd) (Intel SDM, volume 2, TDPBF16PS). */
#if defined __x86_64__
#define B_MORE ",amx-tile,amx-bf16"
#include "kernel/bf16_impl.h"
#include "kernel/tiles.h"

enum { MOST_M = 16 };

B_STATIC void quantise_one(uint8_t *to, const float *x, size_t cols) { round_row(to, x, cols, 1); }
B_STATIC void quantise_many(uint8_t *to, const float *x, size_t cols) { round_row(to, x, cols, MOST_M); }

/* Tiles 0 to 3 are sums, 4 and 5 rows of x, 6 and 7 weights. */
static const struct tile_config whole = {.palette = 1, .row_nbytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
static const struct tile_config one_row = {.palette = 1, .row_nbytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {1, 1, 1, 1, 1, 1, 16, 16}};

#define DOT(c, a, b) __asm__ volatile("tdpbf16ps %tmm" #b ", %tmm" #a ", %tmm" #c)

/* Adds the products of a tile of rows, whose blocks lie `step` bytes apart, with two groups. */
B_FN void tile_2(float *sum, const uint8_t *x, size_t step, const uint8_t *w0, const uint8_t *w1, size_t blocks)
{
	TILE_LOAD(0, sum, 128);
	TILE_LOAD(1, sum + 16, 128);
	for (size_t b = 0; b < blocks; b++) {
		TILE_LOAD(4, x + b * step, 64);
		TILE_LOAD(6, w0 + b * BF16_BLOCK_NBYTES, 64);
		DOT(0, 4, 6);
		TILE_LOAD(7, w1 + b * BF16_BLOCK_NBYTES, 64);
		DOT(1, 4, 7);
	}
	TILE_STORE(0, sum, 128);
	TILE_STORE(1, sum + 16, 128);
}

B_FN void tile_1(float *sum, const uint8_t *x, size_t step, const uint8_t *w, size_t blocks)
{
	TILE_LOAD(0, sum, 128);
	for (size_t b = 0; b < blocks; b++) {
		TILE_LOAD(4, x + b * step, 64);
		TILE_LOAD(6, w + b * BF16_BLOCK_NBYTES, 64);
		DOT(0, 4, 6);
	}
	TILE_STORE(0, sum, 128);
}

/* Two tiles of rows with two groups: each operand is loaded once for two products. */
B_FN void tile_2x2(float *sum, const uint8_t *x0, const uint8_t *x1, const uint8_t *w0, const uint8_t *w1, size_t blocks)
{
	float *next = sum + MOST_M * 32;

	TILE_LOAD(0, sum, 128);
	TILE_LOAD(1, sum + 16, 128);
	TILE_LOAD(2, next, 128);
	TILE_LOAD(3, next + 16, 128);
	for (size_t b = 0; b < blocks; b++) {
		TILE_LOAD(4, x0 + b * MOST_M * X_BLOCK, 64);
		TILE_LOAD(6, w0 + b * BF16_BLOCK_NBYTES, 64);
		DOT(0, 4, 6);
		TILE_LOAD(7, w1 + b * BF16_BLOCK_NBYTES, 64);
		DOT(1, 4, 7);
		TILE_LOAD(5, x1 + b * MOST_M * X_BLOCK, 64);
		DOT(2, 5, 6);
		DOT(3, 5, 7);
	}
	TILE_STORE(0, sum, 128);
	TILE_STORE(1, sum + 16, 128);
	TILE_STORE(2, next, 128);
	TILE_STORE(3, next + 16, 128);
}

B_FN void panel(float *sum, const uint8_t *x, size_t x_nbytes, size_t rows, const uint8_t *const *w, size_t groups, size_t blocks, size_t tile_rows)
{
	size_t step = tile_rows * X_BLOCK;

	for (size_t r = 0, n; r < rows; r += n, sum += n * 32) {
		const uint8_t *at = x + r / tile_rows * x_nbytes;
		n = tile_rows;
		if (groups == 2 && tile_rows == MOST_M && r + MOST_M < rows) {
			tile_2x2(sum, at, at + x_nbytes, w[0], w[1], blocks);
			n = 2 * MOST_M;
		} else if (groups == 2) {
			tile_2(sum, at, step, w[0], w[1], blocks);
		} else {
			tile_1(sum, at, step, w[0], blocks);
		}
	}
}

B_FN void all_sums(struct fast_scratch *s, const struct fast_job *j, size_t tile_rows)
{
	size_t blocks = bf16_blocks(j->cols);

	memset(s->sum, 0, moe_round_up(j->n, tile_rows) * sizeof s->sum[0]);
	for (size_t b = 0; b < blocks; b += FAST_BLOCKS) {
		const uint8_t *w[2] = {j->group[0] + b * BF16_BLOCK_NBYTES, j->n_groups > 1 ? j->group[1] + b * BF16_BLOCK_NBYTES : NULL};
		panel(s->sum[0], j->x + b * tile_rows * X_BLOCK, blocks * tile_rows * X_BLOCK, j->n, w, j->n_groups, moe_min(FAST_BLOCKS, blocks - b), tile_rows);
	}
}

B_STATIC void sums_one(struct fast_scratch *s, const struct fast_job *j)
{
	TILE_CONFIG(one_row);
	all_sums(s, j, 1);
	TILE_RELEASE();
}

B_STATIC void sums_many(struct fast_scratch *s, const struct fast_job *j)
{
	TILE_CONFIG(whole);
	all_sums(s, j, MOST_M);
	TILE_RELEASE();
}

const struct moe_fast moe_bf16_tiles_one = {.name = "amx", .tile_rows = 1, .block_nbytes = X_BLOCK, .quantise = quantise_one, .sums = sums_one};
const struct moe_fast moe_bf16_tiles = {
	.name = "amx", .tile_rows = MOST_M, .whole_tiles = true, .block_nbytes = X_BLOCK, .quantise = quantise_many, .sums = sums_many,
};
#endif
