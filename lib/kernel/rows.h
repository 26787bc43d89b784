/* Products of packed weights: the arithmetic `fast`. The bits are the same on every CPU, for any number of rows and threads.
 *
 * Quantised weights. Rows of x are quantised in blocks of 32: a = max |x|; a block with a < 2^-100 is of zeros (d = 0), one with an infinity or NaN
 * has d = NaN and zeros; else d = a / 127 and q = x · (127 / a), rounded to the nearest integer, halves to even, in f32. Then for an output, blocks
 * in ascending order and in a block its scales in order (one for 32 inputs, or two for 16 each):
 *   t = scale · sum(code · q), the sum an integer, exact, rounded once;  s = fma(t, d, s);  with leasts: s = fma(least, d · sum(q), s)
 * with s from +0; d · sum(q) is rounded once. Scale and least are the products that pack.h names, exact in f32. Code is a weight's value over its
 * scale. (An infinite or NaN scale gives some NaN.) Of I8 scale is 1, and s is multiplied by the scale of the output at the end.
 *
 * BF16 weights. x is rounded to bf16, halves to even; in x, w and all results subnormal numbers are zeros of their sign. There are two orders, that
 * of VDPBF16PS (bf16_dot.c) and that of TDPBF16PS (bf16_tiles.c): the only bits of this toolkit that depend on the CPU. A CPU has one of them, for any
 * number of rows, or none. */
#ifndef MOE_KERNEL_ROWS_H
#define MOE_KERNEL_ROWS_H

#include <stdbool.h>

#include "kernel/kernel.h"

struct moe_fast;

/* Rows of activations, quantised once for all products with weights of one kind. */
struct moe_rows {
	const struct moe_fast *fast;    /* whose layout it is */
	uint8_t *data;
	size_t cols;
};

/* Rows [first, first + n) that meet the same weights: an expert's. */
struct moe_group {
	size_t first, n;
	const struct moe_mat *w, *up;   /* up NULL, or as w in type and shape */
	size_t tile;                    /* where its rows lie: set by moe_rows_quantise */
};

/* This CPU has products of such packed weights: of all block types, and of BF16 where it has instructions for them. */
bool moe_rows_known(const struct moe_mat *w);

/* Bytes of the rows of all groups, whose w have one type and shape. */
size_t moe_rows_nbytes(const struct moe_group *group, size_t n_groups);

/* The rows x[i] [cols] of all groups, quantised into `memory` (moe_rows_nbytes, aligned to 64), which r borrows. */
void moe_rows_quantise(struct moe_rows *r, void *memory, const float *const *x, struct moe_group *group, size_t n_groups, struct moe_pool *pool);

/* y[i][n] = x[i] · row n of w, or silu(x[i] · w) · (x[i] · up), for all rows i of all groups. The rows were quantised for these groups, or for others with
 * the same rows and weights of that type and shape. */
void moe_matmul_groups(float *y, size_t ldy, const struct moe_rows *r, const struct moe_group *group, size_t n_groups, struct moe_pool *pool);

#endif
