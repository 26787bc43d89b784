/* Surgery: lists of experts, and sums of matrices with noise. */
#include <math.h>

#include "graft/graft_blend.h"
#include "graft/graft_lists.h"
#include "lib_data.h"

/* ---- lists ---- */

/* The groups of a layer as text: "3|4|0+1". */
static const char *as_text(const struct moe_graft_list *l, char *to)
{
	char *p = to;

	*to = 0;
	for (size_t g = 0; g < l->n; g++)
		for (size_t i = 0; i < l->group[g].n; i++)
			p += sprintf(p, "%s%lld", i ? "+" : g ? "|" : "", (long long)l->number[l->group[g].first + i]);
	return to;
}

static void test_lists(void **state)
{
	static const struct { const char *list[3]; char joint; const char *layer[3]; } rows[] = {
		{{"3"}, 0, {"3", "3", "3"}}, {{"0,4-7"}, 0, {"0|4|5|6|7", "0|4|5|6|7", "0|4|5|6|7"}}, {{"3@1"}, 0, {"", "3", ""}},
		{{"3@1-"}, 0, {"", "3", "3"}},
		{{"1", "2@0-1", "5@1"}, 0, {"2", "5", "1"}}, {{"0+1,2"}, '+', {"0+1|2", "0+1|2", "0+1|2"}}, {{"4+2+0,1+3@2"}, '+', {"", "", "4+2+0|1+3"}},
		{{"3=5,4=7"}, '=', {"3+5|4+7", "3+5|4+7", "3+5|4+7"}}, {{"7,6,5-5"}, 0, {"7|6|5", "7|6|5", "7|6|5"}},
	};
	char text[200];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct moe_arena a = {0};
		struct moe_graft_list *l;
		struct moe_diag d = {0};
		size_t n = 0;
		while (n < 3 && rows[i].list[n])
			n++;
		expect_ok(&d, moe_graft_lists(&l, rows[i].list, n, 3, rows[i].joint, &a, &d));
		for (size_t j = 0; j < 3; j++)
			if (strcmp(as_text(&l[j], text), rows[i].layer[j]))
				fail_msg("%s, layer %zu: \"%s\", expected \"%s\"", rows[i].list[0], j, text, rows[i].layer[j]);
		moe_arena_free(&a);
	}
}

static void test_lists_refused(void **state)
{
	static const struct { const char *list; char joint; } rows[] = {
		{"", 0}, {",", 0}, {"3,", 0}, {"x", 0}, {"3-", 0}, {"5-3", 0}, {"-3", 0}, {"0-65535", 0}, {"99999999999999999999", 0}, {"3@", 0}, {"3@3", 0},
		{"3@1-0", 0},
		{"0+1", 0}, {"0-1", '+'}, {"0+", '+'}, {"3=", '='}, {"3+5", '='}, {"3 4", 0}, {"@1", 0}, {"1@0@1", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct moe_arena a = {0};
		struct moe_graft_list *l;
		struct moe_diag d = {0};
		expect_fail(&d, moe_graft_lists(&l, &rows[i].list, 1, 3, rows[i].joint, &a, &d), MOE_EUSAGE, rows[i].list);
		moe_arena_free(&a);
	}
}

/* ---- sums ---- */

static float matrix[2][6] = {{1, 2, 3, 4, 5, 6}, {-1, 0.5f, 0.25f, 8, -8, 0}};
static const struct moe_mat mats[2] = {
	{matrix[0], MOE_F32, 2, 3, 3, 1, NULL, NULL}, {matrix[1], MOE_F32, 2, 3, 3, 1, NULL, NULL},
};
static const struct moe_mat turned = {matrix[0], MOE_F32, 3, 2, 1, 3, NULL, NULL};

static void expect_row(const struct moe_graft_blend *b, size_t r, const float *want)
{
	float got[3];

	assert_true(moe_graft_blend_row(b, r, got));
	for (size_t i = 0; i < b->cols; i++)
		if (got[i] != want[i])
			fail_msg("row %zu, %zu: %g, expected %g", r, i, (double)got[i], (double)want[i]);
}

static void test_sums(void **state)
{
	struct moe_graft_part terms[] = {{&mats[0], 0, 0, 0.5}, {&mats[1], 0, 0, 2}}, part = {&mats[0], 1, 1, 1}, along = {&turned, 1, 0, 1};
	struct moe_graft_blend sum = {.rows = 2, .cols = 3, .term = terms, .n_terms = 2}, slice = {.rows = 1, .cols = 2, .term = &part, .n_terms = 1};
	struct moe_graft_blend column = {.rows = 2, .cols = 2, .term = &along, .n_terms = 1}, nothing = {.rows = 1, .cols = 3};
	struct moe_mat plain;

	(void)state;
	expect_row(&sum, 0, (const float[]){-1.5f, 2, 2});
	expect_row(&sum, 1, (const float[]){18, -13.5f, 3});
	expect_row(&slice, 0, (const float[]){5, 6});
	expect_row(&column, 0, (const float[]){2, 5});
	expect_row(&column, 1, (const float[]){3, 6});
	expect_row(&nothing, 0, (const float[]){0, 0, 0});
	assert_false(moe_graft_blend_plain(&sum, &plain));
	assert_true(moe_graft_blend_plain(&slice, &plain));
	assert_true(plain.data == &matrix[0][4] && plain.rows == 1 && plain.cols == 2 && plain.stride == 3);
	slice.share = 0.1;
	assert_false(moe_graft_blend_plain(&slice, &plain));
}

/* Normal numbers of the size that was asked for, the same whenever they are asked for, others for another stream. */
static void test_noise(void **state)
{
	enum { N = 4096 };
	static float x[N], got[N], again[N], other[N];
	struct moe_mat mat = {x, MOE_F32, 1, N, N, 1, NULL, NULL};
	struct moe_graft_part term = {&mat, 0, 0, 1};
	struct moe_graft_blend b = {.rows = 1, .cols = N, .term = &term, .n_terms = 1, .share = 0.1, .seed = 5, .stream = 7};
	double sum = 0, square = 0;

	(void)state;
	for (size_t i = 0; i < N; i++)
		x[i] = i % 2 ? 3 : -3;
	assert_true(moe_graft_blend_row(&b, 0, got) && moe_graft_blend_row(&b, 0, again));
	assert_memory_equal(got, again, sizeof got);
	b.stream = 8;
	assert_true(moe_graft_blend_row(&b, 0, other));
	assert_memory_not_equal(got, other, sizeof got);
	for (size_t i = 0; i < N; i++) {
		double e = (double)got[i] - (double)x[i];
		sum += e;
		square += e * e;
	}
	assert_true(fabs(sum / N) < 4 * 0.3 / sqrt(N));
	assert_true(fabs(sqrt(square / N) / 0.3 - 1) < 4 / sqrt(2 * N));
	b.noise_alone = true;
	b.share = 1;
	assert_true(moe_graft_blend_row(&b, 0, got));
	sum = square = 0;
	for (size_t i = 0; i < N; i++) {
		sum += (double)got[i] * (double)x[i];
		square += (double)got[i] * (double)got[i];
	}
	assert_true(fabs(sqrt(square / N) / 3 - 1) < 4 / sqrt(2 * N));
	assert_true(fabs(sum / N / 9) < 4 / sqrt(N));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists), cmocka_unit_test(test_lists_refused), cmocka_unit_test(test_sums), cmocka_unit_test(test_noise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
