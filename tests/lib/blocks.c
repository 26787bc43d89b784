/* Block types: widened and quantised with the bits of gguf-py; those with a search of their own against the errors of the published one. */
#include <math.h>

#include "base/blocks.h"
#include "format/safetensors.h"
#include "lib_data.h"

static struct moe_header golden[2];     /* widened, quantised */
static uint8_t *golden_bytes[2];

static int open_golden(void **state)
{
	static const char *const path[2] = {"tests/golden/gguf/blocks.safetensors", "tests/golden/gguf/quantised.safetensors"};
	struct moe_diag d = {0};
	size_t n;

	(void)state;
	for (int i = 0; i < 2; i++) {
		golden_bytes[i] = read_bytes(path[i], &n);
		expect_ok(&d, moe_safetensors_parse(&golden[i], golden_bytes[i], n, &d));
	}
	return 0;
}

static int close_golden(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		moe_header_free(&golden[i]);
		free(golden_bytes[i]);
	}
	return 0;
}

static const struct moe_tensor *find_name(const char *name)
{
	for (int f = 0; f < 2; f++)
		for (size_t i = 0; i < golden[f].n_tensors; i++)
			if (!strcmp(golden[f].tensor[i].name, name))
				return &golden[f].tensor[i];
	fail_msg("no tensor %s", name);
	return NULL;
}

static const struct moe_tensor *find(enum moe_dtype t, const char *what)
{
	char name[32];

	snprintf(name, sizeof name, "%s%s", moe_dtype_name(t), what);
	return find_name(name);
}

static void test_widened(void **state)
{
	(void)state;
	for (int t = MOE_N_DTYPES; t < MOE_N_TYPES; t++) {
		enum moe_dtype type = (enum moe_dtype)t;
		const struct moe_tensor *raw = find(type, ".raw"), *want = find(type, ".f32");
		size_t n = moe_tensor_count(want);
		float *have = malloc(n * sizeof *have);
		uint8_t *moved = malloc(raw->nbytes + 1);

		assert_int_equal(raw->nbytes, moe_dtype_nbytes(type, n));
		memcpy(moved + 1, raw->data, raw->nbytes);
		for (int odd = 0; odd < 2; odd++) {
			assert_true(moe_blocks_widen(have, odd ? moved + 1 : raw->data, n, type));
			if (memcmp(have, want->data, want->nbytes))
				fail_msg("%s differs from gguf-py", moe_dtype_name(type));
		}
		free(moved);
		free(have);
	}
}

static void test_no_blocks(void **state)
{
	float x = 1;

	(void)state;
	for (int t = 0; t < MOE_N_DTYPES; t++)
		assert_false(moe_blocks_widen(&x, &x, 0, (enum moe_dtype)t));
	assert_false(moe_blocks_widen(&x, &x, 0, MOE_N_TYPES));
}

/* The rows of x in an aligned copy; free it. */
static float *rows(size_t *n)
{
	const struct moe_tensor *t = find_name("x");
	float *x = malloc(t->nbytes);

	memcpy(x, t->data, t->nbytes);
	*n = t->shape[0];
	return x;
}

static void test_quantised(void **state)
{
	static const enum moe_dtype types[] = {MOE_Q8_0, MOE_Q4_0};
	size_t n;
	float *x = rows(&n);

	(void)state;
	for (int i = 0; i < 2; i++) {
		const struct moe_tensor *want = find(types[i], "");
		uint8_t *have = malloc(want->nbytes);
		assert_int_equal(want->nbytes, moe_dtype_nbytes(types[i], 256 * n));
		assert_true(moe_blocks_quantise(have, x, 256 * n, types[i]));
		if (memcmp(have, want->data, want->nbytes))
			fail_msg("%s differs from gguf-py", moe_dtype_name(types[i]));
		free(have);
	}
	free(x);
}

/* Sum of squared errors of a row of 256. */
static double error_of(const float *x, enum moe_dtype t)
{
	uint8_t block[8 * 34];
	float back[256];
	double sum = 0;

	assert_true(moe_narrow(block, x, 256, t) && moe_widen(back, block, 256, t));
	for (int i = 0; i < 256; i++)
		sum += ((double)back[i] - x[i]) * ((double)back[i] - x[i]);
	return sum;
}

/* Against the errors that the search of llama.cpp (ggml-quants.c, make_qkx2_quants and make_qx_quants) leaves in the same rows: no row much worse, all
 * together better. */
static void test_searched(void **state)
{
	static const enum moe_dtype types[] = {MOE_Q4_K, MOE_Q6_K};
	size_t n;
	float *x = rows(&n);

	(void)state;
	for (int i = 0; i < 2; i++) {
		const struct moe_tensor *published = find(types[i], ".error");
		double ours = 0, theirs = 0, scale = 0;
		for (size_t r = 0; r < n; r++) {
			double have = error_of(x + 256 * r, types[i]), want, norm = 1e-30;
			memcpy(&want, published->data + 8 * r, 8);
			for (int k = 0; k < 256; k++)
				norm += (double)x[256 * r + (size_t)k] * x[256 * r + (size_t)k];
			if (have > 1.2 * want + 1e-6 * norm)
				fail_msg("%s: row %zu: error %g, published %g", moe_dtype_name(types[i]), r, have, want);
			ours += have / norm;
			theirs += want / norm;
			scale += norm;
		}
		assert_true(scale > 0 && ours < 0.98 * theirs);
	}
	free(x);
}

/* Nothing, the largest that the scales can take, one outlier, subnormal numbers: finite, and no worse than nothing. */
static void test_extremes(void **state)
{
	static const enum moe_dtype types[] = {MOE_Q8_0, MOE_Q4_0, MOE_Q4_K, MOE_Q6_K};
	float x[256] = {0};

	(void)state;
	for (int t = 0; t < 4; t++) {
		memset(x, 0, sizeof x);
		assert_true(error_of(x, types[t]) == 0);
		x[77] = -1000;
		assert_true(error_of(x, types[t]) < 1e4);
		x[77] = 1e5f;
		assert_true(error_of(x, types[t]) < 1e8);
		for (int i = 0; i < 256; i++)
			x[i] = (float)(i - 128) * 1e-42f;
		assert_true(isfinite(error_of(x, types[t])) && error_of(x, types[t]) < 1e-70);
	}
	assert_false(moe_blocks_quantise(x, x, 0, MOE_Q5_K));
	assert_false(moe_narrow(x, x, 0, MOE_I8));
}

/* Every F16 and BF16 comes back from f32; halfway cases go to the even. */
static void test_halves(void **state)
{
	(void)state;
	for (unsigned h = 0; h < 65536; h++) {
		float f = moe_f32_from_f16((uint16_t)h), b = moe_f32_from_bf16((uint16_t)h);
		if (isnan(f))
			assert_true(isnan(moe_f32_from_f16(moe_f16_from_f32(f))));
		else
			assert_int_equal(moe_f16_from_f32(f), h);
		if (isnan(b))
			assert_true(isnan(moe_f32_from_bf16(moe_bf16_from_f32(b))));
		else
			assert_int_equal(moe_bf16_from_f32(b), h);
	}
	assert_int_equal(moe_f16_from_f32(65519.996f), 0x7bff);
	assert_int_equal(moe_f16_from_f32(65520), 0x7c00);
	assert_int_equal(moe_f16_from_f32(1 + 0x1p-11f), 0x3c00);
	assert_int_equal(moe_f16_from_f32(1 + 0x3p-11f), 0x3c02);
	assert_int_equal(moe_f16_from_f32(0x1p-25f), 0);
	assert_int_equal(moe_f16_from_f32(0x3p-25f), 2);
	assert_int_equal(moe_f16_from_f32(-0x1.1p-25f), 0x8001);
	assert_int_equal(moe_bf16_from_f32(1 + 0x1p-8f), 0x3f80);
	assert_int_equal(moe_bf16_from_f32(1 + 0x3p-8f), 0x3f82);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_widened),
		cmocka_unit_test(test_no_blocks),
		cmocka_unit_test(test_quantised),
		cmocka_unit_test(test_searched),
		cmocka_unit_test(test_extremes),
		cmocka_unit_test(test_halves),
	};

	return cmocka_run_group_tests(tests, open_golden, close_golden);
}
