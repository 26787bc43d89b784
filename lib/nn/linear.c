#include "nn/linear.h"

void moe_bias_add(float *y, size_t ldy, size_t m, const float *bias, size_t n)
{
	for (size_t i = 0; bias && i < m; i++)
		moe_add(y + i * ldy, bias, n);
}

void moe_linear_forward(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const struct moe_linear *l, struct moe_pool *pool)
{
	moe_matmul(y, ldy, x, ldx, m, &l->weight, pool);
	moe_bias_add(y, ldy, m, l->bias, l->weight.rows);
}

void moe_norm_forward(float *out, size_t ldo, const float *x, size_t ldx, const struct moe_norm *w, size_t rows, size_t n, float eps)
{
	if (w->bias)
		moe_layer_norm(out, ldo, x, ldx, w->weight, w->bias, rows, n, eps);
	else
		moe_rms_norm(out, ldo, x, ldx, w->weight, rows, n, eps);
}
