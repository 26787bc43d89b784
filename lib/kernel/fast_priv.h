/* The table of a variant of the arithmetic `fast` (rows.h), and what its functions share. */
#ifndef MOE_KERNEL_FAST_PRIV_H
#define MOE_KERNEL_FAST_PRIV_H

#include "kernel/pack_priv.h"
#include "kernel/rows.h"

/* Most rows of x and blocks of inputs between which packed weights are read again, so that a chunk of them stays in the nearest cache. */
enum { FAST_ROWS = 144, FAST_BLOCKS = 16, MOST_SCALES = 96 };

/* Beside a block's quantised inputs: for 32 inputs, and for its first and last 16. */
struct fast_block {
	float d, dsum[3];               /* d · sum(q) */
	int32_t init[3];                /* FAST_MAGIC - 128 · sum(q): what a sum of products with weights + 128 begins with */
	int32_t unused;
};

/* The bits of 1.5 · 2^23. That integer + i, |i| < 2^22, has the bits of the float 1.5 · 2^23 + i, so fma(it, scale, -1.5 · 2^23 · scale) is scale · i,
 * rounded once, since 1.5 · 2^23 · scale is exact: integers become floats on the way. A block's sum is at most 32 · 127 · 128 < 2^22. */
enum { FAST_MAGIC = 0x4b400000 };
#define FAST_MAGIC_FLOAT 12582912.0f

/* What one thread needs. */
struct fast_scratch {
	_Alignas(64) float sum[FAST_ROWS][32];                          /* of two groups */
	_Alignas(64) uint8_t codes[2][FAST_BLOCKS * BLOCK_NBYTES];      /* a chunk of a group: [blocks][8][16][4] */
	_Alignas(64) float scales[2][FAST_BLOCKS * MOST_SCALES];        /* [blocks][1 or 2][scale, -1.5 · 2^23 · scale, least (or none)][16] */
};

/* Sums of n rows with group g of two matrices, or with groups g and g + 1 of one. */
struct fast_job {
	const struct packing *packing;  /* NULL: BF16 */
	const uint8_t *x;               /* the first of the rows, which begins a tile */
	const uint8_t *group[2];
	size_t n_groups, n, cols;
};

/* Quantised rows lie in tiles of so many: [tile][block of inputs][row of the tile][block_nbytes]. */
struct moe_fast {
	const char *name;
	size_t tile_rows;               /* divides FAST_ROWS */
	bool whole_tiles;               /* a tile is read whole: rows that are not there are of zeros */
	size_t block_nbytes;            /* of a quantised block of inputs of a row */
	void (*quantise)(uint8_t *to, const float *x, size_t cols);     /* one row */
	void (*sums)(struct fast_scratch *s, const struct fast_job *j);
};

extern const struct moe_fast moe_fast_c;
#if defined __x86_64__
extern const struct moe_fast moe_fast_avx2, moe_fast_avx_vnni, moe_fast_avx512, moe_fast_vnni, moe_fast_amx;
extern const struct moe_fast moe_bf16_dot, moe_bf16_tiles_one, moe_bf16_tiles;
#endif

#endif
