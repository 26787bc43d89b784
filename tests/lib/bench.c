/* Measurements: what can be said of them without knowing the machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bench/products.h"
#include "kernel/kernel.h"
#include "sys/cpu.h"

static const unsigned masks[] = {0, MOE_CPU_AVX2, MOE_CPU_AVX2 | MOE_CPU_AVX512, ~0u};
enum { N_MASKS = sizeof masks / sizeof *masks };

static void use(unsigned mask)
{
	moe_cpu_mask(mask);
	moe_kernel_select();
}

static void spreads(void **state)
{
	double odd[] = {3, 1, 2}, even[] = {4, 1, 3, 2}, one[] = {7};
	struct moe_spread s = moe_spread_of(odd, 3);

	(void)state;
	assert_true(s.median == 2 && s.least == 1 && s.most == 3);
	assert_true(odd[0] == 1 && odd[1] == 2 && odd[2] == 3);
	s = moe_spread_of(even, 4);
	assert_true(s.median == 2.5 && s.least == 1 && s.most == 4);
	s = moe_spread_of(one, 1);
	assert_true(s.median == 7 && s.least == 7 && s.most == 7);
}

/* Every instruction set has its bursts, and none is used that the mask forbids. */
static void peaks(void **state)
{
	(void)state;
	for (int i = 0; i < N_MASKS; i++) {
		struct moe_peaks p;
		struct moe_diag d = {0};
		use(masks[i]);
		assert_int_equal(moe_peaks_measure(&p, NULL, &d), MOE_OK);
		for (int k = 0; k < MOE_N_PEAKS; k++) {
			bool tiles = k == MOE_PEAK_TILES, there = !tiles || moe_cpu_flags() & MOE_CPU_AMX;
			assert_int_equal(p.rate[k] > 0, there);
			assert_int_equal(p.how[k] != NULL, there);
			assert_true(masks[i] || tiles || !strcmp(p.how[k], "c"));
		}
		assert_true(p.rate[MOE_PEAK_BF16] >= p.rate[MOE_PEAK_F32]);
	}
	use(~0u);
}

static void product(enum moe_dtype t, bool fast)
{
	struct moe_bench_weights w;
	struct moe_product p;
	struct moe_diag d = {0};

	assert_int_equal(moe_bench_weights_init(&w, t, 304, 512, fast, NULL, &d), MOE_OK);
	assert_true(w.n * w.nbytes >= MOE_BENCH_NBYTES);
	assert_true(!w.fast || fast);
	assert_true(w.fast || !fast || t < MOE_N_DTYPES);
	assert_int_equal(memcmp(w.mat[0].data, w.mat[w.n - 1].data, w.nbytes), 0);
	assert_int_equal(moe_bench_product(&p, &w, 3, NULL, &d), MOE_OK);
	assert_true(p.seconds.least > 0 && p.seconds.least <= p.seconds.median && p.seconds.median <= p.seconds.most);
	assert_true(p.flops == 2.0 * 3 * 304 * 512);
	assert_int_equal(p.peak, !w.fast ? MOE_PEAK_F32 : t == MOE_BF16 ? MOE_PEAK_BF16 : MOE_PEAK_INT8);
	moe_bench_weights_free(&w);
}

static void products(void **state)
{
	(void)state;
	for (int t = 0; t < MOE_N_TYPES; t++) {
		if (!moe_bench_has_type((enum moe_dtype)t))
			continue;
		assert_int_equal(moe_bench_find_type(moe_dtype_name((enum moe_dtype)t)), t);
		product((enum moe_dtype)t, false);
		product((enum moe_dtype)t, true);
	}
}

static void types(void **state)
{
	(void)state;
	assert_int_equal(moe_bench_find_type("q4_k"), MOE_Q4_K);
	assert_int_equal(moe_bench_find_type("Bf16"), MOE_BF16);
	assert_int_equal(moe_bench_find_type("I8"), MOE_N_TYPES);
	assert_int_equal(moe_bench_find_type(""), MOE_N_TYPES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(spreads), cmocka_unit_test(peaks), cmocka_unit_test(products), cmocka_unit_test(types)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
