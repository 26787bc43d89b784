/* Block types: widened with the bits of gguf-py, from any address. */
#include "base/blocks.h"
#include "format/safetensors.h"
#include "lib_data.h"

static struct moe_header golden;
static uint8_t *golden_bytes;

static int open_golden(void **state)
{
	struct moe_diag d = {0};
	size_t n;

	(void)state;
	golden_bytes = read_bytes("tests/golden/gguf/blocks.safetensors", &n);
	expect_ok(&d, moe_safetensors_parse(&golden, golden_bytes, n, &d));
	return 0;
}

static int close_golden(void **state)
{
	(void)state;
	moe_header_free(&golden);
	free(golden_bytes);
	return 0;
}

static const struct moe_tensor *find(enum moe_dtype t, const char *what)
{
	char name[32];

	snprintf(name, sizeof name, "%s.%s", moe_dtype_name(t), what);
	for (size_t i = 0; i < golden.n_tensors; i++)
		if (!strcmp(golden.tensor[i].name, name))
			return &golden.tensor[i];
	fail_msg("no tensor %s", name);
	return NULL;
}

static void test_widened(void **state)
{
	(void)state;
	for (int t = MOE_N_DTYPES; t < MOE_N_TYPES; t++) {
		enum moe_dtype type = (enum moe_dtype)t;
		const struct moe_tensor *raw = find(type, "raw"), *want = find(type, "f32");
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_widened),
		cmocka_unit_test(test_no_blocks),
	};

	return cmocka_run_group_tests(tests, open_golden, close_golden);
}
