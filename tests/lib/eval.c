/* Adding up an evaluation: against values worked out by hand, and intervals against their formulas. */
#include "lib_data.h"

#include <math.h>

#include "eval/tally.h"

#define near(a, b, within) do { if (!(fabs((a) - (b)) <= (within))) fail_msg("%s is %.9g, expected %.9g", #a, (double)(a), (double)(b)); } while (0)

static void test_wilson(void **state)
{
	double low, high;

	(void)state;
	moe_wilson(8, 10, &low, &high);         /* R: binom::binom.wilson(8, 10) */
	near(low, 0.4901625, 1e-6);
	near(high, 0.9433178, 1e-6);
	moe_wilson(0, 10, &low, &high);
	near(low, 0, 0);
	near(high, 0.2775328, 1e-6);
	moe_wilson(10, 10, &low, &high);
	near(low, 1 - 0.2775328, 1e-6);
	near(high, 1, 0);
	moe_wilson(0, 0, &low, &high);
	assert_true(low == 0 && high == 1);
}

enum { SAMPLES = 6, MANY = 400 };

static struct moe_asked_sample sample[MANY], *pointers[MANY];
static struct moe_asked asked[MANY][2];
static const struct moe_tag tags[2][1] = {{{"size", "9"}}, {{"size", "10"}}};

/* Sample i has a question of type "colour" with confidence i / 10 + 0.05, right if i is even; those of 3 and above one of type "count" besides, never right. */
static struct moe_evaluation make(size_t n)
{
	for (size_t i = 0; i < n; i++) {
		asked[i][0] = (struct moe_asked){.type = "colour", .answer = i % 3 ? " red" : " blue", .n_answer = 2,
						 .own = {true, i % 2 == 0, -0.5, (double)(i % 10) / 10 + 0.05}, .blind = {i > 0, i == 1, -2, 0}};
		asked[i][1] = (struct moe_asked){.type = "count", .answer = "3", .n_answer = 2, .own = {true, false, -4, 0.5}};
		sample[i] = (struct moe_asked_sample){.name = "s", .kind = i < 5 ? "scene" : "panel", .tag = tags[i % 2], .n_tags = 1, .asked = asked[i], .n = i < 3 ? 1 : 2};
		pointers[i] = &sample[i];
	}
	return (struct moe_evaluation){.sample = pointers, .n_samples = n};
}

static const struct moe_tally_row *find(const struct moe_tally *t, const char *kind, const char *type, const char *value)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct moe_tally_row *r = &t->row[i];
		if (!strcmp(kind, r->kind ? r->kind : "") && !strcmp(type, r->type ? r->type : "") && !strcmp(value, r->value ? r->value : ""))
			return r;
	}
	fail_msg("no row %s %s %s", kind, type, value);
	return NULL;
}

static void test_rows(void **state)
{
	struct moe_evaluation e = make(SAMPLES);
	const struct moe_tally_row *r;
	struct moe_tally t;
	struct moe_diag d = {0};

	(void)state;
	expect_ok(&d, moe_tally_make(&t, &e, "size", NULL, &d));
	assert_int_equal(t.n, 1 + 2 + 4 + 6);
	r = find(&t, "", "", "");
	assert_int_equal(r->own.n, 9);
	assert_int_equal(r->own.right, 3);
	assert_int_equal(r->own.tokens, 18);
	near(r->own.logprob, 6 * -0.5 + 3 * -4, 1e-12);
	assert_int_equal(r->blind.n, 5);
	assert_int_equal(r->blind.right, 1);
	near(r->chance, 4.0 / 9, 1e-12);        /* " red" four times, " blue" twice, "3" thrice */
	r = find(&t, "scene", "colour", "");
	assert_int_equal(r->own.n, 5);
	near(r->confidence, (0.05 + 0.15 + 0.25 + 0.35 + 0.45) / 5, 1e-12);
	near(r->calibration, (0.95 + 0.15 + 0.75 + 0.35 + 0.55) / 5, 1e-12);
	near(r->chance, 3.0 / 5, 1e-12);
	assert_int_equal(find(&t, "scene", "colour", "9")->own.n, 3);
	assert_int_equal(find(&t, "scene", "colour", "10")->own.n, 2);
	assert_true(find(&t, "scene", "colour", "9") < find(&t, "scene", "colour", "10"));     /* as numbers */
	moe_tally_free(&t);
}

static void test_confident(void **state)
{
	struct moe_evaluation e = make(SAMPLES);
	uint64_t n, right;

	(void)state;
	moe_tally_confident(&e, NULL, 0, &n, &right);
	assert_true(n == 9 && right == 3);
	moe_tally_confident(&e, NULL, 0.3, &n, &right);         /* 0.35 0.45 0.55 and three of 0.5 */
	assert_true(n == 6 && right == 1);
	moe_tally_confident(&e, "panel", 0.55, &n, &right);
	assert_true(n == 1 && right == 0);
	asked[0][0].own.done = false;
	moe_tally_confident(&e, NULL, 0, &n, &right);
	assert_true(n == 8 && right == 2);
}

/* The interval of a difference is nearly that of the normal approximation, in which the differences of single samples vary independently. */
static void test_difference(void **state)
{
	struct moe_evaluation a = make(MANY), b;
	static struct moe_asked_sample other[MANY], *others[MANY];
	static struct moe_asked worse[MANY][2];
	const struct moe_tally_row *r;
	struct moe_tally t;
	struct moe_diag d = {0};
	double mean, half;

	(void)state;
	for (size_t i = 0; i < MANY; i++) {
		worse[i][0] = asked[i][0];
		worse[i][1] = asked[i][1];
		if (i % 8 == 0)
			worse[i][0].own.right = false;
		other[i] = sample[i];
		other[i].asked = worse[i];
		others[i] = &other[i];
	}
	b = (struct moe_evaluation){.sample = others, .n_samples = MANY};
	expect_ok(&d, moe_tally_make(&t, &a, NULL, &b, &d));
	r = find(&t, "panel", "colour", "");
	assert_int_equal(r->both, 395);
	mean = (double)((int64_t)r->right_a - (int64_t)r->right_b) / 395;
	near(mean, 49.0 / 395, 1e-12);
	half = 1.96 * sqrt(mean * (1 - mean) / 395);
	near(r->low, mean - half, 0.2 * half);
	near(r->high, mean + half, 0.2 * half);
	moe_tally_free(&t);
	expect_ok(&d, moe_tally_make(&t, &a, NULL, &a, &d));
	r = find(&t, "", "", "");
	assert_true(r->both && r->low == 0 && r->high == 0);
	moe_tally_free(&t);
	b.n_samples--;
	expect_fail(&d, moe_tally_make(&t, &a, NULL, &b, &d), MOE_EMATCH, "400 and 399 samples");
	moe_tally_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wilson), cmocka_unit_test(test_rows), cmocka_unit_test(test_confident), cmocka_unit_test(test_difference),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
