/* The table of a variant. */
#ifndef MOE_KERNEL_PRIV_H
#define MOE_KERNEL_PRIV_H

#include "kernel/descent.h"
#include "kernel/kernel.h"
#include "kernel/train.h"

/* Weight rows [n0, n1) for all m rows. */
typedef void moe_matmul_fn(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const struct moe_mat *w, size_t n0, size_t n1);

struct moe_kernels {
	const char *name;
	moe_matmul_fn *matmul_f32, *matmul_bf16, *matmul_f16, *matmul_int8, *matmul_inputs_first;
	void (*turn_rows)(float *to, size_t ld, const struct moe_mat *w, size_t n0, size_t n);
	float (*dot)(const float *x, const float *y, size_t n);
	void (*rms_norm)(float *out, size_t ldo, const float *x, size_t ldx, const float *weight, size_t rows, size_t n, float eps);
	void (*layer_norm)(float *out, size_t ldo, const float *x, size_t ldx, const float *weight, const float *bias, size_t rows, size_t n, float eps);
	void (*axpy)(float *y, float a, const float *x, size_t n);
	void (*add)(float *y, const float *x, size_t n);
	void (*silu)(float *y, const float *x, size_t n);
	void (*gelu)(float *y, const float *x, size_t n);
	void (*gelu_tanh)(float *y, const float *x, size_t n);
	void (*silu_mul)(float *gate, const float *up, size_t n);
	float (*exp_sum)(float *y, const float *x, size_t n);
	float (*exp_one)(float x);
	void (*sin_cos)(float angle, float *sine, float *cosine);
	void (*rope)(float *x, size_t heads, size_t dim, size_t n_pairs, const float *cosine, const float *sine);
	void (*attend)(const struct moe_attention *a, size_t row0, size_t row1, size_t head);
	void (*rms_norm_keep)(float *out, float *scale, const float *x, const float *weight, size_t rows, size_t n, float eps);
	void (*rms_norm_backward)(float *dx, float *dweight, const float *dy, const float *x, const float *scale, const float *weight, size_t rows, size_t n);
	void (*swiglu_keep)(enum moe_unit unit, void *act, size_t ld, void *kept, const float *gate_up, size_t rows, size_t n);
	void (*swiglu_backward)(enum moe_unit unit, void *dgate_up, void *act, size_t ld, float *dweight, const float *da, const void *kept,
				const float *weight, size_t rows, size_t n);
	void (*silu_keep)(enum moe_unit unit, void *act, void *kept, const float *z, size_t n);
	void (*silu_backward)(enum moe_unit unit, void *dz, const float *da, const void *kept, size_t n);
	void (*softmax_two)(enum moe_unit unit, void *pa, void *pb, const float *a, size_t n_a, size_t room_a, const float *b, size_t n_b, size_t room_b);
	void (*softmax_two_backward)(enum moe_unit unit, void *da, void *db, const void *pa, const void *pb, const float *ga, size_t n_a, size_t room_a, const float *gb,
				     size_t n_b, size_t room_b);
	float (*cross_entropy)(enum moe_unit unit, void *dlogit, int32_t *best, const float *logit, size_t n, size_t room, size_t target, float weight);
	float (*soft_targets)(float *slope, const float *logit, const float *teacher, size_t n, float tau, float weight);
	void (*adamw)(float *w, float *m, float *v, const float *g, size_t n, const struct moe_adamw *a);
	void (*nesterov)(float *x, float *m, const float *g, size_t n, float beta, float scale);
	void (*blend)(float *out, float a, const float *x, float b, const float *y, size_t n);
};

/* The table in use. */
const struct moe_kernels *moe_kernels_now(void);

/* The product of packed weights; `memory` takes quantised rows, as many at a time as there is room for, one at least. */
void moe_matmul_packed(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const struct moe_mat *w, void *memory, size_t nbytes,
		       struct moe_pool *pool);

/* Choose the variants of `fast` and of gemm.h again. */
void moe_fast_select(void);
void moe_gemm_select(void);

extern const struct moe_kernels moe_kernels_c;
#if defined __x86_64__
extern const struct moe_kernels moe_kernels_avx2, moe_kernels_avx512;
#endif

#endif
