/* The arithmetic `fast`: every variant gives the bits of the definition in rows.h, for every number of rows, with guard pages at the ends, from
 * packed weights that have the values of the blocks they were made of. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/blocks.h"
#include "base/rng.h"
#include "guard.h"
#include "kernel/pack.h"
#include "kernel/rows.h"
#include "sys/cpu.h"

static const unsigned masks[] = {
	0, MOE_CPU_AVX2, MOE_CPU_AVX2 | MOE_CPU_AVX_VNNI, MOE_CPU_AVX2 | MOE_CPU_AVX512, MOE_CPU_AVX2 | MOE_CPU_AVX512 | MOE_CPU_VNNI,
	~(unsigned)MOE_CPU_AMX, ~0u,
};
enum { N_MASKS = sizeof masks / sizeof *masks };

static void use(int i)
{
	moe_cpu_mask(masks[i]);
	moe_kernel_select();
}

static uint64_t draws;

static double draw(void) { return moe_random_unit(11, 1, draws++) * 2 - 1; }

/* Where the F16 scales of a block lie. */
static int halves_at(enum moe_dtype t, int *second)
{
	*second = -1;
	switch (t) {
	case MOE_Q4_1:
	case MOE_Q5_1:
	case MOE_Q4_K:
	case MOE_Q5_K: *second = 2; return 0;
	case MOE_Q2_K: *second = 82; return 80;
	case MOE_Q3_K: return 108;
	case MOE_Q6_K: return 208;
	case MOE_I8:
	case MOE_MXFP4: return -1;
	default: return 0;
	}
}

/* n elements of a type: random bits, with scales of either sign that are finite and moderate. */
static void fill_weights(uint8_t *p, size_t n, enum moe_dtype t)
{
	size_t size = moe_dtype_nbytes(t, moe_dtype_block(t)), blocks = n / moe_dtype_block(t);
	int second, first = halves_at(t, &second);

	for (size_t b = 0; b < blocks; b++, p += size) {
		for (size_t i = 0; i < size; i++)
			p[i] = (uint8_t)(moe_random_unit(11, 2, draws++) * 256);
		if (t == MOE_MXFP4)
			p[0] = (uint8_t)(120 + p[0] % 8);
		for (int i = 0; i < 2; i++)
			if ((i ? second : first) >= 0)
				p[(i ? second : first) + 1] = (uint8_t)(0x10 | (p[(i ? second : first) + 1] & 0x8f));
	}
}

struct weights {
	struct moe_mat mat;
	struct guarded data, packed, scale;     /* scale: of I8 */
};

static struct weights make_weights(size_t n, size_t k, enum moe_dtype t)
{
	struct weights w = {.mat = {.type = t, .rows = n, .cols = k, .stride = k}};

	w.data = guard(moe_dtype_nbytes(t, n * k), true);
	w.mat.data = w.data.p;
	fill_weights(w.data.p, n * k, t);
	w.scale = guard(n * sizeof(float), true);
	for (size_t j = 0; j < n; j++)
		((float *)w.scale.p)[j] = (float)draw();
	w.mat.scale = t == MOE_I8 ? w.scale.p : NULL;
	w.packed = guard(moe_pack_nbytes(&w.mat), true);
	for (size_t row = 0; row < n; row += 32)        /* in pieces, as threads do */
		moe_pack(w.packed.p, &w.mat, row, row + 32 < n ? row + 32 : n);
	w.mat.packed = w.packed.p;
	return w;
}

static void free_weights(struct weights w)
{
	unguard(w.data);
	unguard(w.packed);
	unguard(w.scale);
}

/* A row of x, quantised by the definition. */
static void quantise(int *q, float *d, const float *x, size_t k)
{
	for (size_t b = 0; b < k / 32; b++) {
		float most = 0;
		for (size_t i = 32 * b; i < 32 * b + 32; i++)
			most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
		d[b] = most < 0x1p-100f ? 0 : most / 127.0f;
		for (size_t i = 32 * b; i < 32 * b + 32; i++)
			q[i] = d[b] > 0 ? (int)rintf(x[i] * (127.0f / most)) : 0;
	}
}

static float half(const uint8_t *p)
{
	uint16_t h;

	memcpy(&h, p, 2);
	return moe_f32_from_f16(h);
}

/* The definition for Q8_0: one output. */
static float defined_q8_0(const int *q, const float *d, const uint8_t *w, size_t k)
{
	float s = 0;

	for (size_t b = 0; b < k / 32; b++, w += 34) {
		int sum = 0;
		for (size_t i = 0; i < 32; i++)
			sum += (int8_t)w[2 + i] * q[32 * b + i];
		s = fmaf((float)sum * half(w) + 0.0f, d[b], s);
	}
	return s;
}

/* The same for I8: each output has one scale, which is multiplied at the end. */
static float defined_int8(const int *q, const float *d, const int8_t *w, float scale, size_t k)
{
	float s = 0;

	for (size_t b = 0; b < k / 32; b++) {
		int sum = 0;
		for (size_t i = 32 * b; i < 32 * b + 32; i++)
			sum += w[i] * q[i];
		s = fmaf((float)sum, d[b], s);
	}
	return s * scale;
}

static void fill_x(float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = (float)(draw() * draw());
}

/* Products of m rows in one call, under every mask, against the definition where it is written here, else against plain C row by row. */
static void check_bits(size_t m, size_t n, size_t k, enum moe_dtype t, struct moe_pool *pool)
{
	struct weights w = make_weights(n, k, t);
	struct guarded x = guard(m * k * sizeof(float), true);
	float *want = malloc(m * n * sizeof *want), *d = malloc(k / 32 * sizeof *d);
	int *q = malloc(k * sizeof *q);

	fill_x(x.p, m * k);
	use(0);
	for (size_t i = 0; i < m; i++) {
		const float *row = (float *)x.p + i * k;
		if (t != MOE_Q8_0 && t != MOE_I8) {
			moe_matmul(want + i * n, n, row, k, 1, &w.mat, NULL);
			continue;
		}
		quantise(q, d, row, k);
		for (size_t j = 0; j < n; j++)
			want[i * n + j] = t == MOE_I8 ? defined_int8(q, d, (int8_t *)w.data.p + j * k, ((float *)w.scale.p)[j], k)
						      : defined_q8_0(q, d, (uint8_t *)w.data.p + j * k / 32 * 34, k);
	}
	for (int v = 0; v < N_MASKS; v++) {
		struct guarded y = guard(m * n * sizeof(float), true);
		use(v);
		moe_matmul(y.p, n, x.p, k, m, &w.mat, pool);
		assert_memory_equal(y.p, want, m * n * sizeof(float));
		unguard(y);
	}
	free(want);
	free(d);
	free(q);
	unguard(x);
	free_weights(w);
}

static float flushed(float x) { return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x; }

static float rounded_to_bf16(float x)
{
	uint32_t u;

	memcpy(&u, &x, 4);
	u += 0x7fff + (u >> 16 & 1);
	u &= 0xffff0000;
	memcpy(&x, &u, 4);
	return flushed(x);
}

/* One output of BF16 weights w [k], in either order: that of pairs, or that of blocks of 32 with their even and odd inputs apart. */
static float defined_bf16(const float *x, const float *w, size_t k, bool blocks)
{
	float s = 0, even = 0, odd = 0;

	for (size_t i = 0; i < k; i += 2) {
		float x0 = rounded_to_bf16(x[i]), w0 = flushed(w[i]), x1 = i + 1 < k ? rounded_to_bf16(x[i + 1]) : 0, w1 = i + 1 < k ? flushed(w[i + 1]) : 0;
		if (!blocks) {
			s = flushed(fmaf(w1, x1, s));
			s = flushed(fmaf(w0, x0, s));
			continue;
		}
		even = flushed(fmaf(w0, x0, even));
		odd = flushed(fmaf(w1, x1, odd));
		if (i % 32 == 30 || i + 2 >= k) {
			s = flushed(s + flushed(even + odd));
			even = odd = 0;
		}
	}
	return s;
}

/* Products of m rows with BF16 weights, under every mask whose CPU has them, some of them subnormal. */
static void check_bf16(size_t m, size_t n, size_t k, struct moe_pool *pool)
{
	struct weights w = {.mat = {.type = MOE_BF16, .rows = n, .cols = k, .stride = k}};
	struct guarded x = guard(m * k * sizeof(float), true), y = guard(m * n * sizeof(float), true);
	float *row = malloc(k * sizeof *row);
	uint16_t h;

	w.mat.data = (w.data = guard(2 * n * k, true)).p;
	for (size_t i = 0; i < n * k; i++) {
		float f = (float)draw() * (i % 37 ? 1 : 0x1p-127f);
		memcpy(&h, (char *)&f + 2, 2);
		memcpy((uint8_t *)w.data.p + 2 * i, &h, 2);
	}
	fill_x(x.p, m * k);
	for (size_t i = 5; i < m * k; i += 41)
		((float *)x.p)[i] *= 0x1p-126f;
	w.packed = guard(moe_pack_nbytes(&w.mat), true);
	moe_pack(w.packed.p, &w.mat, 0, n);
	w.mat.packed = w.packed.p;
	for (int v = 0; v < N_MASKS; v++) {
		use(v);
		if (!moe_rows_known(&w.mat))
			continue;
		moe_matmul(y.p, n, x.p, k, m, &w.mat, pool);
		for (size_t j = 0; j < n; j++) {
			moe_widen(row, (uint8_t *)w.data.p + 2 * j * k, k, MOE_BF16);
			for (size_t i = 0; i < m; i++) {
				float want = defined_bf16((float *)x.p + i * k, row, k, moe_cpu_flags() & MOE_CPU_AMX);
				assert_memory_equal((float *)y.p + i * n + j, &want, sizeof want);
			}
		}
	}
	free(row);
	unguard(x);
	unguard(y);
	free_weights(w);
}

/* Weights whose inputs lie apart are packed into the same bytes. */
static void check_turned(void)
{
	enum { N = 37, K = 70, WIDE = 50 };
	uint16_t rows[N][K], turned[K][WIDE];
	struct moe_mat a = {.data = rows, .type = MOE_BF16, .rows = N, .cols = K, .stride = K};
	struct moe_mat b = {.data = turned, .type = MOE_BF16, .rows = N, .cols = K, .stride = 1, .step = WIDE};
	size_t n = moe_pack_nbytes(&a);
	uint8_t *x = aligned_alloc(64, n), *y = aligned_alloc(64, n);

	for (size_t i = 0; i < N; i++)
		for (size_t j = 0; j < K; j++)
			rows[i][j] = turned[j][i] = (uint16_t)(moe_random_unit(11, 3, draws++) * 65536);
	assert_int_equal(moe_pack_nbytes(&b), n);
	moe_pack(x, &a, 0, N);
	moe_pack(y, &b, 0, N);
	assert_memory_equal(x, y, n);
	free(x);
	free(y);
}

static void test_bf16(void **state)
{
	struct moe_pool *pool = moe_pool_new(3);

	(void)state;
	for (size_t m = 1; m <= 40; m++)
		check_bf16(m, 37, 64, NULL);
	check_bf16(1, 1, 1, NULL);
	check_bf16(3, 16, 33, NULL);
	check_bf16(19, 40, 61, NULL);
	check_bf16(7, 65, 1056, NULL);
	check_bf16(300, 20, 96, NULL);
	check_bf16(200, 100, 512, pool);
	check_bf16(1, 2050, 1024, pool);
	check_turned();
	moe_pool_free(pool);
}

static const enum moe_dtype types[] = {
	MOE_Q8_0, MOE_I8, MOE_Q4_0, MOE_Q4_K, MOE_Q6_K, MOE_Q4_1, MOE_Q5_0, MOE_Q5_1, MOE_Q5_K, MOE_Q2_K, MOE_Q3_K, MOE_IQ4_NL, MOE_IQ4_XS, MOE_MXFP4,
};
enum { N_TYPES = sizeof types / sizeof *types };

static void test_bits(void **state)
{
	(void)state;
	for (int t = 0; t < N_TYPES; t++) {
		size_t block = types[t] == MOE_I8 ? 32 : moe_dtype_block(types[t]);
		for (size_t m = 1; m <= 40; m++)
			check_bits(m, 37, block, types[t], NULL);
		check_bits(1, 1, block, types[t], NULL);
		check_bits(5, 16, 3 * block, types[t], NULL);
		check_bits(13, 33, 17 * block, types[t], NULL);
		check_bits(7, 65, 1024, types[t], NULL);
		check_bits(300, 20, 256, types[t], NULL);
	}
}

static void test_threads(void **state)
{
	struct moe_pool *pool = moe_pool_new(3);

	(void)state;
	for (int t = 0; t < N_TYPES; t++) {
		check_bits(1, 2050, 1024, types[t], pool);
		check_bits(200, 100, 512, types[t], pool);
	}
	moe_pool_free(pool);
}

/* Against the product in double of the widened weights with x: the bound is what rounding x to bytes may do, half a step of each block times the
 * sum of its weights' sizes, and 2^-20 of the sum of the products' sizes for f32. With x that are whole steps (every block having a largest of
 * 127 steps) only the latter is left. */
static void check_accuracy(enum moe_dtype t, bool whole)
{
	enum { M = 3, N = 40, K = 768 };
	struct weights w = make_weights(N, K, t);
	float *x = malloc(M * K * sizeof *x), *y = malloc(M * N * sizeof *y), *row = malloc(K * sizeof *row);

	for (size_t i = 0; i < M * K; i++)
		x[i] = whole ? ldexpf(i % 32 == 5 ? 127 : rintf((float)(draw() * 127)), -(int)(i / 32 % 5)) : (float)draw();
	moe_cpu_mask(~0u);
	moe_kernel_select();
	moe_matmul(y, N, x, K, M, &w.mat, NULL);
	for (size_t j = 0; j < N; j++) {
		moe_mat_row(row, &w.mat, j);
		for (size_t i = 0; i < M; i++) {
			double sum = 0, size = 0, steps = 0;
			for (size_t b = 0; b < K; b += 32) {
				float most = 0;
				double weights = 0;
				for (size_t k = b; k < b + 32; k++) {
					double p = (double)x[i * K + k] * row[k];
					sum += p;
					size += fabs(p);
					weights += fabs((double)row[k]);
					most = fmaxf(most, fabsf(x[i * K + k]));
				}
				steps += whole ? 0 : weights * most / 254;
			}
			/* Leasts make weights small beside what they are the difference of. */
			assert_true(fabs(y[i * N + j] - sum) <= 1.0001 * steps + size * (t == MOE_Q4_1 || t >= MOE_Q5_1 ? 0x1p-17 : 0x1p-20));
		}
	}
	free(x);
	free(y);
	free(row);
	free_weights(w);
}

static void test_accuracy(void **state)
{
	(void)state;
	for (int t = 0; t < N_TYPES; t++) {
		check_accuracy(types[t], true);
		check_accuracy(types[t], false);
	}
}

/* Zeros, numbers too small to be scaled, infinities and NaN: zeros, or NaN, and nothing else. */
static void test_edges(void **state)
{
	struct weights w = make_weights(16, 64, MOE_Q8_0);
	float x[4][64] = {{0}}, y[4][16];

	(void)state;
	x[1][3] = 1e-38f;
	x[2][40] = INFINITY;
	x[3][40] = NAN;
	for (int v = 0; v < N_MASKS; v++) {
		use(v);
		moe_matmul(y[0], 16, x[0], 64, 4, &w.mat, NULL);
		for (int j = 0; j < 16; j++) {
			assert_true(y[0][j] == 0 && !signbit(y[0][j]) && y[1][j] == 0);
			assert_true(isnan(y[2][j]) && isnan(y[3][j]));
		}
	}
	free_weights(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bits), cmocka_unit_test(test_threads), cmocka_unit_test(test_accuracy), cmocka_unit_test(test_edges),
		cmocka_unit_test(test_bf16),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
