/* The body of a variant: variant_*.c define MOE_V_... and VARIANT, and include this. */
#include "base/check.h"
#include "kernel/kernel_priv.h"
#include "kernel/v16.h"

#include "kernel/vmath_impl.h"

#include "kernel/matmul_impl.h"

#include "kernel/strided_impl.h"

#include "kernel/attention_impl.h"

#include "kernel/train_impl.h"

#include "kernel/descent_impl.h"

const struct moe_kernels VARIANT = {
	.name = VARIANT_NAME, .matmul_f32 = matmul_f32, .matmul_bf16 = matmul_bf16, .matmul_f16 = matmul_f16, .matmul_int8 = matmul_int8,
	.matmul_inputs_first = matmul_inputs_first, .turn_rows = turn_rows, .dot = dot, .rms_norm = rms_norm, .axpy = axpy,
	.add = add, .silu = silu, .silu_mul = silu_mul, .layer_norm = layer_norm, .gelu = gelu, .gelu_tanh = gelu_tanh, .exp_sum = exp_sum, .exp_one = exp_one, .sin_cos = sin_cos, .rope = rope, .attend = attend,
	.rms_norm_keep = rms_norm_keep, .rms_norm_backward = rms_norm_backward, .swiglu_keep = swiglu_keep, .swiglu_backward = swiglu_backward,
	.silu_keep = silu_keep, .silu_backward = silu_backward, .softmax_two = softmax_two, .softmax_two_backward = softmax_two_backward,
	.cross_entropy = cross_entropy, .soft_targets = soft_targets, .adamw = adamw, .nesterov = nesterov, .blend = blend,
};
