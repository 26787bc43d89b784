/* Rotary positions: frequencies of every scaling against numbers that numpy computed from the published formulas, and the two ways to pair. */
#include <math.h>

#include "lib_data.h"
#include "nn/rope.h"

enum { N = 16 };

static void expect_near(const float *have, const float *want, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!(fabsf(have[i] - want[i]) <= 2e-7f * fabsf(want[i])))
			fail_msg("pair %zu: %.9g, expected %.9g", i, (double)have[i], (double)want[i]);
}

static void test_frequencies(void **state)
{
	static const float three[3] = {0.25f, 0.0140585331f, 4.44569851e-05f};
	static const float llama3[N] = {
		1.0f, 0.440366596f, 0.193922743f, 0.0853971019f, 0.0376060307f, 0.0165604409f, 0.00729266461f, 0.00321144611f,
		0.000524846138f, 7.78465546e-05f, 3.42810235e-05f, 1.50962169e-05f, 6.64786967e-06f, 2.92749996e-06f, 1.28917316e-06f,
		5.6770881e-07f,
	};
	static const float yarn[N] = {
		1.0f, 0.562341332f, 0.316227764f, 0.177827939f, 0.100000001f, 0.0562341325f, 0.0282346215f, 0.0139721958f,
		0.00678571407f, 0.00321337907f, 0.00146820035f, 0.000635099772f, 0.000250000012f, 0.000140585325f, 7.90569393e-05f,
		4.44569851e-05f,
	};
	struct moe_rope_settings s = {.axes = 1, .theta = 10000, .factor = 4, .original = 4096, .low = 1, .high = 4, .beta_fast = 32, .beta_slow = 1};
	float f[N], picked[3];

	(void)state;
	for (s.scaling = MOE_ROPE_NONE; s.scaling <= MOE_ROPE_DEFAULT; s.scaling++) {
		assert_true(moe_rope_frequencies(f, N, &s) == 1 && f[0] == 1);
		assert_true(fabs((double)f[8] - 0.01) < 1e-9);
	}
	s.scaling = MOE_ROPE_LINEAR;
	assert_true(moe_rope_frequencies(f, N, &s) == 1);
	picked[0] = f[0];
	picked[1] = f[5];
	picked[2] = f[15];
	expect_near(picked, three, 3);
	s.scaling = MOE_ROPE_YARN;
	assert_true(fabsf(moe_rope_frequencies(f, N, &s) - 1.13862944f) < 2e-7f);
	expect_near(f, yarn, N);
	s.attention_factor = 1.5;
	assert_true(moe_rope_frequencies(f, N, &s) == 1.5f);
	s = (struct moe_rope_settings){.axes = 1, .theta = 500000, .scaling = MOE_ROPE_LLAMA3, .factor = 8, .original = 8192, .low = 1, .high = 4};
	assert_true(moe_rope_frequencies(f, N, &s) == 1);
	expect_near(f, llama3, N);
}

/* Turning keeps lengths, and the product of two turned vectors depends on the distance of their positions alone, whichever numbers are paired. */
static void test_turning(void **state)
{
	static const int32_t position[4] = {3, 10, 103, 110};
	struct moe_rope_settings s = {.axes = 1, .theta = 10000};
	float cosine[4 * N], sine[4 * N], f[N], x[4][40], y[40];
	uint64_t random = 5;

	(void)state;
	for (s.pairs = MOE_ROPE_HALF; s.pairs <= MOE_ROPE_ADJACENT; s.pairs++) {
		double product[2] = {0}, length[2] = {0};
		moe_rope_table(cosine, sine, position, 4, N, &s, f);
		for (int i = 0; i < 40; i++) {
			x[0][i] = x[2][i] = (float)(next_random(&random) % 1000) / 500 - 1;
			x[1][i] = x[3][i] = y[i] = (float)(next_random(&random) % 1000) / 500 - 1;
		}
		for (int r = 0; r < 4; r++)
			moe_rope_turn(x[r], 1, 40, N, cosine + r * N, sine + r * N, &s);
		for (int i = 0; i < 40; i++) {
			product[0] += (double)x[0][i] * (double)x[1][i];
			product[1] += (double)x[2][i] * (double)x[3][i];
			length[0] += (double)x[1][i] * (double)x[1][i];
			length[1] += (double)y[i] * (double)y[i];
		}
		assert_true(fabs(product[0] - product[1]) < 1e-4 && fabs(length[0] - length[1]) < 1e-4);
		assert_true(x[1][0] != y[0] && x[1][39] == y[39] && x[1][32] == y[32]);         /* of 40 numbers 32 turn */
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_frequencies), cmocka_unit_test(test_turning)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
