/* A trained matrix and its three products. With x [rows][in] and y [rows][out]:
 *
 *     forward   y = x Wᵀ          gradient   dW += dyᵀ x          backward   dx = dy W
 *
 * x and dy are operands of rows (gemm.h), whose row strides are even in bf16, and padded with zeros where `in` or `out` is odd; y and dx are f32. */
#ifndef MOE_GRAD_DENSE_H
#define MOE_GRAD_DENSE_H

#include "base/mem.h"
#include "kernel/train.h"

/* The weights in the forms that the products read; memory of moe_dense_plan's. */
struct moe_dense {
	enum moe_unit unit;
	size_t out, in;
	void *columns;                  /* [in units][out] */
	void *rows;                     /* bf16: [out units][in]; f32: not used */
	const float *weight;            /* [out][in] */
};

/* Numbers from row to row of an operand of n columns, and units that a sum over n takes. */
static inline size_t moe_unit_stride(enum moe_unit u, size_t n) { return u == MOE_UNIT_BF16 ? n + (n & 1) : n; }
static inline size_t moe_units(enum moe_unit u, size_t n) { return u == MOE_UNIT_BF16 ? (n + 1) / 2 : n; }

/* Address of number i. */
static inline void *moe_unit_at(enum moe_unit u, const void *p, size_t i) { return (char *)(uintptr_t)p + i * moe_unit_number(u); }

/* Takes memory for the forms from the arena; false: none left. `weight` is borrowed. */
bool moe_dense_plan(struct moe_dense *w, enum moe_unit unit, const float *weight, size_t out, size_t in, struct moe_arena *a);

/* Makes the forms from the weights. `scratch` holds out · moe_unit_stride(in) numbers. */
void moe_dense_pack(struct moe_dense *w, void *scratch);

/* y (= or +=) x Wᵀ. */
void moe_dense_forward(const struct moe_dense *w, const void *x, size_t ldx, size_t rows, float *y, size_t ldy, bool add);

/* dx (= or +=) dy W. */
void moe_dense_backward(const struct moe_dense *w, const void *dy, size_t lddy, size_t rows, float *dx, size_t lddx, bool add);

/* dw [out][in] += dyᵀ x. `scratch` holds rows + 1 rows of out + in numbers. */
void moe_dense_gradient(enum moe_unit unit, float *dw, const void *dy, size_t lddy, size_t out, const void *x, size_t ldx, size_t in, size_t rows, void *scratch);

#endif
