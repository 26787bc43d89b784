/* Products of two activations, or of activations and weights, that a backward pass needs in every orientation: c = a b or c += a b, with both operands as
 * floats or as pairs of bf16 numbers. The operand makers give the orientations.
 *
 * Order of sums: every output is one sequential sum over k that depends neither on m and n nor on where the output lies, so a row has the same bits alone and
 * among others. It starts from +0, and with `add` c becomes c + sum, rounded once. Threads may divide rows and outputs, never k.
 *   f32: s = fma(a, b, s): the same bits on every CPU.
 *   bf16: with VDPBF16PS s = fma(a1, b1, s), then s = fma(a0, b0, s) for each unit, a0 being in the low half; subnormal numbers, results included, are zeros.
 *     CPUs without it do the same with f32 instructions, which know subnormal numbers: bits differ only where there are any.
 *     The tiles of AMX (TDPBF16PS) take 16 units together, the last ones padded with zeros: one chain over their low halves and one over their high
 *     halves, both from +0, then s = s + (low + high); with `add` s starts from c. Subnormal numbers are zeros, too. The bits are not those of VDPBF16PS.
 * Intel SDM, volume 2, has both instructions. */
#ifndef MOE_KERNEL_GEMM_H
#define MOE_KERNEL_GEMM_H

#include <stdbool.h>
#include <stddef.h>

/* What 32 bits of an operand hold: a float, or two bf16 numbers that are neighbours along the sum, the first in the low half. */
enum moe_unit { MOE_UNIT_F32, MOE_UNIT_BF16 };

struct moe_gemm {
	size_t m, n, k;         /* k in units */
	const void *a;          /* unit (i, k) lies a_row · i + a_step · k units behind a */
	size_t a_row, a_step;   /* quickest where one of them is 1 */
	const void *b;          /* unit (k, j) lies b_step · k + j units behind b */
	size_t b_step;
	float *c;               /* [m][c_row], of which n are written */
	size_t c_row;
	bool add;
};

/* c is no operand. Operands are aligned to 4 bytes; 64 are quicker. On the caller's thread. */
void moe_gemm_run(enum moe_unit unit, const struct moe_gemm *g);

/* Operand makers. A "rows operand" has the numbers (bf16 or float) of a row together, ld_numbers from row to row, in bf16 an even count: where cols is odd,
 * a zero follows. Its rows are operands a with a_row = ld_numbers / 2 (bf16) or ld_numbers, a_step = 1. Bits are the same on every CPU.
 *
 * A rows operand of x [rows][cols]. bf16: to the nearest, of two equally near ones to the even; too large ones become infinite, subnormal numbers zeros of
 * their sign, and NaNs stay NaNs. */
void moe_operand_rows(enum moe_unit u, void *to, size_t ld_numbers, const float *x, size_t ldx, size_t rows, size_t cols);

/* From a rows operand x [rows][cols], units along its rows: bf16 pairs of rows, [(rows + 1) / 2][cols] in `scratch`, the last padded with zero; in f32 x
 * itself. *step is from unit to unit. As b, the sum is over the rows; as a with a_row 1 and a_step = *step it is the transpose of x. */
const void *moe_operand_along_rows(enum moe_unit u, void *scratch, const void *x, size_t ld_numbers, size_t rows, size_t cols, size_t *step);

/* From a rows operand x [rows][cols], units along its columns: [(cols + 1) / 2][ld_units] or [cols][ld_units], `rows` of each written. As b, the sum is over
 * the columns (a weight [out][in] for y = x W^T). */
void moe_operand_columns(enum moe_unit u, void *to, size_t ld_units, const void *x, size_t ld_numbers, size_t rows, size_t cols);

/* The variant that products of a unit use: "c", "avx2", "avx512", and for bf16 "avx512-bf16" or "amx". moe_kernel_select chooses again. */
const char *moe_gemm_name(enum moe_unit unit);

#endif
