/* Vector kernels of training: forward passes that keep what backward passes need, and those. Matrix products are those of gemm.h, and "numbers" below are of
 * an operand: f32, or bf16 rounded to the nearest even, as `unit` says. Gradients of inputs are stored, those of weights added, unless said otherwise. Sums go
 * over 16 lanes and their tree, as in kernel.h, so bits are the same on every CPU, and rows do not depend on each other. */
#ifndef MOE_KERNEL_TRAIN_H
#define MOE_KERNEL_TRAIN_H

#include "kernel/gemm.h"
#include "kernel/kernel.h"

/* Bytes of a number. */
static inline size_t moe_unit_number(enum moe_unit u) { return u == MOE_UNIT_BF16 ? 2 : 4; }

/* out = (x · s) · weight with s = 1 / sqrt(mean x² + eps), which scale [rows] keeps; x and out [rows][n]. (Zhang and Sennrich 2019, eq. 4.) */
void moe_rms_norm_keep(float *out, float *scale, const float *x, const float *weight, size_t rows, size_t n, float eps);

/* dx += s · (dy · weight - x̂ · mean(dy · weight · x̂)), dweight += dy · x̂, with x̂ = x · s; all [rows][n], weights [n]. */
void moe_rms_norm_backward(float *dx, float *dweight, const float *dy, const float *x, const float *scale, const float *weight, size_t rows, size_t n);

/* act [rows][n] numbers = silu(g) · u, and kept [rows][2n] numbers = g | u, of gate_up [rows][2n] = g | u. ld: numbers from row to row of act. */
void moe_swiglu_keep(enum moe_unit unit, void *act, size_t ld, void *kept, const float *gate_up, size_t rows, size_t n);

/* Backward, of an output that was multiplied by weight [rows] further on: with da [rows][n] the gradient of weight · act over weight, dweight = da · act, act
 * becomes weight · silu(g) · u, and dgate_up [rows][2n] the gradients weight · da · u · silu'(g) | weight · da · silu(g). */
void moe_swiglu_backward(enum moe_unit unit, void *dgate_up, void *act, size_t ld, float *dweight, const float *da, const void *kept, const float *weight,
			 size_t rows, size_t n);

/* silu of n values of z; kept and act are numbers. Backward: dz numbers = da · silu'(z). */
void moe_silu_keep(enum moe_unit unit, void *act, void *kept, const float *z, size_t n);
void moe_silu_backward(enum moe_unit unit, void *dz, const float *da, const void *kept, size_t n);

/* A row of attention sees two runs of keys: a [n_a] and b [n_b], of which either may be empty, not both. Softmax over both; probabilities are numbers,
 * followed by zeros up to room_a and room_b; those below e^-40 of the largest are 0. Backward: da and db numbers = p · (g - sum p · g), with g the gradients of the probabilities. */
void moe_softmax_two(enum moe_unit unit, void *pa, void *pb, const float *a, size_t n_a, size_t room_a, const float *b, size_t n_b, size_t room_b);
void moe_softmax_two_backward(enum moe_unit unit, void *da, void *db, const void *pa, const void *pb, const float *ga, size_t n_a, size_t room_a, const float *gb, size_t n_b,
			      size_t room_b);

/* Cross entropy of one row: returns log softmax(logit)[target]; dlogit numbers (NULL: not wanted) = weight · (softmax(logit) - 1 at the target), zeros up to
 * `room`. *best (NULL: not wanted) is the largest, of equal ones the first. */
float moe_cross_entropy(enum moe_unit unit, void *dlogit, int32_t *best, const float *logit, size_t n, size_t room, size_t target, float weight);

/* Soft targets of one row (Hinton, Vinyals and Dean 2015): with p = softmax(teacher / tau) and q = softmax(logit / tau), returns tau² · KL(p, q), and slope [n] (NULL:
 * not wanted) += the gradient of weight times that, weight · tau · (q - p). */
float moe_soft_targets(float *slope, const float *logit, const float *teacher, size_t n, float tau, float weight);

/* Copies numbers [rows][n] between buffers with other row strides; a row list (NULL: all in order) says which row of `from` each is. */
void moe_gather_rows(void *to, size_t ld_to, const void *from, size_t ld_from, const uint32_t *row, size_t rows, size_t n, size_t number_nbytes);

#endif
