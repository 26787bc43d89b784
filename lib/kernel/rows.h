/* Products of packed weights: the arithmetic `fast`. The bits are the same on every CPU, for any number of rows and threads.
 *
 * Quantised weights. Rows of x are quantised in blocks of 32: a = max |x|; a block with a < 2^-100 is of zeros (d = 0), one with an infinity or NaN
 * has d = NaN and zeros; else d = a / 127 and q = x · (127 / a), rounded to the nearest integer, halves to even, in f32. Then for an output, blocks
 * in ascending order and in a block its scales in order (one for 32 inputs, or two for 16 each):
 *   t = scale · sum(code · q), the sum an integer, exact, rounded once;  s = fma(t, d, s);  with leasts: s = fma(least, d · sum(q), s)
 * with s from +0; d · sum(q) is rounded once. Scale and least are the products that pack.h names, exact in f32. Code is a weight's value over its
 * scale. (An infinite or NaN scale gives some NaN.)
 *
 * BF16 weights. x is rounded to bf16, halves to even. For pairs of inputs in ascending order: s = fma(w1, x1, s), then s = fma(w0, x0, s); after
 * each, and in w and x, subnormal numbers become zeros of their sign, which is what vdpbf16ps does (Intel SDM, volume 2). */
#ifndef MOE_KERNEL_ROWS_H
#define MOE_KERNEL_ROWS_H

#include <stdbool.h>

#include "kernel/kernel.h"

struct moe_fast;

/* Rows of activations, quantised once for all products with weights of one kind. */
struct moe_rows {
	const struct moe_fast *fast;    /* whose layout it is */
	uint8_t *data;
	size_t rows, cols;
	int kind;
};

/* Rows of products lie in tiles of so many: a group of rows (moe_group) begins at a multiple of it. `together` is how many rows meet the same
 * weights, about. */
size_t moe_rows_tile(size_t together, const struct moe_mat *w);

/* Bytes of m rows for packed weights like w. */
size_t moe_rows_nbytes(size_t m, size_t together, const struct moe_mat *w);

/* Rows x[i] [cols], i < m, quantised into `memory` (moe_rows_nbytes, aligned to 64), which r borrows; NULL: a row that nobody reads. */
void moe_rows_quantise(struct moe_rows *r, void *memory, const float *const *x, size_t m, size_t together, const struct moe_mat *w, struct moe_pool *pool);

/* Rows that were quantised for other weights may be multiplied by w, too. */
bool moe_rows_fit(const struct moe_rows *r, const struct moe_mat *w);

/* y[i][n], i < r->rows, n < w->rows: the product with packed weights that the rows fit. */
void moe_matmul_rows(float *y, size_t ldy, const struct moe_rows *r, const struct moe_mat *w, struct moe_pool *pool);

/* Rows [first, first + n) meet these weights: an expert's. `first` is a multiple of moe_rows_tile. */
struct moe_group {
	size_t first, n;
	const struct moe_mat *w, *up;   /* up NULL, or as w in type and shape */
};

/* moe_matmul_rows for each group, into the same rows of y; with `up`, y[i][n] = silu(x · w) · (x · up). The w of all groups have one type and shape. */
void moe_matmul_groups(float *y, size_t ldy, const struct moe_rows *r, const struct moe_group *group, size_t n_groups, struct moe_pool *pool);

#endif
