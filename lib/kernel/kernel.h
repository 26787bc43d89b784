/* Numeric kernels in the arithmetic `exact`: f32 with one order of operations on every CPU, so that plain C, AVX2 and AVX-512 agree
 * bit for bit, for any number of rows and threads. The orders:
 *
 * dot(x, w) over k: 16 partial sums, lane j an fma chain over k = j, j+16, ... from +0, the tail padded with zeros; then lanes are added in
 * a tree: s[j] += s[j+8] (j < 8), then +4, +2, +1. Weights are widened to f32 first (exact).
 * sum(x): the same with plain additions. max(x) is exact in any order.
 * exp, silu, sin, cos: the polynomials of vmath.c over fma, never libm's.
 *
 * The best variant that the CPU (and moe_cpu_mask) allows is chosen once, at the first use. */
#ifndef MOE_KERNEL_KERNEL_H
#define MOE_KERNEL_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"
#include "sys/pool.h"

enum { MOE_SCALE_BLOCK = 128, MOE_MOST_UNPACKED = 262144 };     /* most inputs of a row of F8_E4M3, I8 or of a block type */

/* A weight matrix in place: row n (an output) holds `cols` inputs of type F32, F16, BF16, F8_E4M3, I8 or of a block type. Needs no alignment. Either the
 * inputs of a row lie together (step 0 or 1), or the rows of an input (stride 1): [out][in] and [in][out]; those of a block type lie together, `cols`
 * and `stride` being whole blocks. */
struct moe_mat {
	const void *data;
	enum moe_dtype type;
	size_t rows, cols;
	size_t stride, step;    /* elements from row to row, and from input to input */
	const float *scale;     /* F8_E4M3: [rows / 128][cols / 128], rounded up: a weight is its value times the scale of its block, rounded to f32; I8: [rows] */
	const void *packed;     /* pack.h: products are in the arithmetic `fast` (rows.h), and `data` is not read; NULL: `exact` */
};

/* y[i][n] = dot(x row i, w row n), i < m, n < w->rows; ldx and ldy are row strides in elements. y must not overlap x. Of packed weights, the
 * product of rows.h. */
void moe_matmul(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const struct moe_mat *w, struct moe_pool *pool);

/* Row n of the matrix in f32, for a step of 0 or 1. */
void moe_mat_row(float *to, const struct moe_mat *w, size_t n);

float moe_dot(const float *x, const float *y, size_t n);

/* out[i] = (x[i] · r) · weight[i] with r = 1 / sqrt(dot(x, x) / n + eps), for `rows` rows of n; strides in elements. out may be x.
 * (Zhang and Sennrich 2019, eq. 4.) */
void moe_rms_norm(float *out, size_t ldo, const float *x, size_t ldx, const float *weight, size_t rows, size_t n, float eps);

/* out[i] = fma(c[i] · r, weight[i], bias[i]) with c = x - sum(x) / n and r = 1 / sqrt(dot(c, c) / n + eps), for `rows` rows of n; strides in
 * elements. out may be x. (Ba et al. 2016, eq. 4.) */
void moe_layer_norm(float *out, size_t ldo, const float *x, size_t ldx, const float *weight, const float *bias, size_t rows, size_t n, float eps);

/* y[i] = fma(a, x[i], y[i]). */
void moe_axpy(float *y, float a, const float *x, size_t n);

/* y[i] += x[i]. */
void moe_add(float *y, const float *x, size_t n);

/* x / (1 + exp(-x)), elementwise; y may be x. */
void moe_silu(float *y, const float *x, size_t n);

/* x Φ(x), Φ the normal distribution, elementwise (Hendrycks and Gimpel 2016), within 1e-6 of its value for x down to -13, behind which it is 0;
 * y may be x. */
void moe_gelu(float *y, const float *x, size_t n);

/* x / (1 + exp(-2u)) with u = √(2/π) (x + 0.044715 x³), elementwise, which is x/2 · (1 + tanh u) (Hendrycks and Gimpel 2016, the approximation); y may be x. */
void moe_gelu_tanh(float *y, const float *x, size_t n);

/* gate[i] = silu(gate[i]) · up[i]. */
void moe_silu_mul(float *gate, const float *up, size_t n);

/* y[i] = exp(x[i] - max(x)); returns their sum. -inf gives 0. n >= 1, not all -inf. y may be x. */
float moe_exp_sum(float *y, const float *x, size_t n);

/* Scalar functions with the bits of the vector ones. */
float moe_exp(float x);
double moe_log(double x);                       /* natural logarithm, relative error below 1e-15 */
double moe_pow(double x, double y);             /* x > 0 */
void moe_sin_cos(float angle, float *sine, float *cosine);      /* any finite angle, error below 1 ulp of f32 */

/* Rotates half-split pairs: for head h of `heads` (each of dim floats) and i < n_pairs, with a = x[i], b = x[i + n_pairs]:
 * x[i] = a·cos[i] - b·sin[i], x[i + n_pairs] = a·sin[i] + b·cos[i], each as fma(a, c, -(b·s)) and fma(a, s, b·c). dim may exceed 2·n_pairs
 * (partial rotation: the rest is untouched). */
void moe_rope(float *x, size_t heads, size_t dim, size_t n_pairs, const float *cosine, const float *sine);

/* Keys and values of a sequence lie in blocks of 128 absolute cache slots: keys as [kv_head][dim][128], values as [kv_head][128][dim]. */
enum { MOE_ATTN_BLOCK = 128 };

struct moe_attention {
	const float *q;                 /* [rows][heads · dim], rotated */
	float *out;                     /* [rows][heads · dim] */
	size_t rows, heads, kv_heads, dim;
	float scale;
	const uint32_t *first, *limit;  /* [rows]: row r attends to slots first[r] <= s < limit[r] */
	const float *const *key, *const *value; /* [blocks], blocks aligned to 64 bytes */
};

/* Softmax attention with the blocks merged in ascending order (online softmax; Dao et al. 2022, alg. 1). Per row and head and block:
 * s[u] = fma chain over dim from +0, then · scale; masked slots -inf; m' = max(m, max s); p[u] = exp(s[u] - m'); c = exp(m - m');
 * l = fma(l, c, sum(p)); o[i] = o[i] · c, then the fma chain over the allowed slots in ascending order of p[u] · v[u][i]; at the end o / l.
 * Masked slots are never read. Query head h uses key head h / (heads / kv_heads). */
void moe_attend_rows(const struct moe_attention *a, struct moe_pool *pool);

/* Rows of the matrix form of a convolution: out[(y·ow + x)][c·kh·kw + i·kw + j] = in[c][stride·y + i - pad][stride·x + j - pad], 0 outside.
 * in is [channels][h][w]; ow and oh are given by the caller; ldo is the row stride of out. */
void moe_im2col(float *out, size_t ldo, const float *in, size_t channels, size_t h, size_t w, size_t kh, size_t kw, size_t stride,
		size_t pad, size_t oh, size_t ow);

/* For tests: chooses again after moe_cpu_mask; returns the name of the variant ("c", "avx2", "avx512"). That of the arithmetic `fast` is
 * moe_fast_name's: "c", "avx2", "avx-vnni", "avx512", "vnni". */
const char *moe_kernel_select(void);
const char *moe_fast_name(void);

#endif
