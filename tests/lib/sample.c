/* Sampling: each filter against its definition on small cases, draws against their probabilities, and that a draw depends on nothing else. */
#include <math.h>

#include "lib_data.h"
#include "nn/sample.h"

static const float logits[6] = {1.0f, 3.0f, 2.0f, -1.0f, 3.0f, 0.5f};

/* Which tokens of six come up in 4,000 draws, as a mask; *share gets the share of each. */
static unsigned drawn(const float *z, const bool *suppress, const bool *seen, struct moe_sampling s, double share[6])
{
	struct moe_arena a = {0};
	struct moe_diag d = {0};
	unsigned mask = 0;

	memset(share, 0, 6 * sizeof *share);
	for (uint64_t i = 0; i < 4000; i++) {
		struct moe_choice c;
		expect_ok(&d, moe_choose(z, 6, suppress, seen, &s, i, 7, &a, &c, &d));
		mask |= 1u << c.token;
		share[c.token] += 1 / 4000.0;
	}
	moe_arena_free(&a);
	return mask;
}

static void test_filters(void **state)
{
	double share[6];
	bool suppress[6] = {[1] = true}, seen[6] = {[1] = true, [4] = true, [3] = true};

	(void)state;
	assert_int_equal(drawn(logits, NULL, NULL, (struct moe_sampling){0}, share), 2);            /* greedy: of equals the lower id */
	assert_int_equal(drawn(logits, suppress, NULL, (struct moe_sampling){0}, share), 16);
	assert_int_equal(drawn(logits, NULL, NULL, (struct moe_sampling){.temperature = 1, .seed = 1}, share), 63);
	assert_int_equal(drawn(logits, NULL, NULL, (struct moe_sampling){.temperature = 1, .top_k = 1}, share), 18);    /* ties of the k-th stay */
	assert_int_equal(drawn(logits, NULL, NULL, (struct moe_sampling){.temperature = 1, .top_k = 3}, share), 22);
	assert_int_equal(drawn(logits, NULL, NULL, (struct moe_sampling){.temperature = 1, .top_k = 100}, share), 63);
	/* p of tokens 1 and 4 is 0.39 each, of token 2 0.14 */
	assert_int_equal(drawn(logits, NULL, NULL, (struct moe_sampling){.temperature = 1, .top_p = 0.3}, share), 2);
	assert_int_equal(drawn(logits, NULL, NULL, (struct moe_sampling){.temperature = 1, .top_p = 0.7}, share), 18);
	assert_int_equal(drawn(logits, NULL, NULL, (struct moe_sampling){.temperature = 1, .top_p = 0.8}, share), 22);
	assert_int_equal(drawn(logits, NULL, NULL, (struct moe_sampling){.temperature = 1, .min_p = 0.3}, share), 22);
	assert_int_equal(drawn(logits, NULL, NULL, (struct moe_sampling){.temperature = 1, .min_p = 0.4}, share), 18);
	/* 3 / 2 = 1.5 < 2, and -1 · 2 */
	assert_int_equal(drawn(logits, NULL, seen, (struct moe_sampling){.repetition_penalty = 2}, share), 4);
	assert_true(drawn(logits, suppress, seen, (struct moe_sampling){.temperature = 1, .repetition_penalty = 2}, share) == 61 && share[3] < 0.03);
}

static void test_shares(void **state)
{
	double share[6], p[6], sum = 0;

	(void)state;
	for (int t = 1; t <= 3; t++) {
		double temperature = t / 1.5;
		sum = 0;
		for (int i = 0; i < 6; i++)
			sum += p[i] = exp(logits[i] / temperature);
		drawn(logits, NULL, NULL, (struct moe_sampling){.temperature = temperature, .seed = 5}, share);
		for (int i = 0; i < 6; i++)
			assert_true(fabs(share[i] - p[i] / sum) < 0.03);
	}
}

/* Seed, sequence and step decide; another of any of them is another draw. */
static void test_counter(void **state)
{
	struct moe_arena a = {0};
	struct moe_diag d = {0};
	struct moe_sampling s = {.temperature = 50, .seed = 3};
	float z[1000];
	int differ[3] = {0};

	(void)state;
	for (int i = 0; i < 1000; i++)
		z[i] = (float)(i % 7);
	for (uint64_t i = 0; i < 50; i++) {
		struct moe_choice c, again, other;
		expect_ok(&d, moe_choose(z, 1000, NULL, NULL, &s, i, i, &a, &c, &d));
		expect_ok(&d, moe_choose(z, 1000, NULL, NULL, &s, i, i, &a, &again, &d));
		assert_int_equal(c.token, again.token);
		assert_true(c.logprob == again.logprob);
		expect_ok(&d, moe_choose(z, 1000, NULL, NULL, &s, i + 1, i, &a, &other, &d));
		differ[0] += other.token != c.token;
		expect_ok(&d, moe_choose(z, 1000, NULL, NULL, &s, i, i + 1, &a, &other, &d));
		differ[1] += other.token != c.token;
		s.seed++;
		expect_ok(&d, moe_choose(z, 1000, NULL, NULL, &s, i, i, &a, &other, &d));
		s.seed--;
		differ[2] += other.token != c.token;
	}
	assert_true(differ[0] > 45 && differ[1] > 45 && differ[2] > 45);
	moe_arena_free(&a);
}

static void test_logprobs(void **state)
{
	struct moe_arena a = {0};
	struct moe_diag d = {0};
	struct moe_choice best[8], c;
	bool suppress[6] = {[1] = true};
	float scratch[6], bad[6] = {0, NAN};
	double all = 0, allowed = 0;

	(void)state;
	for (int i = 0; i < 6; i++) {
		all += exp(logits[i]);
		allowed += i == 1 ? 0 : exp(logits[i]);
	}
	for (size_t i = 0; i < 6; i++)
		assert_true(fabs(moe_logprob(logits, 6, i, scratch) - (logits[i] - log(all))) < 1e-6);
	assert_int_equal(moe_choose_best(logits, 6, NULL, 3, scratch, best), 3);
	assert_true(best[0].token == 1 && best[1].token == 4 && best[2].token == 2 && fabs(best[2].logprob - (2 - log(all))) < 1e-6);
	assert_int_equal(moe_choose_best(logits, 6, suppress, 8, scratch, best), 5);
	assert_true(best[0].token == 4 && best[4].token == 3 && fabs(best[0].logprob - (3 - log(allowed))) < 1e-6);
	expect_ok(&d, moe_choose(logits, 6, suppress, NULL, &(struct moe_sampling){.temperature = 0.1}, 0, 0, &a, &c, &d));
	assert_true(fabs(c.logprob - (logits[c.token] - log(allowed))) < 1e-6);         /* of the model's own logits */
	expect_fail(&d, moe_choose(bad, 6, NULL, NULL, &(struct moe_sampling){0}, 0, 0, &a, &c, &d), MOE_EINPUT, "token 1 is NaN");
	moe_diag_clear(&d);
	bad[1] = INFINITY;
	for (int draws = 0; draws < 2; draws++) {       /* its share would be NaN, and no token that of the draw */
		struct moe_sampling s = {.temperature = draws};
		expect_fail(&d, moe_choose(bad, 6, NULL, NULL, &s, 0, 0, &a, &c, &d), MOE_EINPUT, "token 1 is infinite");
		moe_diag_clear(&d);
	}
	bad[1] = 3e38f;
	expect_fail(&d, moe_choose(bad, 6, NULL, suppress, &(struct moe_sampling){.repetition_penalty = 0.01}, 0, 0, &a, &c, &d), MOE_EINPUT, "token 1 is infinite");
	moe_diag_clear(&d);
	expect_fail(&d, moe_choose(logits, 2, (bool[]){true, true}, NULL, &(struct moe_sampling){0}, 0, 0, &a, &c, &d), MOE_EINPUT, "no token is left");
	moe_arena_free(&a);
}

/* Whatever the temperature, a token comes out: with the lowest ones one of the most likely, with the highest any. */
static void test_extreme_temperatures(void **state)
{
	double share[6];

	(void)state;
	for (double t = 1e-3; t > 0; t /= 1e60)
		assert_int_equal(drawn(logits, NULL, NULL, (struct moe_sampling){.temperature = t}, share), 18);
	assert_int_equal(drawn(logits, NULL, NULL, (struct moe_sampling){.temperature = 4.9e-324}, share), 18);
	assert_int_equal(drawn(logits, NULL, NULL, (struct moe_sampling){.temperature = 1e30}, share), 63);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_filters), cmocka_unit_test(test_shares), cmocka_unit_test(test_counter),
					   cmocka_unit_test(test_logprobs), cmocka_unit_test(test_extreme_temperatures)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
