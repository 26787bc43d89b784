/* Ablations: changes and their intervals against values worked out by hand; journals and what interruptions leave of them. */
#include "lib_data.h"

#include <math.h>
#include <sys/stat.h>

#include "ablate/effect.h"
#include "io/journal.h"
#include "stats/bootstrap.h"

#define near(a, b, within) do { if (!(fabs((a) - (b)) <= (within))) fail_msg("%s is %.9g, expected %.9g", #a, (double)(a), (double)(b)); } while (0)

/* ---- intervals ---- */

static void test_bootstrap(void **state)
{
	enum { N = 400 };
	double part[N], whole[N], low, high, half;
	struct moe_diag d = {0};

	(void)state;
	for (int i = 0; i < N; i++) {
		part[i] = i % 4 == 0;
		whole[i] = 2;
	}
	half = 1.96 * sqrt(0.25 * 0.75 / N) / 2;        /* of the mean of 0 and 1, over 2 */
	expect_ok(&d, moe_bootstrap_ratio(part, whole, N, &low, &high, &d));
	near(low, 0.125 - half, 0.15 * half);
	near(high, 0.125 + half, 0.15 * half);
	expect_ok(&d, moe_bootstrap_ratio(part, whole, 1, &low, &high, &d));
	assert_true(low == 0.5 && high == 0.5);         /* there is but one sample to draw */
	expect_ok(&d, moe_bootstrap_ratio(part, whole, 0, &low, &high, &d));
	assert_true(low == 0 && high == 0);
	/* Things with a large whole weigh more: of two, (1, 1) and (0, 3), the ratio is 1, 1/4 or 0. */
	part[1] = 0;
	whole[0] = 1;
	whole[1] = 3;
	expect_ok(&d, moe_bootstrap_ratio(part, whole, 2, &low, &high, &d));
	assert_true(low == 0 && high == 1);
}

/* ---- effects ---- */

/* Three samples with 2, 1 and 1 questions, the last of which could not be asked; one layer, two experts. */
static uint8_t chose[3][2] = {{1, 3}, {2, 0}, {0, 2}};
static struct moe_asked first[2] = {{.n_answer = 2, .own = {true, true, -1, 1}, .chose = chose[0]},
				    {.n_answer = 3, .own = {true, false, -4, 1}, .chose = chose[1]}},
	second = {.n_answer = 5, .own = {true, true, -2, 1}, .chose = chose[2]}, third = {.n_answer = 9};
static struct moe_asked_sample sample[3] = {{.asked = first, .n = 2}, {.asked = &second, .n = 1}, {.asked = &third, .n = 1}},
	*pointers[3] = {&sample[0], &sample[1], &sample[2]};

static void test_effects(void **state)
{
	struct moe_evaluation e = {.sample = pointers, .n_samples = 3};
	struct moe_ablate_case list[3] = {{0, 0, MOE_ABLATE_REROUTE, MOE_ABLATE_TEXT}, {0, 0, MOE_ABLATE_REROUTE, MOE_ABLATE_ALL},
					  {0, 1, MOE_ABLATE_REROUTE, MOE_ABLATE_IMAGE}};
	struct moe_ablate_sum sum[9] = {{5, 1, 0}, {2, 1, 0}, {0, 0, 0}, {7, 2, 1}, {1, 0, 1}, {0, 0, 0}, {5, 1, 2}, {2, 1, 1}, {0, 0, 0}};
	struct moe_ablation a = {.e = &e, .experts = 2, .list = list, .n = 3, .sum = sum};
	struct moe_effects f;
	struct moe_diag d = {0};

	(void)state;
	expect_ok(&d, moe_effects_make(&f, &a, NULL, &d));
	assert_true(f.samples == 2 && f.questions == 3 && f.tokens == 10 && f.right == 2);
	near(f.loss, 0.7, 1e-12);
	assert_true(f.effect[0].touched == 1 && f.effect[1].touched == 2 && f.effect[2].touched == 2);
	assert_true(f.effect[0].loss.by == 0 && f.effect[0].loss.low == 0 && f.effect[0].loss.high == 0 && f.effect[0].changed == 0);
	near(f.effect[1].loss.by, (2.0 - 1.0) / 10, 1e-12);
	near(f.effect[1].loss.low, -1.0 / 5, 1e-12);    /* twice the second */
	near(f.effect[1].loss.high, 2.0 / 5, 1e-12);    /* twice the first */
	near(f.effect[1].right.by, (1.0 - 1.0) / 3, 1e-12);
	near(f.effect[1].right.low, -1, 1e-12);
	near(f.effect[1].right.high, 0.5, 1e-12);
	assert_true(f.effect[1].changed == 2 && f.effect[2].changed == 3);
	moe_effects_free(&f);
	first[0].own.done = first[1].own.done = second.own.done = false;
	expect_fail(&d, moe_effects_make(&f, &a, NULL, &d), MOE_EINPUT, "no question");
	moe_effects_free(&f);
}

/* ---- journals ---- */

static char path[64];

static struct moe_journal *open_journal(const char *head, const char *want)
{
	struct moe_journal *j;
	struct moe_diag d = {0};
	const char *line;
	size_t number, at = 1;
	char got[200] = "";

	expect_ok(&d, moe_journal_open(&j, path, head, false, &d));
	while ((line = moe_journal_next(j, &number))) {
		assert_int_equal(number, ++at);
		strcat(strcat(got, line), "|");
	}
	assert_string_equal(got, want);
	return j;
}

static void test_journal(void **state)
{
	struct moe_journal *j, *other;
	struct moe_diag d = {0};
	struct stat st;
	uint8_t *bytes;
	size_t n;

	(void)state;
	snprintf(path, sizeof path, "/tmp/moe-journal-%ld", (long)getpid());
	unlink(path);
	j = open_journal("work 1", "");
	expect_fail(&d, moe_journal_open(&other, path, "work 1", false, &d), MOE_EIO, "another process");
	expect_ok(&d, moe_journal_add(j, "one\ntwo\n", 8, NULL));
	expect_ok(&d, moe_journal_add(j, "three\n", 6, NULL));
	moe_journal_close(j, false);
	moe_journal_close(open_journal("work 1", "one|two|three|"), false);
	d = (struct moe_diag){0};
	expect_fail(&d, moe_journal_open(&j, path, "work 2", false, &d), MOE_EMATCH, "first line is work 1, expected work 2");
	d = (struct moe_diag){0};
	expect_fail(&d, moe_journal_open(&j, path, "work", false, &d), MOE_EMATCH, "other work");
	/* Cut at every byte: complete lines count, and what is added follows them. */
	bytes = read_bytes(path, &n);
	assert_int_equal(n, 7 + 14);
	for (size_t cut = 0; cut <= n; cut++) {
		const char *left = cut < 11 ? "" : cut < 15 ? "one|" : cut < 21 ? "one|two|" : "one|two|three|";
		char more[40];
		write_bytes(path, bytes, cut);
		j = open_journal("work 1", left);
		expect_ok(&d, moe_journal_add(j, "x\n", 2, NULL));
		moe_journal_close(j, false);
		snprintf(more, sizeof more, "%sx|", left);
		moe_journal_close(open_journal("work 1", more), false);
	}
	free(bytes);
	write_bytes(path, "wor\0 1\none\n", 11);
	d = (struct moe_diag){0};
	expect_fail(&d, moe_journal_open(&j, path, "work 1", false, &d), MOE_EMATCH, "not a journal");
	write_bytes(path, "something else", 14);
	d = (struct moe_diag){0};
	expect_fail(&d, moe_journal_open(&j, path, "work 1", false, &d), MOE_EMATCH, "not a journal");
	bytes = read_bytes(path, &n);
	assert_int_equal(n, 14);                        /* what is not ours stays, */
	free(bytes);
	d = (struct moe_diag){0};
	expect_ok(&d, moe_journal_open(&j, path, "work 1", true, &d));  /* unless it is to go */
	assert_null(moe_journal_next(j, &n));
	expect_ok(&d, moe_journal_add(j, "one\n", 4, NULL));
	moe_journal_close(j, false);
	moe_journal_close(open_journal("work 1", "one|"), false);
	unlink(path);
	moe_journal_close(open_journal("work 1", ""), true);
	assert_int_not_equal(stat(path, &st), 0);
	d = (struct moe_diag){0};
	expect_fail(&d, moe_journal_open(&j, "/tmp", "work 1", false, &d), MOE_EIO, "/tmp: ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_bootstrap), cmocka_unit_test(test_effects), cmocka_unit_test(test_journal)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
