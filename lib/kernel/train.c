#include "kernel/train.h"

#include <string.h>

#include "kernel/kernel_priv.h"

void moe_rms_norm_keep(float *out, float *scale, const float *x, const float *weight, size_t rows, size_t n, float eps)
{
	moe_kernels_now()->rms_norm_keep(out, scale, x, weight, rows, n, eps);
}

void moe_rms_norm_backward(float *dx, float *dweight, const float *dy, const float *x, const float *scale, const float *weight, size_t rows, size_t n)
{
	moe_kernels_now()->rms_norm_backward(dx, dweight, dy, x, scale, weight, rows, n);
}

void moe_swiglu_keep(enum moe_unit unit, void *act, size_t ld, void *kept, const float *gate_up, size_t rows, size_t n)
{
	moe_kernels_now()->swiglu_keep(unit, act, ld, kept, gate_up, rows, n);
}

void moe_swiglu_backward(enum moe_unit unit, void *dgate_up, void *act, size_t ld, float *dweight, const float *da, const void *kept, const float *weight,
			 size_t rows, size_t n)
{
	moe_kernels_now()->swiglu_backward(unit, dgate_up, act, ld, dweight, da, kept, weight, rows, n);
}

void moe_silu_keep(enum moe_unit unit, void *act, void *kept, const float *z, size_t n) { moe_kernels_now()->silu_keep(unit, act, kept, z, n); }

void moe_silu_backward(enum moe_unit unit, void *dz, const float *da, const void *kept, size_t n)
{
	moe_kernels_now()->silu_backward(unit, dz, da, kept, n);
}

void moe_softmax_two(enum moe_unit unit, void *pa, void *pb, const float *a, size_t n_a, size_t room_a, const float *b, size_t n_b, size_t room_b)
{
	moe_kernels_now()->softmax_two(unit, pa, pb, a, n_a, room_a, b, n_b, room_b);
}

void moe_softmax_two_backward(enum moe_unit unit, void *da, void *db, const void *pa, const void *pb, const float *ga, size_t n_a, size_t room_a, const float *gb, size_t n_b,
			      size_t room_b)
{
	moe_kernels_now()->softmax_two_backward(unit, da, db, pa, pb, ga, n_a, room_a, gb, n_b, room_b);
}

float moe_cross_entropy(enum moe_unit unit, void *dlogit, int32_t *best, const float *logit, size_t n, size_t room, size_t target, float weight)
{
	return moe_kernels_now()->cross_entropy(unit, dlogit, best, logit, n, room, target, weight);
}

float moe_soft_targets(float *slope, const float *logit, const float *teacher, size_t n, float tau, float weight)
{
	return moe_kernels_now()->soft_targets(slope, logit, teacher, n, tau, weight);
}

void moe_gather_rows(void *to, size_t ld_to, const void *from, size_t ld_from, const uint32_t *row, size_t rows, size_t n, size_t number_nbytes)
{
	for (size_t i = 0; i < rows; i++)
		memcpy((uint8_t *)to + i * ld_to * number_nbytes, (const uint8_t *)from + (row ? row[i] : i) * ld_from * number_nbytes, n * number_nbytes);
}
