/* Measures of routing: even routing gives exactly the chance levels, counts made by hand give known answers, and permutation levels are what all
 * permutations, written out, give. */
#include <math.h>

#include "lib_data.h"
#include "stats/measures.h"

static void expect_near(double have, double want, double within)
{
	if (!(fabs(have - want) <= within))
		fail_msg("%.12g, expected %.12g", have, want);
}

/* A part of `experts` experts that have these counts, of tokens with k choices each. */
static struct moe_routing_part *part_of(const uint64_t *count, size_t experts, size_t k)
{
	struct moe_routing_part *p = moe_routing_part_new(experts, k, 0);

	for (size_t e = 0; e < experts; e++) {
		p->count[e] = count[e];
		p->weight[e] = (double)count[e] / (double)k;
		p->choices += count[e];
	}
	p->tokens = p->choices / k;
	p->chosen[k] = p->tokens;
	p->open = p->choices;
	return p;
}

static void test_loads(void **state)
{
	static const uint64_t even[8] = {10, 10, 10, 10, 10, 10, 10, 10}, uneven[8] = {40, 20, 10, 10, 0, 0, 0, 0};
	struct moe_routing r = {.choice = "token", .experts = 8, .k = 2};
	struct moe_routing_part *p = part_of(even, 8, 2);
	struct moe_measures m;
	struct moe_diag d = {0};

	(void)state;
	expect_ok(&d, moe_measure(&m, &r, p, &d));
	assert_true(m.tokens == 40 && m.choices == 80 && m.pool == 8 && m.unused == 0 && m.mean_weight == 0.5 && m.without == 0 && isnan(m.without_chance));
	expect_near(m.load.entropy, 1, 1e-15);
	expect_near(m.load.effective, 8, 1e-13);
	assert_true(m.load.participation == 8 && m.load.max_vio == 0 && m.load.cv2 == 0 && m.load.busiest == 0.125);
	assert_memory_equal(&m.load, &m.chance, sizeof m.load);
	expect_near(m.unused_chance, 8 * pow(0.75, 40), 1e-12);
	expect_near(m.cv2_random, 40 * 0.25 * 0.75 / 100, 1e-12);
	assert_true(isnan(m.router_entropy) && isnan(m.mass) && isnan(m.mean_margin));
	moe_routing_part_free(p);

	/* Shares 1/2, 1/4, 1/8, 1/8: H = 1.75 bits, squares 11/32. */
	p = part_of(uneven, 8, 2);
	expect_ok(&d, moe_measure(&m, &r, p, &d));
	expect_near(m.load.entropy, 1.75 / 3, 1e-14);
	expect_near(m.load.effective, pow(2, 1.75), 1e-13);
	expect_near(m.load.participation, 32.0 / 11, 1e-14);
	assert_true(m.load.max_vio == 3 && m.load.cv2 == 1.75 && m.unused == 4 && m.load.busiest == 0.5 && m.load.busiest_expert == 0);
	moe_routing_part_free(p);
}

/* Two pools, each chosen from evenly: 30 tokens choose two of experts 0 to 3, 10 tokens choose two of 4 to 7. */
static void test_pools(void **state)
{
	static const uint64_t count[8] = {15, 15, 15, 15, 5, 5, 5, 5};
	struct moe_routing r = {.choice = "token", .experts = 8, .k = 2};
	struct moe_routing_part *p = part_of(count, 8, 2);
	struct moe_measures m;
	struct moe_diag d = {0};

	(void)state;
	p->open = 0;
	for (size_t e = 0; e < 8; e++) {
		p->eligible[e] = e < 4 ? 30 : 10;
		p->narrow[e] = e < 4 ? 15 : 5;
	}
	expect_ok(&d, moe_measure(&m, &r, p, &d));
	assert_memory_equal(&m.load, &m.chance, sizeof m.load);
	assert_true(m.load.max_vio == 0.5 && m.pool == 8);

	/* Of the first pool alone: even over four. */
	memset(p->count + 4, 0, 4 * sizeof *p->count);
	memset(p->eligible + 4, 0, 4 * sizeof *p->eligible);
	memset(p->narrow + 4, 0, 4 * sizeof *p->narrow);
	p->tokens = 30;
	p->choices = 60;
	expect_ok(&d, moe_measure(&m, &r, p, &d));
	assert_true(m.pool == 4 && m.load.entropy == 1 && m.load.max_vio == 0 && m.unused == 0 && m.chance.entropy == 1);
	expect_near(m.load.effective, 4, 1e-14);
	moe_routing_part_free(p);
}

/* Experts that choose: 60 tokens, of which each of 4 experts takes 15. */
static void test_without(void **state)
{
	static const uint64_t count[4] = {15, 15, 15, 15};
	struct moe_routing r = {.choice = "batch:4", .experts = 4, .k = 2};
	struct moe_routing_part *p = part_of(count, 4, 1);
	struct moe_measures m;
	struct moe_diag d = {0};

	(void)state;
	p->chosen[0] = 20;
	expect_ok(&d, moe_measure(&m, &r, p, &d));
	expect_near(m.without, 1.0 / 3, 1e-15);
	expect_near(m.without_chance, pow(0.75, 4), 1e-15);
	moe_routing_part_free(p);
}

static void test_overlap(void **state)
{
	static const uint64_t even[8] = {5, 5, 5, 5, 5, 5, 5, 5}, a[8] = {9, 8, 1, 1, 1, 1, 1, 1}, b[8] = {9, 1, 8, 1, 1, 1, 1, 1};
	static const uint64_t tied[8] = {9, 4, 4, 0, 0, 0, 0, 0};
	struct moe_routing_part *p[4] = {part_of(even, 8, 1), part_of(a, 8, 1), part_of(b, 8, 1), part_of(tied, 8, 1)};
	double chance;
	struct moe_overlap o;
	struct moe_diag d = {0};

	(void)state;
	/* Two of eight and two of eight: one in common in 12 of 28 pairs, both in one. */
	chance = 12 / 28.0 / 3 + 1 / 28.0;
	expect_ok(&d, moe_overlap(&o, p[0], p[0], 8, &d));
	expect_near(o.value, chance, 1e-12);
	expect_near(o.chance, chance, 1e-12);
	expect_ok(&d, moe_overlap(&o, p[1], p[1], 8, &d));
	expect_near(o.value, 1, 1e-12);
	expect_ok(&d, moe_overlap(&o, p[1], p[2], 8, &d));
	expect_near(o.value, 1 / 3.0, 1e-12);
	expect_near(o.chance, chance, 1e-12);
	/* {0, 1} against {0, 1} or {0, 2}, which are as good. */
	expect_ok(&d, moe_overlap(&o, p[1], p[3], 8, &d));
	expect_near(o.value, (1 + 1 / 3.0) / 2, 1e-12);
	/* {0, 1} or {0, 2} against the same, independently. */
	expect_ok(&d, moe_overlap(&o, p[3], p[3], 8, &d));
	expect_near(o.value, (1 + 1 / 3.0) / 2, 1e-12);
	expect_ok(&d, moe_overlap(&o, p[0], p[1], 8, &d));
	expect_near(o.value, chance, 1e-12);
	for (int i = 0; i < 4; i++)
		moe_routing_part_free(p[i]);
}

static double hypergeometric(uint64_t all, uint64_t marked, uint64_t drawn)
{
	double n = (double)all, k = (double)marked, m = (double)drawn, mean = 0, sum = 0;

	for (double x = k + m > n ? k + m - n : 0; x <= k && x <= m; x++) {
		double p = lgamma(k + 1) - lgamma(x + 1) - lgamma(k - x + 1) + lgamma(n - k + 1) - lgamma(m - x + 1) - lgamma(n - k - m + x + 1);
		p -= lgamma(n + 1) - lgamma(m + 1) - lgamma(n - m + 1);
		sum += exp(p);
		mean += x > 0 ? exp(p) * x * log(x) : 0;
	}
	return mean / sum;
}

static void test_hypergeometric(void **state)
{
	static const uint64_t row[][3] = {{1, 1, 1}, {10, 4, 5}, {10, 9, 8}, {7, 7, 3}, {100, 50, 3}, {5000, 10, 4999},
					  {20000, 4000, 990}, {20000, 4000, 1010}, {20000, 400, 10100}, {300, 290, 280}, {40000, 30000, 20000}};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		double have = moe_hypergeometric_xlogx(row[i][0], row[i][1], row[i][2]), want = hypergeometric(row[i][0], row[i][1], row[i][2]);
		if (!(fabs(have - want) <= 1e-6 + 1e-11 * want))
			fail_msg("%zu: %.12g, expected %.12g", i, have, want);
	}
	assert_true(moe_hypergeometric_xlogx(10, 0, 5) == 0 && moe_hypergeometric_xlogx(0, 0, 0) == 0);
}

/* Six tokens with two of four experts each; three labels, with 3, 2 and 1 of them. All 720 orders of the labels. */
enum { N = 6, E = 4, G = 3 };
static const int expert[N][2] = {{0, 1}, {0, 1}, {0, 2}, {2, 0}, {1, 2}, {2, 1}};
static double sum_score, sum_information;
static int orders;

static void tell(const int *label, struct moe_specialisation *s)
{
	uint64_t count[G * E] = {0}, tokens[G] = {0};
	struct moe_diag d = {0};

	for (int t = 0; t < N; t++) {
		tokens[label[t]]++;
		for (int i = 0; i < 2; i++)
			count[label[t] * E + expert[t][i]]++;
	}
	expect_ok(&d, moe_specialise(s, count, tokens, G, E, &d));
}

static void permute(int *label, int n)
{
	struct moe_specialisation s;

	if (n == N) {
		tell(label, &s);
		sum_score += s.score;
		sum_information += s.information;
		orders++;
		return;
	}
	for (int i = n; i < N; i++) {
		int x = label[n];
		label[n] = label[i];
		label[i] = x;
		permute(label, n + 1);
		label[i] = label[n];
		label[n] = x;
	}
}

static void test_specialisation(void **state)
{
	static const uint64_t even[2 * 4] = {30, 30, 30, 30, 10, 10, 10, 10}, apart[2 * 4] = {60, 60, 0, 0, 0, 0, 20, 20}, tokens[2] = {60, 20};
	int label[N] = {0, 0, 0, 1, 1, 2};
	double h = -0.75 * log(0.75) - 0.25 * log(0.25), information = 0;
	static const uint64_t have[G][E] = {{3, 2, 1, 0}, {1, 1, 2, 0}, {0, 1, 1, 0}};
	struct moe_specialisation s;
	struct moe_diag d = {0};

	(void)state;
	tell(label, &s);
	for (int g = 0; g < G; g++)
		for (int e = 0; e < E; e++)
			if (have[g][e])
				information += (double)have[g][e] / 12 * log((double)have[g][e] * 12 / ((3 - g) * 2.0 * 4));
	expect_near(s.information, information, 1e-14);
	permute(label, 0);
	assert_int_equal(orders, 720);
	expect_near(s.score_chance, sum_score / 720, 1e-12);
	expect_near(s.information_chance, sum_information / 720, 1e-12);
	expect_near(s.share, (s.information - s.information_chance) / s.label_entropy, 1e-14);

	/* Even: no information, and the score of the labels' shares alone. */
	expect_ok(&d, moe_specialise(&s, even, tokens, 2, 4, &d));
	expect_near(s.information, 0, 1e-14);
	expect_near(s.score, 1 - h / log(2), 1e-14);
	expect_near(s.score_even, s.score, 1e-14);
	assert_true(s.score_chance > s.score && s.information_chance > 0);
	/* Apart: all that the label is. */
	expect_ok(&d, moe_specialise(&s, apart, tokens, 2, 4, &d));
	expect_near(s.score, 1, 1e-14);
	expect_near(s.information, h, 1e-14);
	/* One label says nothing, and there is nothing to say. */
	expect_ok(&d, moe_specialise(&s, even, tokens, 1, 4, &d));
	assert_true(isnan(s.score) && isnan(s.share) && s.label_entropy == 0 && fabs(s.information) < 1e-14);
}

static void test_modalities(void **state)
{
	static const uint64_t text[4] = {8, 8, 0, 0}, image[4] = {0, 0, 8, 8};
	struct moe_routing_layer l = {.part = {part_of(text, 4, 1), part_of(image, 4, 1)}};
	struct moe_specialisation of_text, of_all;
	struct moe_diag d = {0};

	(void)state;
	expect_ok(&d, moe_specialise_modality(&of_text, &of_all, &l, 4, &d));
	assert_true(of_text.score == 1 && of_text.score_even == 0);
	expect_near(of_all.information, log(2), 1e-14);
	expect_near(of_all.label_entropy, log(2), 1e-14);
	moe_routing_part_free(l.part[0]);
	moe_routing_part_free(l.part[1]);
}

static void test_pairs(void **state)
{
	static const uint64_t even[16] = {5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5}, load[4] = {20, 20, 20, 20};
	static const uint64_t same_[16] = {20, 0, 0, 0, 0, 20, 0, 0, 0, 0, 20, 0, 0, 0, 0, 20};
	struct moe_pairing p;

	(void)state;
	moe_pair(&p, even, load, load, 80, 4);
	expect_near(p.information, 0, 1e-14);
	assert_true(p.chance > 0 && p.chance < 0.1);
	moe_pair(&p, same_, load, load, 80, 4);
	expect_near(p.information, log(4), 1e-14);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_loads), cmocka_unit_test(test_pools), cmocka_unit_test(test_without), cmocka_unit_test(test_overlap),
		cmocka_unit_test(test_hypergeometric), cmocka_unit_test(test_specialisation), cmocka_unit_test(test_modalities), cmocka_unit_test(test_pairs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
