/* Groups of tokens, and the lists of the tokens that experts weigh most: names, counts, words drawn at random, heaps against sorting. */
#include <math.h>

#include "base/rng.h"
#include "lib_data.h"
#include "stats/groups.h"
#include "stats/top.h"

static void test_names(void **state)
{
	struct moe_group_names g = {0};
	struct moe_diag d = {0};
	uint32_t index, seven;
	char text[32];

	(void)state;
	expect_ok(&d, moe_group_number(&g, -7, &seven, &d));
	for (int64_t i = 0; i < 3000; i++) {
		expect_ok(&d, moe_group_number(&g, i * i, &index, &d));
		snprintf(text, sizeof text, "%lld", (long long)(i * i));
		expect_ok(&d, moe_group_text(&g, text, strlen(text), &index, &d));
	}
	assert_int_equal(g.n, 6001);
	for (int64_t i = 0; i < 3000; i++) {
		expect_ok(&d, moe_group_number(&g, i * i, &index, &d));
		assert_true(!g.list[index].text && g.list[index].number == i * i);
		snprintf(text, sizeof text, "%lld", (long long)(i * i));
		index = moe_group_find(&g, text, strlen(text));
		assert_true(index != MOE_NO_GROUP && !strcmp(g.list[index].text, text));
	}
	assert_int_equal(g.n, 6001);
	assert_int_equal(moe_group_find(&g, "nobody", 6), MOE_NO_GROUP);
	assert_true(seven == 0 && g.list[0].number == -7);
	moe_group_names_free(&g);
	assert_int_equal(moe_group_find(&g, "-7", 2), MOE_NO_GROUP);
}

/* 64 groups whose sizes are given: `tokens` each, half of which have expert 0 first and half expert 1; or all one of them. */
static void measure(struct moe_vocabulary *v, uint64_t tokens, bool mixed)
{
	enum { GROUPS = 64 };
	uint64_t n[GROUPS];
	uint32_t first[GROUPS * 2];
	struct moe_group_layer l = {.tokens = n, .first = first, .groups = GROUPS};
	struct moe_diag d = {0};

	for (size_t g = 0; g < GROUPS; g++) {
		n[g] = tokens;
		first[2 * g] = (uint32_t)(mixed ? tokens / 2 : g % 2 * tokens);
		first[2 * g + 1] = (uint32_t)(tokens - first[2 * g]);
	}
	expect_ok(&d, moe_vocabulary(v, &l, 2, 1, 200, &d));
}

static void test_vocabulary(void **state)
{
	struct moe_vocabulary v;

	(void)state;
	measure(&v, 1, false);
	assert_true(v.groups == 64 && v.value == 1 && v.chance == 1);
	measure(&v, 2, false);
	assert_true(v.value == 1 && fabs(v.chance - 0.75) < 0.04);
	measure(&v, 1000, true);        /* E|Binomial(1000, 1/2) - 500| = 12.6 */
	assert_true(v.value == 0.5 && fabs(v.chance - 0.5126) < 0.002);
	measure(&v, 100000, true);      /* behind the largest that is drawn: 126 of 100000 */
	assert_true(v.value == 0.5 && fabs(v.chance - 0.50126) < 0.0003);
}

/* 3000 tokens with weights of few values: the heap keeps those that sorting keeps, and of equal ones the first. */
static void test_top(void **state)
{
	enum { N = 3000, MOST = 7, E = 3, BLOCK = 100 };
	static size_t layer[1] = {4};
	static float weight[N];
	static uint16_t expert[N];
	static int32_t token[N], none[N];
	static uint8_t modality[N];
	struct moe_trace_info info = {.layer = layer, .n_layers = 1, .experts = E, .k = 1};
	struct moe_top top = {.most = MOST, .last = SIZE_MAX};
	struct moe_diag d = {0};

	(void)state;
	for (size_t i = 0; i < N; i++) {
		weight[i] = (float)(moe_random_u64(1, 0, i) % 50);
		expert[i] = (uint16_t)(moe_random_u64(1, 1, i) % E);
		token[i] = (int32_t)i;
		none[i] = -1;
	}
	for (size_t i = 0; i < N; i += BLOCK) {
		struct moe_trace_block b = {.start = i, .rows = BLOCK, .token = token + i, .image = none, .patch = none, .modality = modality, .expert = expert + i,
					    .weight = weight + i};
		expect_ok(&d, moe_top_add(&top, &info, &b, 0, &d));
	}
	moe_top_sort(&top);
	assert_true(top.n_layers == 1 && top.layer[0].number == 4);
	for (uint16_t e = 0; e < E; e++) {
		const struct moe_top_list *l = &top.layer[0].list[e];
		size_t at = 0;
		assert_int_equal(l->n, MOST);
		for (int w = 49; w >= 0 && at < MOST; w--)
			for (size_t i = 0; i < N && at < MOST; i++)
				if (expert[i] == e && weight[i] == (float)w) {
					const struct moe_top_token *x = &l->token[at++];
					assert_true(x->token == (int32_t)i && x->row == i && x->weight == weight[i] && x->picture == UINT64_MAX);
					/* What stands around it goes over the borders of blocks. */
					assert_int_equal(x->n_before, i < 8 ? i : 8);
					assert_int_equal(x->n_behind, N - 1 - i < 8 ? N - 1 - i : 8);
					for (size_t k = 0; k < x->n_before; k++)
						assert_int_equal(x->before[x->n_before - 1 - k], i - 1 - k);
					for (size_t k = 0; k < x->n_behind; k++)
						assert_int_equal(x->behind[k], i + 1 + k);
				}
	}
	moe_top_free(&top);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_names), cmocka_unit_test(test_vocabulary), cmocka_unit_test(test_top)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
