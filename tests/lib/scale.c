/* Scaling: published laws are found again from points that they made, intervals cover the truth as often as they say, savings and differences of curves made by
 * hand are those that arithmetic gives, and what cannot be fitted is refused. */
#include <math.h>

#include "base/mem.h"
#include "base/rng.h"
#include "lib_data.h"
#include "report/chart.h"
#include "scale/law_runs.h"
#include "scale/paired.h"
#include "scale/savings.h"
#include "stats/bootstrap.h"
#include "stats/student.h"

enum { MOST = 200 };

static void expect_near(double have, double want, double within)
{
	if (!(fabs(have - want) <= within))
		fail_msg("%.12g, expected %.12g within %g", have, want, within);
}

/* Mixtures of experts with early fusion, mean loss (Shukor et al. 2025, table 12), Chinchilla, and a dense native model (table 2) with A and B of the size that
 * its frontier has. */
static const struct moe_law laws[] = {
	{MOE_LAW_DENSE, {2.158, 381773, 0.710, 4659, 0.372}},
	{MOE_LAW_DENSE, {1.693, 406.4, 0.339, 410.7, 0.285}},
	{MOE_LAW_DENSE, {1.904, 270, 0.301, 1850, 0.335}},
};

static double normal(uint64_t seed, uint64_t i) { return sqrt(-2 * log(1 - moe_random_unit(seed, 1, i))) * cos(2 * M_PI * moe_random_unit(seed, 2, i)); }

/* The paper's six sizes, each with twelve numbers of tokens from 2.5 to 600 G. */
static size_t make_points(struct moe_law_point *p, const struct moe_law *l, double noise, uint64_t seed)
{
	static const double sizes[] = {275e6, 464e6, 932e6, 1.63e9, 2.28e9, 3.35e9};
	size_t n = 0;

	for (size_t i = 0; i < 6; i++)
		for (size_t j = 0; j < 12; j++, n++) {
			p[n] = (struct moe_law_point){.at = {sizes[i], 2.5e9 * pow(240, (double)j / 11), 0}, .run = n};
			p[n].loss = moe_law_loss(l, p[n].at) * exp(noise * normal(seed, n));
		}
	return n;
}

static void test_law_exact(void **state)
{
	struct moe_law_point p[MOST];
	struct moe_law_fit f;
	struct moe_diag d = {0};

	(void)state;
	for (size_t l = 0; l < sizeof laws / sizeof *laws; l++) {
		size_t n = make_points(p, &laws[l], 0, 0);
		expect_ok(&d, moe_law_fit(&f, p, n, &(struct moe_law_fit_options){0}, &d));
		for (size_t i = 0; i < MOE_LAW_C; i++)
			expect_near(f.law.value[i] / laws[l].value[i], 1, 1e-3);
		assert_true(f.runs == n && f.n_sizes == 6 && f.n_tokens == 12 && f.r2 > 1 - 1e-12 && f.mean_error < 1e-9 && !f.draws);
		moe_law_fit_free(&f);
	}
}

static void test_law_sparse(void **state)
{
	static const struct moe_law truth = {MOE_LAW_SPARSE, {1.5, 60, 0.35, 1200, 0.38, 0.05, 0.3, 900, 0.2, 0.55}};
	static const double n[] = {2e6, 8e6, 3e7, 1e8}, tokens[] = {1e8, 4e8, 2e9, 1e10, 4e10}, s[] = {0, 0.5, 0.75, 0.875, 0.96875};
	struct moe_law_point p[MOST];
	struct moe_law_fit f;
	struct moe_law_at best;
	struct moe_diag d = {0};

	(void)state;
	for (size_t i = 0; i < 100; i++) {
		p[i] = (struct moe_law_point){.at = {n[i % 4], tokens[i / 4 % 5], s[i / 20]}, .run = i};
		p[i].loss = moe_law_loss(&truth, p[i].at);
	}
	expect_ok(&d, moe_law_fit(&f, p, 100, &(struct moe_law_fit_options){.kind = MOE_LAW_SPARSE}, &d));
	for (size_t i = 0; i < MOE_LAW_MOST; i++)
		expect_near(f.law.value[i] / truth.value[i], 1, 1e-3);
	best = moe_law_optimum(&f.law, 1e18, 6, 0.75);
	expect_near(6 * best.n * best.d, 1e18, 1e9);
	for (double by = 0.99; by < 1.02; by += 0.02)
		assert_true(moe_law_loss(&f.law, best) < moe_law_loss(&f.law, (struct moe_law_at){best.n * by, best.d / by, 0.75}));
	moe_law_fit_free(&f);
	expect_fail(&d, moe_law_fit(&f, p, 20, &(struct moe_law_fit_options){.kind = MOE_LAW_SPARSE}, &d), MOE_EUSAGE,
		    "1 sparsity (S): the law needs 3 or more");
}

static double parameter(const struct moe_law *l, const void *number) { return l->value[*(const size_t *)number]; }

static double exponent_a(const struct moe_law *l, const void *unused)
{
	(void)unused;
	return l->value[MOE_LAW_BETA] / (l->value[MOE_LAW_ALPHA] + l->value[MOE_LAW_BETA]);
}

/* A fit to the noise of one seed: is the truth within the intervals? */
static void count_cover(unsigned *covered, const struct moe_law_fit *f, const struct moe_law *truth)
{
	static const size_t parameters[] = {MOE_LAW_E, MOE_LAW_ALPHA, MOE_LAW_BETA};
	struct moe_law_estimate e;
	struct moe_diag d = {0};

	for (size_t i = 0; i < 4; i++) {
		double true_value = i < 3 ? truth->value[parameters[i]] : exponent_a(truth, NULL);
		expect_ok(&d, moe_law_estimate(&e, f, i < 3 ? parameter : exponent_a, i < 3 ? &parameters[i] : NULL, &d));
		assert_true(e.low <= e.value && e.value <= e.high);
		covered[i] += e.low <= true_value && true_value <= e.high;
	}
}

static void test_law_noise(void **state)
{
	unsigned covered[4] = {0}, seeds = SLOW ? 2 : 20;
	struct moe_law_point p[MOST];
	struct moe_diag d = {0};
	struct moe_pool *pool = moe_pool_new(2);

	(void)state;
	for (unsigned s = 0; s < seeds; s++) {
		size_t n = make_points(p, &laws[0], 0.002, 1000 + s);
		struct moe_law_fit f;
		expect_ok(&d, moe_law_fit(&f, p, n, &(struct moe_law_fit_options){.resamples = SLOW ? 20 : 200, .seed = s, .pool = pool}, &d));
		expect_near(f.law.value[MOE_LAW_ALPHA], 0.710, 0.06);
		expect_near(f.law.value[MOE_LAW_BETA], 0.372, 0.01);
		expect_near(exponent_a(&f.law, NULL), 0.372 / (0.710 + 0.372), 0.02);
		count_cover(covered, &f, &laws[0]);
		moe_law_fit_free(&f);
	}
	moe_pool_free(pool);
	for (size_t i = 0; i < 4 && !SLOW; i++)
		if (covered[i] < 17)
			fail_msg("number %zu: %u of %u intervals cover the truth, expected 17 or more", i, covered[i], seeds);
}

/* Draws are the same with any number of threads; those of another seed are not. */
static void test_law_threads(void **state)
{
	struct moe_law_point p[MOST];
	struct moe_law_fit f[4];
	struct moe_diag d = {0};
	size_t n = make_points(p, &laws[2], 0.01, 5);

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct moe_pool *pool = moe_pool_new(i < 3 ? 1 + 2 * (unsigned)i : 1);
		expect_ok(&d, moe_law_fit(&f[i], p, n, &(struct moe_law_fit_options){.resamples = 40, .seed = i == 3, .pool = pool}, &d));
		moe_pool_free(pool);
	}
	for (size_t i = 1; i < 3; i++)
		assert_memory_equal(f[i].draw, f[0].draw, 40 * sizeof *f[0].draw);
	assert_memory_not_equal(f[3].draw, f[0].draw, 40 * sizeof *f[0].draw);
	for (size_t i = 0; i < 4; i++)
		moe_law_fit_free(&f[i]);
}

/* Points of one run are drawn together: told twice, they make no interval narrower. */
static void test_law_runs(void **state)
{
	struct moe_law_point p[2 * MOST];
	struct moe_law_estimate once, twice, apart;
	struct moe_law_fit f;
	struct moe_diag d = {0};
	size_t n = make_points(p, &laws[0], 0.002, 3), beta = MOE_LAW_BETA;
	const struct moe_law_fit_options o = {.resamples = SLOW ? 20 : 200};

	(void)state;
	memcpy(p + n, p, n * sizeof *p);
	expect_ok(&d, moe_law_fit(&f, p, n, &o, &d));
	expect_ok(&d, moe_law_estimate(&once, &f, parameter, &beta, &d));
	moe_law_fit_free(&f);
	expect_ok(&d, moe_law_fit(&f, p, 2 * n, &o, &d));
	assert_true(f.runs == n && f.points == 2 * n);
	expect_ok(&d, moe_law_estimate(&twice, &f, parameter, &beta, &d));
	moe_law_fit_free(&f);
	for (size_t i = 0; i < 2 * n; i++)
		p[i].run = i;
	expect_ok(&d, moe_law_fit(&f, p, 2 * n, &o, &d));
	expect_ok(&d, moe_law_estimate(&apart, &f, parameter, &beta, &d));
	moe_law_fit_free(&f);
	expect_near(twice.low, once.low, 1e-5);
	expect_near(twice.high, once.high, 1e-5);
	if (!SLOW)
		assert_true(apart.high - apart.low < 0.85 * (once.high - once.low));
}

static void test_law_refuses(void **state)
{
	struct moe_law_point p[MOST];
	struct moe_law_fit f;
	struct moe_diag d = {0};
	const struct moe_law_fit_options o = {0};
	size_t n = make_points(p, &laws[0], 0, 0);

	(void)state;
	expect_fail(&d, moe_law_fit(&f, p, 0, &o, &d), MOE_EUSAGE, "0 runs: the law has 5 parameters, and needs 6 runs or more");
	moe_diag_clear(&d);
	expect_fail(&d, moe_law_fit(&f, p, 5, &o, &d), MOE_EUSAGE, "5 runs: the law has 5 parameters");
	moe_diag_clear(&d);
	expect_fail(&d, moe_law_fit(&f, p, 12, &o, &d), MOE_EUSAGE, "1 size (N): the law needs 3 or more");
	moe_diag_clear(&d);
	expect_fail(&d, moe_law_fit(&f, p, 24, &o, &d), MOE_EUSAGE, "2 different sizes (N): the law needs 3 or more");
	moe_diag_clear(&d);
	for (size_t i = 0; i < n; i++)
		p[i].at.d = 20 * p[i].at.n;
	expect_fail(&d, moe_law_fit(&f, p, n, &o, &d), MOE_EUSAGE, "the tokens of each run follow from its size");
	moe_diag_clear(&d);
	for (size_t i = 0; i < n; i++)
		p[i].run = i / 24;
	expect_fail(&d, moe_law_fit(&f, p, n, &o, &d), MOE_EUSAGE, "3 runs: the law has 5 parameters");
}

/* The best sizes: a derivative of 0, closed form against search, and growth. */
static void test_optimum(void **state)
{
	struct moe_law sparse = {MOE_LAW_SPARSE, {1.904, 270, 0.301, 1850, 0.335, 0, 1, 0, 1, 1}};
	struct moe_law_at a = moe_law_optimum(&laws[2], 1e21, 6, 0), b = moe_law_optimum(&sparse, 1e21, 6, 0);
	struct moe_law_growth g = moe_law_grow(&laws[2], 1e18, 1e22, 6, 0), h = moe_law_grow(&sparse, 1e18, 1e22, 6, 0);

	(void)state;
	expect_near(a.n / b.n, 1, 1e-9);
	expect_near(6 * a.n * a.d / 1e21, 1, 1e-12);
	expect_near(0.301 * 270 * pow(a.n, -0.301), 0.335 * 1850 * pow(a.d, -0.335), 1e-12);
	expect_near(g.a, 0.335 / 0.636, 1e-12);
	expect_near(g.a, h.a, 1e-9);
	expect_near(g.b, h.b, 1e-9);
	/* The frontier that the paper draws for its mixtures of experts is at 2.970 there. */
	expect_near(moe_law_loss(&laws[0], moe_law_optimum(&laws[0], 1e20, 6, 0)), 2.977, 1e-3);
	g = moe_law_grow(&laws[2], 0.9e20, 1.1e20, 6, 0);
	expect_near(g.k * pow(1e20, g.c), moe_law_loss(&laws[2], moe_law_optimum(&laws[2], 1e20, 6, 0)), 1e-4);
	assert_true(isnan(moe_law_optimum(&(struct moe_law){MOE_LAW_DENSE, {1, 1, -0.1, 1, 0.2}}, 1e18, 6, 0).n));
}

/* The middle 95 % of 200 numbers leaves out 5 on either side; what is not known takes their places first. */
static void test_interval(void **state)
{
	double value[200], low, high;

	(void)state;
	for (size_t i = 0; i < 200; i++)
		value[i] = (double)((i * 77) % 200);
	moe_bootstrap_interval(value, 200, 0, &low, &high);
	assert_true(low == 5 && high == 194);
	moe_bootstrap_interval(value, 197, 3, &low, &high);
	assert_true(low == 2 && high == 194);
	moe_bootstrap_interval(value, 194, 6, &low, &high);
	assert_true(isnan(low) && isnan(high));
	moe_bootstrap_interval(value, 0, 0, &low, &high);
	assert_true(isnan(low) && isnan(high));
}

static void test_student(void **state)
{
	static const struct { size_t freedom; double t; } table[] = {
		{1, 12.7062}, {2, 4.30265}, {3, 3.18245}, {4, 2.77645}, {9, 2.26216}, {10, 2.22814}, {120, 1.97993},
	};
	static const double value[] = {1, 2, 4, 5};
	struct moe_student s = moe_student_of(value, 4);

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		expect_near(moe_student_quantile(0.95, table[i].freedom), table[i].t, 1e-4);
	expect_near(moe_student_within(1, 1), 0.5, 1e-15);
	expect_near(s.mean, 3, 0);
	expect_near(s.deviation, sqrt(10.0 / 3), 1e-15);
	expect_near(s.high - s.mean, 3.18245 * sqrt(10.0 / 3) / 2, 1e-4);
	expect_near(s.mean - s.low, s.high - s.mean, 1e-15);
	s = moe_student_of(value, 1);
	assert_true(s.mean == 1 && isnan(s.deviation) && isnan(s.low) && isnan(s.high));
	assert_true(isnan(moe_student_of(value, 0).mean));
}

/* ---- curves ---- */

static enum moe_err parse(struct moe_runs *r, const char *text, bool unsized, struct moe_diag *d)
{
	char *copy = strdup(text);
	enum moe_err err;

	assert_non_null(copy);
	err = moe_runs_parse(r, copy, strlen(copy), "a/table", NULL, &(struct moe_runs_options){.unsized = unsized}, d);
	free(copy);
	return err;
}

/* Runs from a table's text. */
static struct moe_runs runs_of(const char *text)
{
	struct moe_runs r = {0};
	struct moe_diag d = {0};

	expect_ok(&d, parse(&r, text, true, &d));
	return r;
}

static struct moe_saving saving_of(const char *text, size_t resamples)
{
	struct moe_runs r = runs_of(text);
	size_t measure = moe_runs_find(&r, "loss");
	struct moe_savings s;
	struct moe_saving first;
	struct moe_diag d = {0};

	expect_ok(&d, moe_savings_make(&s, &r, &(struct moe_savings_options){.measure = &measure, .n_measures = 1, .resamples = resamples,
									     .cost = MOE_COST_TOKENS}, &d));
	first = s.saving[0];
	moe_savings_free(&s);
	moe_runs_free(&r);
	return first;
}

#define HEAD "arm\tseed\tD\tloss\n"
#define DENSE "dense\t1\t10\t4\ndense\t1\t100\t3\ndense\t1\t1000\t2\n"

/* log10 of the cost is linear in the loss between measurements, so that crossings can be had by hand. */
static void test_eta(void **state)
{
	struct moe_saving s = saving_of(HEAD DENSE "a\t1\t10\t3.5\na\t1\t100\t2.5\na\t1\t1000\t1.5\n", 0);

	(void)state;
	expect_near(s.eta.value, 1000 / pow(10, 2.5), 1e-9);            /* 2 lies half way between 2.5 and 1.5 */
	assert_true(s.eta.reached && s.eta.bound == MOE_ETA_IS && s.seeds == 1 && s.pairs == 1 && s.loss == 1.5 && s.baseline_loss == 2 && isnan(s.low) &&
		    isnan(s.t_low));
	s = saving_of(HEAD DENSE "a\t1\t10\t4.5\na\t1\t100\t3.5\na\t1\t1000\t2.5\n", 0);
	expect_near(s.eta.value, pow(10, 2.5) / 1000, 1e-9);            /* never at 2; the baseline had 2.5 half way */
	assert_true(!s.eta.reached && s.eta.bound == MOE_ETA_IS);
	s = saving_of(HEAD DENSE "a\t1\t20\t1.5\na\t1\t1000\t1\n", 0);
	expect_near(s.eta.value, 50, 1e-9);                             /* at its first measurement already */
	assert_true(s.eta.reached && s.eta.bound == MOE_ETA_ABOVE);
	s = saving_of(HEAD DENSE "a\t1\t10\t6\na\t1\t1000\t5\n", 0);
	expect_near(s.eta.value, 0.01, 1e-12);                          /* the baseline was better at its first one */
	assert_true(!s.eta.reached && s.eta.bound == MOE_ETA_BELOW);
	/* The first crossing counts, and the order of the lines does not. */
	s = saving_of(HEAD DENSE "a\t1\t1000\t1.9\na\t1\t100\t2\na\t1\t300\t2.2\na\t1\t10\t3\n", 0);
	expect_near(s.eta.value, 10, 1e-9);
}

/* Seeds: pairs are drawn together, so that what they have in common widens no interval. */
static void test_eta_seeds(void **state)
{
	static const double shift[] = {0.3, -0.2, 0.1, -0.4, 0.2};
	char text[4000] = HEAD;
	size_t n = strlen(text);
	struct moe_saving s;

	(void)state;
	for (int seed = 0; seed < 5; seed++)
		for (int i = 1; i <= 3; i++)
			n += (size_t)snprintf(text + n, sizeof text - n, "dense\t%d\t%g\t%g\na\t%d\t%g\t%g\n", seed, pow(10, i), 5 - i + shift[seed], seed,
					      pow(10, i), 4.5 - i + shift[seed]);
	s = saving_of(text, 500);
	assert_true(s.seeds == 5 && s.baseline_seeds == 5 && s.pairs == 5);
	expect_near(s.eta.value, sqrt(10), 1e-9);
	expect_near(s.low, sqrt(10), 1e-9);
	expect_near(s.high, sqrt(10), 1e-9);
	expect_near(s.t_low, sqrt(10), 1e-9);
	/* Without pairs the same curves leave much open. */
	n = strlen(HEAD);
	for (int seed = 0; seed < 5; seed++)
		for (int i = 1; i <= 3; i++)
			n += (size_t)snprintf(text + n, sizeof text - n, "dense\t%d\t%g\t%g\na\t%d\t%g\t%g\n", seed, pow(10, i), 5 - i + shift[seed], seed + 9,
					      pow(10, i), 4.5 - i + shift[seed]);
	s = saving_of(text, 500);
	assert_true(s.pairs == 0 && s.low < 2.6 && s.high > 3.8 && isnan(s.t_low));
	expect_near(s.eta.value, sqrt(10), 1e-9);
}

static void test_paired(void **state)
{
	struct moe_runs r = runs_of(HEAD "dense\t1\t10\t9\ndense\t1\t100\t2\ndense\t2\t100\t3\ndense\t3\t100\t4\na\t1\t100\t1\na\t2\t100\t2.5\na\t3\t100\t2.5\na\t4\t100\t7\n");
	size_t measure = moe_runs_find(&r, "loss");
	struct moe_paired *p;
	struct moe_diag d = {0};

	(void)state;
	expect_ok(&d, moe_paired_make(&p, &r, 0, &measure, 1, &d));
	assert_true(p->difference.n == 3 && p->alone == 1 && p->arm == 1);
	expect_near(p->difference.mean, -1, 1e-15);             /* -1, -0.5, -1.5 */
	expect_near(p->difference.deviation, 0.5, 1e-15);
	expect_near(p->difference.high, -1 + 4.30265 * 0.5 / sqrt(3), 1e-5);
	expect_near(p->baseline, 3, 1e-15);
	expect_near(p->mean, 2, 1e-15);
	free(p);
	moe_runs_free(&r);
}

/* ---- tables ---- */

static void refuse_table(const char *text, const char *part)
{
	struct moe_runs r = {0};
	struct moe_diag d = {0};
	char said[300];

	snprintf(said, sizeof said, "a/table: %s", part);
	expect_fail(&d, parse(&r, text, false, &d), MOE_EINPUT, said);
	moe_runs_free(&r);
}

static void test_tables(void **state)
{
	struct moe_runs r = runs_of("# made by hand\n\n#note\tN\tD\tS\tloss\trun\tflops_per_token\r\nx\t2\t10\t0.5\t\tr\t\n# skipped\ny\t4\t20\t\t3\tr\t30\nz\t4\t20\t\t2\t\t\n");

	(void)state;
	assert_true(r.n == 3 && r.n_measures == 1 && !r.counted && r.at[0].s == 0.5 && r.at[1].s == 0 && isnan(moe_run_measure(&r.at[0], 0)) &&
		    moe_run_measure(&r.at[1], 0) == 3);
	assert_true(r.at[0].run == r.at[1].run && r.at[2].run != r.at[0].run && r.at[0].flops == 120 && r.at[1].flops == 600 && r.at[1].line == 6);
	moe_runs_free(&r);
	refuse_table("", "it is empty");
	refuse_table("N\tD\tloss\n", "a header and no runs");
	refuse_table("N\tloss\n1\t2\n", "line 1: the header has no column D");
	refuse_table("D\tloss\n1\t2\n", "line 1: the header has no column N");
	refuse_table("N\tD\tD\n1\t2\t3\n", "line 1: two columns are called \"D\"");
	refuse_table("N\tD\t\n1\t2\t3\n", "line 1: column 3 has no name");
	refuse_table("N\tD\tloss\n1\t2\n", "line 2: 2 fields, expected the header's 3");
	refuse_table("N\tD\tloss\n1\t2\t3\t4\n", "line 2: 4 fields, expected the header's 3");
	refuse_table("N\tD\tloss\n1\t2\t3\n0\t2\t3\n", "line 3: column N: expected a number above 0, got 0");
	refuse_table("N\tD\tloss\n1\t2\t3\n1e31\t2\t3\n", "line 3: column N: expected at most 1e30, got 1e31");
	refuse_table("N\tD\tloss\n1\t2e\t3\n", "line 2: column D: expected a number, got \"2e\"");
	refuse_table("N\tD\tloss\n1\tinf\t3\n", "line 2: column D: expected a number");
	refuse_table("N\tD\tloss\n1\t2\tnan\n", "line 2: column loss: expected a number");
	refuse_table("N\tD\tS\tloss\n1\t2\t1\t3\n", "line 2: column S: expected a share");
	refuse_table("N\tD\tseed\n1\t2\t1.5\n", "line 2: column seed: expected a whole number");
	refuse_table("N\tD\tloss\n1\t\t3\n", "line 2: no D");
	refuse_table("N\tD\tloss\tlog\n1\t5\t3\tx\n", "line 2: D, flops and seconds of a log stand in the log");
}

/* ---- pictures ---- */

static void test_chart(void **state)
{
	static const double x[] = {1e9, 1e12, 1e16}, y[] = {2, 2.5, 3};
	struct moe_chart c = {.title = "a < b", .x_label = "FLOPs", .y_label = "loss", .log_x = true, .log_y = true, .n_series = 3};
	char *text;
	size_t n;
	FILE *f = open_memstream(&text, &n);
	struct moe_diag d = {0};

	(void)state;
	c.series[0] = (struct moe_series){.name = "first", .x = x, .y = y, .n = 3};
	c.series[1] = (struct moe_series){.x = x, .y = y, .n = 3, .points = true, .colour = 1};
	c.series[2] = (struct moe_series){.name = "level", .x = x, .y = y, .n = 3, .dashed = true, .colour = 2};
	expect_ok(&d, moe_chart_print(f, &c, &d));
	fclose(f);
	assert_non_null(strstr(text, "<title>a &lt; b</title>"));
	assert_non_null(strstr(text, ">first</text>"));
	assert_non_null(strstr(text, "stroke-dasharray"));
	assert_non_null(strstr(text, ">2.4</text>"));           /* less than half a decade has even ticks */
	assert_non_null(strstr(text, ">1e+15</text>"));
	assert_null(strstr(text, "nan"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_law_exact), cmocka_unit_test(test_law_sparse), cmocka_unit_test(test_law_noise), cmocka_unit_test(test_law_threads),
		cmocka_unit_test(test_law_runs), cmocka_unit_test(test_law_refuses), cmocka_unit_test(test_optimum), cmocka_unit_test(test_interval), cmocka_unit_test(test_student), cmocka_unit_test(test_eta),
		cmocka_unit_test(test_eta_seeds), cmocka_unit_test(test_paired), cmocka_unit_test(test_tables), cmocka_unit_test(test_chart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
