/* Vector kernels of optimisers. Elements do not depend on each other, and each is computed by the operations named, in f32 with one rounding each, so bits are
 * the same on every CPU. */
#ifndef MOE_KERNEL_DESCENT_H
#define MOE_KERNEL_DESCENT_H

#include <stddef.h>

/* Factors of a step of AdamW. */
struct moe_adamw {
	float scale;                    /* of the gradient */
	float beta1, rest1, beta2, rest2;       /* rest: 1 - beta */
	float whole1, whole2;           /* 1 / (1 - betaᵗ) */
	float keep, rate, epsilon;      /* keep: 1 - rate · decay */
};

/* g' = scale · g; m = beta1 · m + rest1 · g'; v = beta2 · v + rest2 · g' · g'; w = keep · w - rate · (m · whole1) / (√(v · whole2) + epsilon). */
void moe_adamw_update(float *w, float *m, float *v, const float *g, size_t n, const struct moe_adamw *a);

/* g' = scale · g; m = beta · m + g'; x = g' + beta · m: the momentum of Nesterov. */
void moe_nesterov(float *x, float *m, const float *g, size_t n, float beta, float scale);

/* out = a · x + b · y; out may be x or y. */
void moe_blend(float *out, float a, const float *x, float b, const float *y, size_t n);

#endif
