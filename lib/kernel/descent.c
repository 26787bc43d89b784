#include "kernel/descent.h"

#include "kernel/kernel_priv.h"

void moe_adamw_update(float *w, float *m, float *v, const float *g, size_t n, const struct moe_adamw *a) { moe_kernels_now()->adamw(w, m, v, g, n, a); }

void moe_nesterov(float *x, float *m, const float *g, size_t n, float beta, float scale) { moe_kernels_now()->nesterov(x, m, g, n, beta, scale); }

void moe_blend(float *out, float a, const float *x, float b, const float *y, size_t n) { moe_kernels_now()->blend(out, a, x, b, y, n); }
