#include "grad/dense.h"

bool moe_dense_plan(struct moe_dense *w, enum moe_unit unit, const float *weight, size_t out, size_t in, struct moe_arena *a)
{
	*w = (struct moe_dense){.unit = unit, .out = out, .in = in, .weight = weight, .columns = moe_arena_get(a, moe_units(unit, in) * out, 4)};
	if (unit == MOE_UNIT_BF16)
		w->rows = moe_arena_get(a, moe_units(unit, out) * in, 4);
	return w->columns && (w->rows || unit == MOE_UNIT_F32);
}

void moe_dense_pack(struct moe_dense *w, void *scratch)
{
	size_t ld = moe_unit_stride(w->unit, w->in), step;

	if (w->unit == MOE_UNIT_F32) {
		moe_operand_columns(w->unit, w->columns, w->out, w->weight, w->in, w->out, w->in);
		return;
	}
	moe_operand_rows(w->unit, scratch, ld, w->weight, w->in, w->out, w->in);
	moe_operand_columns(w->unit, w->columns, w->out, scratch, ld, w->out, w->in);
	moe_operand_along_rows(w->unit, w->rows, scratch, ld, w->out, w->in, &step);
}

/* A stride of numbers in units. */
static size_t in_units(enum moe_unit u, size_t numbers) { return u == MOE_UNIT_BF16 ? numbers / 2 : numbers; }

void moe_dense_forward(const struct moe_dense *w, const void *x, size_t ldx, size_t rows, float *y, size_t ldy, bool add)
{
	moe_gemm_run(w->unit, &(struct moe_gemm){.m = rows, .n = w->out, .k = moe_units(w->unit, w->in), .a = x, .a_row = in_units(w->unit, ldx), .a_step = 1,
						 .b = w->columns, .b_step = w->out, .c = y, .c_row = ldy, .add = add});
}

void moe_dense_backward(const struct moe_dense *w, const void *dy, size_t lddy, size_t rows, float *dx, size_t lddx, bool add)
{
	moe_gemm_run(w->unit, &(struct moe_gemm){.m = rows, .n = w->in, .k = moe_units(w->unit, w->out), .a = dy, .a_row = in_units(w->unit, lddy), .a_step = 1,
						 .b = w->unit == MOE_UNIT_F32 ? (const void *)w->weight : w->rows, .b_step = w->in, .c = dx, .c_row = lddx, .add = add});
}

void moe_dense_gradient(enum moe_unit unit, float *dw, const void *dy, size_t lddy, size_t out, const void *x, size_t ldx, size_t in, size_t rows, void *scratch)
{
	size_t step_a, step_b;
	const void *a = moe_operand_along_rows(unit, scratch, dy, lddy, rows, out, &step_a);
	const void *b = moe_operand_along_rows(unit, (char *)scratch + moe_units(unit, rows) * out * 4, x, ldx, rows, in, &step_b);

	moe_gemm_run(unit, &(struct moe_gemm){.m = out, .n = in, .k = moe_units(unit, rows), .a = a, .a_row = 1, .a_step = step_a, .b = b, .b_step = step_b,
					      .c = dw, .c_row = in, .add = true});
}
