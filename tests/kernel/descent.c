/* The kernels of optimisers in every variant: the same bits as their definitions, computed one by one, and nothing touched beyond n. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "kernel/descent.h"
#include "kernel/kernel.h"
#include "sys/cpu.h"

enum { MOST = 100, N_MASKS = 3 };

static const unsigned masks[N_MASKS] = {0, MOE_CPU_AVX2, MOE_CPU_AVX2 | MOE_CPU_AVX512};

static void fill(float *x, uint64_t stream, float least)
{
	for (size_t i = 0; i < MOST; i++)
		x[i] = fmaxf((float)(moe_random_unit(3, stream, i) * 2 - 1), least);
}

static void each_variant(void (*fn)(size_t n))
{
	for (int i = 0; i < N_MASKS; i++) {
		moe_cpu_mask(masks[i]);
		moe_kernel_select();
		for (size_t n = 0; n < MOST; n += n < 36 ? 1 : 21)
			fn(n);
	}
	moe_cpu_mask(~0u);
	moe_kernel_select();
}

static void adamw_once(size_t n)
{
	const struct moe_adamw a = {0.5f, 0.9f, 0.1f, 0.98f, 0.02f, 3, 7, 0.999f, 0.003f, 1e-8f};
	float w[MOST], m[MOST], v[MOST], g[MOST], w2[MOST], m2[MOST], v2[MOST];

	fill(w, 0, -1);
	fill(m, 1, -1);
	fill(v, 2, 0);
	fill(g, 3, -1);
	memcpy(w2, w, sizeof w);
	memcpy(m2, m, sizeof m);
	memcpy(v2, v, sizeof v);
	moe_adamw_update(w, m, v, g, n, &a);
	for (size_t i = 0; i < n; i++) {
		float x = g[i] * a.scale;
		m2[i] = m2[i] * a.beta1 + a.rest1 * x;
		v2[i] = v2[i] * a.beta2 + a.rest2 * x * x;
		w2[i] = w2[i] * a.keep - a.rate * (m2[i] * a.whole1) / (sqrtf(v2[i] * a.whole2) + a.epsilon);
	}
	assert_memory_equal(w, w2, sizeof w);
	assert_memory_equal(m, m2, sizeof m);
	assert_memory_equal(v, v2, sizeof v);
}

static void nesterov_once(size_t n)
{
	float x[MOST], m[MOST], g[MOST], x2[MOST], m2[MOST];

	fill(x, 4, -1);
	fill(m, 5, -1);
	fill(g, 6, -1);
	memcpy(x2, x, sizeof x);
	memcpy(m2, m, sizeof m);
	moe_nesterov(x, m, g, n, 0.95f, 0.3f);
	for (size_t i = 0; i < n; i++) {
		float y = g[i] * 0.3f;
		m2[i] = m2[i] * 0.95f + y;
		x2[i] = y + 0.95f * m2[i];
	}
	assert_memory_equal(x, x2, sizeof x);
	assert_memory_equal(m, m2, sizeof m);
}

static void blend_once(size_t n)
{
	float x[MOST], y[MOST], out[MOST], want[MOST];

	fill(x, 7, -1);
	fill(y, 8, -1);
	fill(out, 9, -1);
	memcpy(want, out, sizeof out);
	moe_blend(out, 3.5f, x, -0.7f, y, n);
	for (size_t i = 0; i < n; i++)
		want[i] = 3.5f * x[i] + -0.7f * y[i];
	assert_memory_equal(out, want, sizeof out);
	moe_blend(x, 3.5f, x, -0.7f, y, n);             /* in place */
	assert_memory_equal(x, want, n * sizeof *x);
}

static void test_adamw(void **state)
{
	(void)state;
	each_variant(adamw_once);
}

static void test_nesterov(void **state)
{
	(void)state;
	each_variant(nesterov_once);
}

static void test_blend(void **state)
{
	(void)state;
	each_variant(blend_once);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_adamw), cmocka_unit_test(test_nesterov), cmocka_unit_test(test_blend)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
