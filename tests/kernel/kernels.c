/* Every kernel in every variant: equal bits for random and edge sizes, equal to the definition in kernel.h, no access outside the arrays, and
 * accurate against libm. With --bench: GFLOP/s per shape. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/rng.h"
#include "guard.h"
#include "kernel/kernel.h"
#include "kernel/normal.h"
#include "kernel/train.h"
#include "sys/cpu.h"

static const unsigned masks[] = {0, MOE_CPU_AVX2, MOE_CPU_AVX2 | MOE_CPU_AVX512};
enum { N_MASKS = sizeof masks / sizeof *masks };

static void use(int i)
{
	moe_cpu_mask(masks[i]);
	moe_kernel_select();
}

static uint64_t draws;

static float draw(void) { return (float)(moe_random_unit(7, 1, draws++) * 2 - 1); }

static struct guarded guarded_floats(size_t n, int at_end)
{
	struct guarded g = guard(n * sizeof(float), at_end);

	for (size_t i = 0; i < n; i++)
		((float *)g.p)[i] = draw();
	return g;
}

/* Weights of a type with random bits that are finite and moderate. */
static struct guarded guarded_weights(size_t n, enum moe_dtype type, int at_end)
{
	struct guarded g;

	if (type == MOE_F32)
		return guarded_floats(n, at_end);
	g = guard(n * 2, at_end);
	for (size_t i = 0; i < n; i++) {
		float f = draw();
		uint32_t u;
		memcpy(&u, &f, 4);
		((uint16_t *)g.p)[i] = type == MOE_BF16 ? (uint16_t)(u >> 16) : (uint16_t)(0x3000 | (u & 0x8fff));
	}
	return g;
}

/* kernel.h: 16 partial sums, lane j an fma chain over k = j, j + 16, ..., then the tree. */
static float defined_dot(const float *x, const float *w, size_t k)
{
	float s[16] = {0};

	for (size_t i = 0; i < (k + 15) / 16 * 16; i++)
		s[i % 16] = fmaf(i < k ? w[i] : 0, i < k ? x[i] : 0, s[i % 16]);
	for (int h = 8; h; h /= 2)
		for (int j = 0; j < h; j++)
			s[j] += s[j + h];
	return s[0];
}

static void check_product(size_t m, size_t n, size_t k, enum moe_dtype type, size_t stride, int at_end, struct moe_pool *pool)
{
	struct guarded x = guarded_floats(m * k, at_end), w = guarded_weights((n - 1) * stride + k, type, at_end);
	struct moe_mat mat = {.data = w.p, .type = type, .rows = n, .cols = k, .stride = stride};
	float *want = malloc(m * n * sizeof *want), *row = malloc(k * sizeof *row);

	for (size_t j = 0; j < n; j++) {
		moe_widen(row, (char *)w.p + j * stride * (type == MOE_F32 ? 4 : 2), k, type);
		for (size_t i = 0; i < m; i++)
			want[i * n + j] = defined_dot((float *)x.p + i * k, row, k);
	}
	for (int v = 0; v < N_MASKS; v++) {
		struct guarded y = guard(m * n * sizeof(float), at_end);
		use(v);
		moe_matmul(y.p, n, x.p, k, m, &mat, pool);
		assert_memory_equal(y.p, want, m * n * sizeof(float));
		unguard(y);
	}
	free(want);
	free(row);
	unguard(x);
	unguard(w);
}

/* The same weights as [in][out], and as the second of two runs of outputs of a wider tensor. */
static void check_inputs_first(size_t m, size_t n, size_t k, enum moe_dtype type, struct moe_pool *pool)
{
	size_t nbytes = type == MOE_F32 ? 4 : 2, step = 2 * n;
	struct guarded x = guarded_floats(m * k, 1), w = guarded_weights(k * step, type, 1);
	struct moe_mat mat = {.data = (char *)w.p + n * nbytes, .type = type, .rows = n, .cols = k, .stride = 1, .step = step};
	float *want = malloc(m * n * sizeof *want), *row = malloc(k * sizeof *row);

	for (size_t j = 0; j < n; j++) {
		for (size_t i = 0; i < k; i++)
			moe_widen(row + i, (char *)w.p + (i * step + n + j) * nbytes, 1, type);
		for (size_t i = 0; i < m; i++)
			want[i * n + j] = defined_dot((float *)x.p + i * k, row, k);
	}
	for (int v = 0; v < N_MASKS; v++) {
		struct guarded y = guard(m * n * sizeof(float), 1);
		use(v);
		moe_matmul(y.p, n, x.p, k, m, &mat, pool);
		assert_memory_equal(y.p, want, m * n * sizeof(float));
		unguard(y);
	}
	free(want);
	free(row);
	unguard(x);
	unguard(w);
}

static void test_inputs_first(void **state)
{
	static const size_t sizes[] = {1, 2, 3, 5, 15, 16, 17, 33, 64, 65, 100, 257, 300};
	struct moe_pool *pool = moe_pool_new(3);

	(void)state;
	for (int i = 0; i < 150; i++) {
		size_t m = 1 + (size_t)(i % 7), n = sizes[(size_t)(i * 5) % 13], k = sizes[(size_t)(i * 3) % 13];
		check_inputs_first(m, n, k, (enum moe_dtype[]){MOE_F32, MOE_BF16, MOE_F16}[i % 3], i % 2 ? pool : NULL);
	}
	check_inputs_first(1, 700, 1000, MOE_BF16, pool);
	check_inputs_first(40, 130, 5000, MOE_BF16, pool);
	check_inputs_first(5, 3, 70000, MOE_F32, NULL);
	moe_pool_free(pool);
}

/* Bytes of F8_E4M3 with one scale for each block of 128 x 128. The values are decoded here by their definition. */
static void test_scaled(void **state)
{
	size_t n = 200, k = 300, m = 9, blocks = 3;
	uint8_t *w = malloc(n * k);
	float *x = malloc(m * k * sizeof *x), *y = malloc(m * n * sizeof *y), *row = malloc(k * sizeof *row), scale[6];
	struct moe_mat mat = {.data = w, .type = MOE_F8_E4M3, .rows = n, .cols = k, .stride = k, .scale = scale};

	(void)state;
	for (size_t i = 0; i < 6; i++)
		scale[i] = 0.25f + draw();
	for (size_t i = 0; i < n * k; i++)
		w[i] = (uint8_t)(i * 37 % 127 + (i % 3 ? 128 : 0));
	for (size_t i = 0; i < m * k; i++)
		x[i] = draw();
	for (int v = 0; v < N_MASKS; v++) {
		use(v);
		moe_matmul(y, n, x, k, m, &mat, NULL);
		for (size_t j = 0; j < n; j++) {
			for (size_t i = 0; i < k; i++) {
				int b = w[j * k + i], e = b >> 3 & 15, f = b & 7;
				float value = e ? ldexpf(1 + (float)f / 8, e - 7) : ldexpf((float)f / 8, -6);
				row[i] = (b & 128 ? -value : value) * scale[j / 128 * blocks + i / 128];
			}
			for (size_t i = 0; i < m; i++)
				assert_float_equal(y[i * n + j], defined_dot(x + i * k, row, k), 0);
		}
	}
	assert_true(isnan(moe_f32_from_f8[127]) && isnan(moe_f32_from_f8[255]) && moe_f32_from_f8[126] == 448);
	free(w);
	free(x);
	free(y);
	free(row);
}

/* Whole numbers with one scale for each row; a weight is their product, rounded. Both ends at guard pages. */
static void check_int8(size_t m, size_t n, size_t k, struct moe_pool *pool)
{
	struct guarded x = guarded_floats(m * k, 1), w = guard(n * k, 1), scale = guarded_floats(n, 1);
	struct moe_mat mat = {.data = w.p, .type = MOE_I8, .rows = n, .cols = k, .stride = k, .scale = scale.p};
	float *want = malloc(m * n * sizeof *want), *row = malloc(k * sizeof *row);

	for (size_t i = 0; i < n * k; i++)
		((int8_t *)w.p)[i] = (int8_t)(i * 89 % 255 - 127);
	for (size_t j = 0; j < n; j++) {
		for (size_t i = 0; i < k; i++)
			row[i] = (float)((int8_t *)w.p)[j * k + i] * ((float *)scale.p)[j];
		for (size_t i = 0; i < m; i++)
			want[i * n + j] = defined_dot((float *)x.p + i * k, row, k);
	}
	for (int v = 0; v < N_MASKS; v++) {
		struct guarded y = guard(m * n * sizeof(float), 1);
		use(v);
		moe_matmul(y.p, n, x.p, k, m, &mat, pool);
		assert_memory_equal(y.p, want, m * n * sizeof(float));
		unguard(y);
	}
	free(want);
	free(row);
	unguard(x);
	unguard(w);
	unguard(scale);
}

static void test_int8(void **state)
{
	static const size_t edge[] = {1, 2, 3, 4, 5, 7, 15, 16, 17, 31, 33, 75};
	struct moe_pool *pool = moe_pool_new(3);

	(void)state;
	for (size_t i = 0; i < 12; i++)
		for (size_t j = 0; j < 12; j++)
			check_int8(edge[i], edge[j], edge[(i + 2 * j + 5) % 12], NULL);
	check_int8(8, 6, 9000, NULL);
	check_int8(130, 160, 160, pool);
	check_int8(2, 1500, 1000, pool);
	moe_pool_free(pool);
}

static void test_products(void **state)
{
	static const size_t edge[] = {1, 2, 3, 4, 5, 7, 15, 16, 17, 31, 33, 75};
	static const enum moe_dtype types[] = {MOE_F32, MOE_BF16, MOE_F16};

	(void)state;
	for (int t = 0; t < 3; t++)
		for (size_t i = 0; i < sizeof edge / sizeof *edge; i++)
			for (size_t j = 0; j < sizeof edge / sizeof *edge; j += 2) {
				check_product(edge[i], edge[j], edge[(i + 5) % 12], types[t], edge[(i + 5) % 12], (int)(i & 1), NULL);
				check_product(edge[j], edge[i], edge[(j + 3) % 12], types[t], edge[(j + 3) % 12] + 3, (int)(j & 1), NULL);
			}
	check_product(8, 6, 9000, MOE_BF16, 9000, 1, NULL);     /* wider than a panel */
	check_product(130, 160, 160, MOE_BF16, 160, 1, NULL);
}

static void test_threads(void **state)
{
	static const unsigned counts[] = {1, 2, 3, 7};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct moe_pool *pool = moe_pool_new(counts[i]);
		check_product(200, 160, 160, MOE_BF16, 160, 1, pool);
		check_product(2, 1500, 1000, MOE_BF16, 1000, 1, pool);
		moe_pool_free(pool);
	}
}

/* Moments and tails of the normal distribution; single values are the same on every machine. */
static void test_random_normal(void **state)
{
	enum { N = 200000 };
	double sum[4] = {0};
	size_t beyond = 0;

	(void)state;
	for (uint64_t i = 0; i < N; i++) {
		double x = moe_random_normal(7, 8, i);
		for (int k = 0; k < 4; k++)
			sum[k] += pow(x, k + 1);
		beyond += fabs(x) > 1.959964;
	}
	assert_true(fabs(sum[0] / N) < 0.011);
	assert_true(fabs(sum[1] / N - 1) < 0.016);
	assert_true(fabs(sum[2] / N) < 0.043);
	assert_true(fabs(sum[3] / N - 3) < 0.11);
	assert_true(fabs((double)beyond / N - 0.05) < 0.0025);
	assert_true(moe_random_normal(7, 8, 9) == moe_random_normal(7, 8, 9) && moe_random_normal(7, 8, 9) != moe_random_normal(7, 9, 9));
}

/* Runs `op` on the same input in every variant; all results must be the bits of plain C. */
typedef void vector_op(float *y, const float *x, const float *z, size_t n);

static void same_bits(vector_op *op, size_t n, float scale)
{
	struct guarded x = guarded_floats(n, 1), z = guarded_floats(n, 1), y;
	float *want = calloc(n + 1, sizeof *want);

	for (size_t i = 0; i < n; i++)
		((float *)x.p)[i] *= scale;
	memcpy(want, z.p, n * sizeof *want);
	use(0);
	op(want, x.p, z.p, n);
	for (int v = 1; v < N_MASKS; v++) {
		y = guard(n * sizeof(float), 1);
		memcpy(y.p, z.p, n * sizeof(float));
		use(v);
		op(y.p, x.p, z.p, n);
		assert_memory_equal(y.p, want, n * sizeof(float));
		unguard(y);
	}
	free(want);
	unguard(x);
	unguard(z);
}

static void op_silu(float *y, const float *x, const float *z, size_t n) { (void)z; moe_silu(y, x, n); }
static void op_silu_mul(float *y, const float *x, const float *z, size_t n) { (void)z; moe_silu_mul(y, x, n); }
static void op_axpy(float *y, const float *x, const float *z, size_t n) { (void)z; moe_axpy(y, 0.37f, x, n); }
static void op_add(float *y, const float *x, const float *z, size_t n) { (void)z; moe_add(y, x, n); }
static void op_layer_norm(float *y, const float *x, const float *z, size_t n) { moe_layer_norm(y, n, x, n, z, x, 1, n, 1e-6f); }
static void op_gelu_erf(float *y, const float *x, const float *z, size_t n) { (void)z; moe_gelu(y, x, n); }
static void op_gelu(float *y, const float *x, const float *z, size_t n) { (void)z; moe_gelu_tanh(y, x, n); }
static void op_norm(float *y, const float *x, const float *z, size_t n) { moe_rms_norm(y, n, x, n, z, 1, n, 1e-6f); }
static void op_exp_sum(float *y, const float *x, const float *z, size_t n) { (void)z; y[0] = moe_exp_sum(y, x, n); }
static void op_dot(float *y, const float *x, const float *z, size_t n) { y[0] = moe_dot(x, z, n); }
static void op_soft(float *y, const float *x, const float *z, size_t n) { y[0] += moe_soft_targets(y, x, z, n, 1.7f, 0.3f); }
static void op_exp(float *y, const float *x, const float *z, size_t n) { (void)z; for (size_t i = 0; i < n; i++) y[i] = moe_exp(x[i]); }
static void op_sin(float *y, const float *x, const float *z, size_t n) { float c; (void)z; for (size_t i = 0; i < n; i++) { moe_sin_cos(x[i], &y[i], &c); y[i] += c; } }

static void test_vectors(void **state)
{
	static vector_op *const ops[] = {op_silu, op_silu_mul, op_layer_norm, op_gelu, op_gelu_erf, op_axpy, op_add, op_norm, op_exp_sum, op_dot, op_soft, op_exp, op_sin};

	(void)state;
	for (size_t o = 0; o < sizeof ops / sizeof *ops; o++)
		for (size_t n = 1; n < 70; n++)
			for (float scale = 0.1f; scale < 1e4f; scale *= 10)
				same_bits(ops[o], n, scale);
}

static void test_edges_of_exp(void **state)
{
	(void)state;
	for (int v = 0; v < N_MASKS; v++) {
		float x[3] = {-INFINITY, 0, -1000}, y[3];
		use(v);
		assert_true(moe_exp(-INFINITY) == 0 && moe_exp(INFINITY) == INFINITY && moe_exp(0) == 1 && isnan(moe_exp(NAN)));
		assert_true(moe_exp(-200) == 0 && moe_exp(89) == INFINITY && isfinite(moe_exp(88.7f)) && moe_exp(-87.2f) > 0);
		assert_true(moe_exp_sum(y, x, 3) == 1 && y[0] == 0 && y[1] == 1 && y[2] == 0);
	}
}

static void test_accuracy(void **state)
{
	(void)state;
	for (int v = 0; v < N_MASKS; v++) {
		double worst = 0, sine = 0, silu = 0;
		use(v);
		for (int i = 0; i < 40000; i++) {
			float x = draw() * 87, s, c, y;
			double e = exp((double)x);
			worst = fmax(worst, fabs(moe_exp(x) - e) / e);
			moe_silu(&y, &x, 1);
			silu = fmax(silu, fabs(y - x / (1 + exp(-(double)x))) / (fabs(x / (1 + exp(-(double)x))) + 1e-30));
			x = draw() * (i % 2 ? 1e6f : 30);
			moe_sin_cos(x, &s, &c);
			sine = fmax(sine, fmax(fabs(s - sin((double)x)), fabs(c - cos((double)x))));
		}
		assert_true(worst < 1.5e-7 && silu < 4e-7 && sine < 6.1e-8);
	}
	for (int i = 0; i < 20000; i++) {
		double x = exp(draw() * 20.0), y = draw() * 2.0;
		assert_true(fabs(moe_log(x) - log(x)) <= 2e-15 * fabs(log(x)) + 1e-300);
		assert_true(fabs(moe_pow(x, y) / pow(x, y) - 1) < 2e-14);
	}
}

static void test_gelu_accuracy(void **state)
{
	(void)state;
	for (int v = 0; v < N_MASKS; v++) {
		double exact = 0, approximate = 0;
		float far[4] = {1e20f, -1e20f, 50, -50}, y[4];
		use(v);
		for (int i = 0; i < 40000; i++) {
			float x = draw() * (i % 2 ? 12.5f : 2), g;
			double z = (double)x, want = 0.5 * z * erfc(-z / sqrt(2)), u = sqrt(2 / M_PI) * (z + 0.044715 * z * z * z);
			moe_gelu(&g, &x, 1);
			exact = fmax(exact, fabs((double)g - want) / (fabs(want) + 1e-30));
			if (x < -4)             /* 1 + tanh has few digits left in the definition, and the CPU's exp is exact to 1e-7 of a large u */
				continue;
			moe_gelu_tanh(&g, &x, 1);
			want = 0.5 * z * (1 + tanh(u));
			approximate = fmax(approximate, fabs((double)g - want) / (fabs(want) + 1e-30));
		}
		assert_true(exact < 1e-6 && approximate < 2e-6);
		moe_gelu(y, far, 4);
		assert_true(y[0] == far[0] && y[1] == 0 && y[2] == 50 && y[3] == 0);
		moe_gelu_tanh(y, far, 4);
		assert_true(y[0] == far[0] && y[1] == 0 && y[2] == 50 && y[3] == 0);
	}
}

/* A mean far from zero is what a sum of squares without it would not survive. */
static void test_layer_norm(void **state)
{
	enum { WIDE = 77 };
	float x[2 * 80], y[2 * 80], weight[WIDE], bias[WIDE];

	(void)state;
	for (int i = 0; i < 160; i++)
		x[i] = 300 + draw();
	for (int i = 0; i < WIDE; i++) {
		weight[i] = draw();
		bias[i] = draw();
	}
	for (int v = 0; v < N_MASKS; v++) {
		use(v);
		moe_layer_norm(y, 80, x, 80, weight, bias, 2, WIDE, 1e-5f);
		for (int r = 0; r < 2; r++) {
			double mean = 0, square = 0;
			for (int i = 0; i < WIDE; i++)
				mean += (double)x[r * 80 + i] / WIDE;
			for (int i = 0; i < WIDE; i++)
				square += ((double)x[r * 80 + i] - mean) * ((double)x[r * 80 + i] - mean) / WIDE;
			for (int i = 0; i < WIDE; i++) {
				double want = ((double)x[r * 80 + i] - mean) / sqrt(square + 1e-5) * (double)weight[i] + (double)bias[i];
				assert_true(fabs((double)y[r * 80 + i] - want) < 2e-4);
			}
		}
	}
}

/* kernel.h's definition of attention, slot by slot. */
static void defined_attention(const struct moe_attention *a, float *out)
{
	for (size_t r = 0; r < a->rows; r++)
		for (size_t h = 0; h < a->heads; h++) {
			size_t kv = h / (a->heads / a->kv_heads), d = a->dim;
			const float *q = a->q + (r * a->heads + h) * d;
			float *o = out + (r * a->heads + h) * d, top = -INFINITY, sum = 0;
			memset(o, 0, d * sizeof *o);
			for (size_t b = a->first[r] / MOE_ATTN_BLOCK; b * MOE_ATTN_BLOCK < a->limit[r]; b++) {
				float p[MOE_ATTN_BLOCK], l[16] = {0}, m = top, c;
				for (size_t u = 0; u < MOE_ATTN_BLOCK; u++) {
					size_t slot = b * MOE_ATTN_BLOCK + u;
					float s = 0;
					p[u] = -INFINITY;
					if (slot < a->first[r] || slot >= a->limit[r])
						continue;
					for (size_t i = 0; i < d; i++)
						s = fmaf(q[i], a->key[b][(kv * d + i) * MOE_ATTN_BLOCK + u], s);
					p[u] = s * a->scale;
					m = p[u] > m ? p[u] : m;
				}
				c = moe_exp(top - m);
				for (size_t u = 0; u < MOE_ATTN_BLOCK; u++) {
					p[u] = moe_exp(p[u] - m);
					l[u % 16] += p[u];
				}
				for (int n = 8; n; n /= 2)
					for (int j = 0; j < n; j++)
						l[j] += l[j + n];
				sum = fmaf(sum, c, l[0]);
				for (size_t i = 0; i < d; i++) {
					o[i] *= c;
					for (size_t u = 0; u < MOE_ATTN_BLOCK; u++)
						if (b * MOE_ATTN_BLOCK + u >= a->first[r] && b * MOE_ATTN_BLOCK + u < a->limit[r])
							o[i] = fmaf(p[u], a->value[b][(kv * MOE_ATTN_BLOCK + u) * d + i], o[i]);
				}
				top = m;
			}
			for (size_t i = 0; i < d; i++)
				o[i] /= sum;
		}
}

static void check_attention(size_t rows, size_t heads, size_t kv_heads, size_t dim, size_t slots, int causal, size_t first_slot, struct moe_pool *pool)
{
	size_t blocks = (slots + MOE_ATTN_BLOCK - 1) / MOE_ATTN_BLOCK, n = rows * heads * dim;
	struct guarded q = guarded_floats(n, 1), key[8], value[8];
	const float *k[8], *v[8];
	uint32_t *first = calloc(rows, sizeof *first), *limit = calloc(rows, sizeof *limit);
	float *want = malloc(n * sizeof *want);
	struct moe_attention a = {.q = q.p, .rows = rows, .heads = heads, .kv_heads = kv_heads, .dim = dim, .scale = 1 / sqrtf((float)dim), .first = first,
				  .limit = limit, .key = k, .value = v};

	for (size_t b = 0; b < blocks; b++) {
		key[b] = guarded_floats(kv_heads * dim * MOE_ATTN_BLOCK, 1);
		value[b] = guarded_floats(kv_heads * dim * MOE_ATTN_BLOCK, 1);
		k[b] = key[b].p;
		v[b] = value[b].p;
	}
	for (size_t h = 0; h < kv_heads; h++)           /* what no row may see is poison */
		for (size_t u = slots % MOE_ATTN_BLOCK; slots % MOE_ATTN_BLOCK && u < MOE_ATTN_BLOCK; u++)
			for (size_t i = 0; i < dim; i++) {
				((float *)key[blocks - 1].p)[(h * dim + i) * MOE_ATTN_BLOCK + u] = NAN;
				((float *)value[blocks - 1].p)[(h * MOE_ATTN_BLOCK + u) * dim + i] = NAN;
			}
	for (size_t r = 0; r < rows; r++) {
		limit[r] = (uint32_t)(causal && slots > rows ? slots - rows + r + 1 : slots);
		first[r] = (uint32_t)(first_slot < limit[r] ? first_slot : 0);
	}
	for (int m = 0; m < N_MASKS; m++) {
		struct guarded out = guard(n * sizeof(float), 1);
		use(m);
		defined_attention(&a, want);
		a.out = out.p;
		moe_attend_rows(&a, pool);
		assert_memory_equal(out.p, want, n * sizeof(float));
		unguard(out);
	}
	for (size_t b = 0; b < blocks; b++) {
		unguard(key[b]);
		unguard(value[b]);
	}
	unguard(q);
	free(first);
	free(limit);
	free(want);
}

static void test_attention(void **state)
{
	struct moe_pool *pool = moe_pool_new(3);

	(void)state;
	check_attention(64, 5, 5, 32, 64, 0, 0, NULL);
	check_attention(9, 5, 5, 32, 73, 1, 0, NULL);
	check_attention(1, 5, 5, 32, 70, 1, 0, NULL);
	check_attention(7, 4, 2, 12, 300, 1, 0, NULL);
	check_attention(5, 2, 1, 40, 129, 1, 3, NULL);
	check_attention(3, 2, 2, 7, 400, 1, 140, NULL);
	check_attention(2, 1, 1, 512, 20, 0, 0, NULL);
	check_attention(1, 2, 1, 2, 1, 1, 0, NULL);
	check_attention(101, 2, 2, 72, 300, 0, 0, NULL);        /* more rows than go together, and a tail in every tile */
	check_attention(101, 2, 2, 72, 300, 0, 0, pool);
	check_attention(250, 3, 1, 20, 390, 1, 0, pool);        /* rows of a tile that end in the block, and rows that see none of it */
	check_attention(130, 1, 1, 200, 260, 1, 140, NULL);
	check_attention(27, 1, 1, 512, 130, 0, 0, NULL);        /* wide heads: few rows go together */
	moe_pool_free(pool);
}

static void test_rope_and_im2col(void **state)
{
	float cosine[20], sine[20], want[3 * 44], in[2 * 5 * 4], matrix[9 * 18];

	(void)state;
	for (int i = 0; i < 20; i++)
		moe_sin_cos(draw() * 9, &sine[i], &cosine[i]);
	for (int v = 0; v < N_MASKS; v++) {
		struct guarded x;
		draws = 5000;
		x = guarded_floats(3 * 44, 1);
		memcpy(want, x.p, sizeof want);
		for (int h = 0; h < 3; h++)
			for (int i = 0; i < 20; i++) {
				float a = want[h * 44 + i], b = want[h * 44 + 20 + i];
				want[h * 44 + i] = fmaf(a, cosine[i], -(b * sine[i]));
				want[h * 44 + 20 + i] = fmaf(a, sine[i], b * cosine[i]);
			}
		use(v);
		moe_rope(x.p, 3, 44, 20, cosine, sine);
		assert_memory_equal(x.p, want, sizeof want);
		unguard(x);
	}
	for (int i = 0; i < 40; i++)
		in[i] = (float)i + 1;
	moe_im2col(matrix, 18, in, 2, 5, 4, 3, 3, 2, 1, 3, 2);
	for (int y = 0; y < 3; y++)
		for (int x = 0; x < 2; x++)
			for (int k = 0; k < 18; k++) {
				int c = k / 9, sy = 2 * y + k / 3 % 3 - 1, sx = 2 * x + k % 3 - 1;
				float w = sy < 0 || sx < 0 || sy >= 5 || sx >= 4 ? 0 : in[(c * 5 + sy) * 4 + sx];
				assert_true(matrix[(y * 2 + x) * 18 + k] == w);
			}
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void bench_product(size_t m, size_t n, size_t k)
{
	float *x = calloc(m * k, sizeof *x), *y = calloc(m * n, sizeof *y);
	uint16_t *w = calloc(n * k, sizeof *w);
	struct moe_mat mat = {.data = w, .type = MOE_BF16, .rows = n, .cols = k, .stride = k};
	double flops = 2.0 * (double)m * (double)n * (double)k, best = 1e9;
	int repeat = 1 + (int)(2e8 / flops);

	for (size_t i = 0; i < m * k; i++)
		x[i] = draw();
	for (size_t i = 0; i < n * k; i++)
		w[i] = (uint16_t)(0x3c00 + (i * 7919 & 0x3ff));
	for (int r = 0; r < 7; r++) {
		double start = now();
		for (int i = 0; i < repeat; i++)
			moe_matmul(y, n, x, k, m, &mat, NULL);
		best = fmin(best, (now() - start) / repeat);
	}
	printf("%5zu x %5zu x %5zu  %7.1f GFLOP/s\n", m, n, k, flops / best / 1e9);
	free(x);
	free(y);
	free(w);
}

static void bench_attention(size_t rows, size_t slots)
{
	size_t heads = 5, dim = 32, n = rows * heads * dim;
	float *q = calloc(n, sizeof *q), *out = calloc(n, sizeof *out), *k = aligned_alloc(64, heads * dim * MOE_ATTN_BLOCK * 4);
	const float *blocks[1] = {k};
	uint32_t *first = calloc(rows, 4), *limit = calloc(rows, 4);
	struct moe_attention a = {q, out, rows, heads, heads, dim, 0.17f, first, limit, blocks, blocks};
	double best = 1e9, flops = 4.0 * (double)(rows * slots * heads * dim);
	int repeat = 1 + (int)(2e7 / flops);

	for (size_t i = 0; i < heads * dim * MOE_ATTN_BLOCK; i++)
		k[i] = draw();
	for (size_t i = 0; i < rows; i++)
		limit[i] = (uint32_t)slots;
	for (int r = 0; r < 7; r++) {
		double start = now();
		for (int i = 0; i < repeat; i++)
			moe_attend_rows(&a, NULL);
		best = fmin(best, (now() - start) / repeat);
	}
	printf("attention %zu rows, %zu slots: %.1f us, %.1f GFLOP/s\n", rows, slots, best * 1e6, flops / best / 1e9);
	free(q);
	free(out);
	free(k);
	free(first);
	free(limit);
}

static int bench(void)
{
	static const size_t m[] = {1, 4, 16, 64, 260, 1040};

	for (int v = N_MASKS - 1; v >= 0; v--) {
		use(v);
		printf("%s\n", moe_kernel_select());
		for (size_t i = 0; i < 6; i++) {
			bench_product(m[i], 160, 160);
			bench_product(m[i], 192, 160);
			bench_product(m[i], 160, 192);
		}
		bench_product(1024, 32, 75);
		bench_product(512, 64, 288);
		bench_product(64, 160, 576);
		bench_product(v ? 512 : 32, 1664, 2560);
		bench_product(1, 1664, 2560);
		bench_attention(64, 64);
		bench_attention(1, 72);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_products), cmocka_unit_test(test_inputs_first), cmocka_unit_test(test_scaled), cmocka_unit_test(test_int8), cmocka_unit_test(test_random_normal), cmocka_unit_test(test_threads), cmocka_unit_test(test_vectors), cmocka_unit_test(test_edges_of_exp),
		cmocka_unit_test(test_accuracy), cmocka_unit_test(test_gelu_accuracy), cmocka_unit_test(test_layer_norm), cmocka_unit_test(test_attention), cmocka_unit_test(test_rope_and_im2col),
	};

	if (argc > 1 && !strcmp(argv[1], "--bench"))
		return bench();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
