/* Sums of routing over blocks made by hand, whose sums can be told by looking. */
#include <math.h>

#include "lib_data.h"
#include "stats/routing.h"

enum { L = 2, T = 4, K = 2, E = 4, NONE = 0xffff };

static size_t layers[L] = {1, 3};
static const struct moe_trace_info info = {.layer = layers, .n_layers = L, .experts = E, .k = K, .score = MOE_TRACE_SOFTMAX};

/* Two tokens of text, two of a picture; the last passes layer 3 by. */
static const uint8_t modality[T] = {0, 0, 1, 1};
static const uint16_t expert[L * T * K] = {0, 1, 1, 0, 2, 3, 2, NONE, 3, 0, 3, 1, 0, 1, NONE, NONE};
static const float weight[L * T * K] = {0.75f, 0.25f, 0.5f, 0.5f, 0.625f, 0.375f, 1, 0, 0.75f, 0.25f, 0.5f, 0.5f, 0.5f, 0.5f, 0, 0};
static const uint8_t depth[L * T] = {1, 1, 1, 1, 1, 1, 1, 0};

static struct moe_trace_block made(void)
{
	return (struct moe_trace_block){.rows = T, .modality = modality, .expert = expert, .weight = weight, .depth = depth};
}

static void test_sums(void **state)
{
	struct moe_routing_set s = {.tables = MOE_ROUTING_TOGETHER | MOE_ROUTING_NEXT, .last = SIZE_MAX};
	struct moe_trace_block b = made();
	struct moe_diag d = {0};
	const struct moe_routing_part *text, *image;

	(void)state;
	expect_ok(&d, moe_routing_set_add(&s, &info, &b, &d));
	expect_ok(&d, moe_routing_set_add(&s, &info, &b, &d));
	assert_int_equal(s.n, 1);
	assert_string_equal(s.kind[0].choice, "token");
	assert_int_equal(s.kind[0].n_layers, 2);
	assert_true(s.kind[0].layer[0].number == 1 && s.kind[0].layer[0].next == 3 && s.kind[0].layer[1].number == 3 && s.kind[0].layer[1].next == SIZE_MAX);
	text = s.kind[0].layer[0].part[0];
	image = s.kind[0].layer[0].part[1];
	assert_null(s.kind[0].layer[0].part[2]);
	assert_true(text->tokens == 4 && text->choices == 8 && text->count[0] == 4 && text->count[1] == 4 && !text->count[2] && text->chosen[2] == 4);
	assert_true(text->weight[0] == 2.5 && text->weight[1] == 1.5);
	assert_true(image->tokens == 4 && image->choices == 6 && image->count[2] == 4 && image->count[3] == 2 && image->chosen[1] == 2 &&
		    image->chosen[2] == 2);
	assert_true(text->together[0 * E + 1] == 2 && text->together[1 * E + 0] == 2 && image->together[2 * E + 3] == 2 && !image->together[3 * E + 2]);
	assert_true(text->next[0 * E + 3] == 4 && text->next[0 * E + 0] == 2 && text->next[1 * E + 1] == 2);
	assert_true(image->next[2 * E + 0] == 2 && image->next[3 * E + 1] == 2 && !image->next[2 * E + 2]);
	image = s.kind[0].layer[1].part[1];
	assert_true(image->tokens == 2 && image->passed == 2 && image->choices == 4 && !image->chosen[0]);
	assert_true(moe_routing_even(text, E, 3) == 2 && moe_routing_eligible(text, 3));
	moe_routing_set_free(&s);
}

static void test_kinds_and_layers(void **state)
{
	struct moe_routing_set s = {.first = 2, .last = 3};
	struct moe_trace_info other = info;
	struct moe_trace_block b = made();
	struct moe_diag d = {0};

	(void)state;
	expect_ok(&d, moe_routing_set_add(&s, &info, &b, &d));
	b.choice = "batch:64";
	other.k = 1;
	expect_ok(&d, moe_routing_set_add(&s, &info, &b, &d));
	assert_true(s.n == 2 && s.kind[0].n_layers == 1 && s.kind[0].layer[0].number == 3);
	assert_string_equal(s.kind[1].choice, "batch:64");
	assert_true(s.kind[0].layer[0].part[0]->tokens == 2 && s.kind[1].layer[0].part[0]->tokens == 2 && !s.kind[0].layer[0].part[0]->together);
	expect_fail(&d, moe_routing_set_add(&s, &other, &b, &d), MOE_EMATCH, "4 experts of which a token gets 1 cannot be added up with 4 and 2");
	moe_routing_set_free(&s);

	/* Tables of pairs are of one pair of layers. */
	s = (struct moe_routing_set){.tables = MOE_ROUTING_NEXT, .last = SIZE_MAX};
	d = (struct moe_diag){0};
	other = info;
	other.layer = (size_t[]){1, 2};
	expect_ok(&d, moe_routing_set_add(&s, &info, &b, &d));
	expect_fail(&d, moe_routing_set_add(&s, &other, &b, &d), MOE_EMATCH, "behind layer 1 comes layer 2 here, and layer 3");
	moe_routing_set_free(&s);
}

/* One token with logits: what its scores say, in each kind of score and with a pool. */
static const struct moe_routing_part *one(struct moe_routing *r, enum moe_trace_score score, const float *z, const float *compared)
{
	static const uint8_t text = 0;
	static const uint16_t id[K] = {1, 2};
	struct moe_trace_info i = info;
	struct moe_routed_rows rows = {.rows = 1, .modality = &text, .expert = id, .logit = z, .compared = compared};
	struct moe_diag d = {0};

	i.score = score;
	expect_ok(&d, moe_routing_init(r, &i, NULL, 0, &d));
	expect_ok(&d, moe_routing_add(r, moe_routing_layer(r, 0), &rows, &d));
	return r->layer[0].part[0];
}

static void expect_near(double have, double want)
{
	if (!(fabs(have - want) <= 1e-6))
		fail_msg("%.9g, expected %.9g", have, want);
}

static void test_scores(void **state)
{
	static const float even[E] = {0.5f, 0.5f, 0.5f, 0.5f}, narrow[E] = {-INFINITY, 1, 1, -INFINITY}, z[E] = {0, 2, 1, -1};
	static const float biased[E] = {0.25f, 0.5f, 0.75f, -9};
	double p[E], sum = 0, h = 0, s[E];
	const struct moe_routing_part *part;
	struct moe_routing r;

	(void)state;
	part = one(&r, MOE_TRACE_SOFTMAX, even, NULL);
	assert_true(part->scored == 1 && part->entropy_share == 1 && part->mass == 0.5 && part->even_mass == 0.5 && part->margin.sum == 0 && part->open == 2);
	moe_routing_free(&r);
	part = one(&r, MOE_TRACE_SIGMOID, even, NULL);
	expect_near(part->entropy_share, 1);
	expect_near(part->mass, 0.5);
	moe_routing_free(&r);

	/* A pool of two: entropy over log 2, and no first that was not chosen. */
	part = one(&r, MOE_TRACE_SOFTMAX, narrow, NULL);
	assert_true(part->entropy_share == 1 && part->mass == 1 && part->even_mass == 1 && !part->margin.n && !part->open);
	assert_true(moe_routing_even(part, E, 1) == 1 && moe_routing_even(part, E, 0) == 0 && !moe_routing_eligible(part, 0) && moe_routing_eligible(part, 2));
	moe_routing_free(&r);

	for (int e = 0; e < E; e++)
		sum += p[e] = exp((double)z[e]);
	for (int e = 0; e < E; e++)
		h -= p[e] / sum * log(p[e] / sum);
	part = one(&r, MOE_TRACE_SOFTMAX, z, NULL);
	expect_near(part->entropy, h);
	expect_near(part->entropy_share, h / log(E));
	expect_near(part->mass, (p[1] + p[2]) / sum);
	expect_near(part->margin.sum, (p[2] - p[0]) / sum);
	expect_near(part->logit_margin.least, 1);
	moe_routing_free(&r);

	sum = h = 0;
	for (int e = 0; e < E; e++)
		sum += s[e] = 1 / (1 + exp(-(double)z[e]));
	for (int e = 0; e < E; e++)
		h -= s[e] / sum * log(s[e] / sum);
	part = one(&r, MOE_TRACE_SIGMOID, z, NULL);
	expect_near(part->entropy, h);
	expect_near(part->mass, (s[1] + s[2]) / sum);
	expect_near(part->margin.sum, s[2] - s[0]);
	moe_routing_free(&r);

	/* What was compared decides the margin; the entropy stays that of the logits. */
	part = one(&r, MOE_TRACE_SIGMOID, z, biased);
	expect_near(part->entropy, h);
	expect_near(part->margin.sum, 0.25);
	moe_routing_free(&r);
	part = one(&r, MOE_TRACE_LOGIT, z, NULL);
	expect_near(part->margin.sum, 1);
	moe_routing_free(&r);
}

static void test_join(void **state)
{
	struct moe_routing_set s = {.tables = MOE_ROUTING_TOGETHER | MOE_ROUTING_NEXT, .last = SIZE_MAX};
	struct moe_trace_block b = made();
	struct moe_routing twice;
	struct moe_diag d = {0};

	(void)state;
	expect_ok(&d, moe_routing_set_add(&s, &info, &b, &d));
	expect_ok(&d, moe_routing_init(&twice, &info, NULL, s.tables, &d));
	expect_ok(&d, moe_routing_join(&twice, &s.kind[0], &d));
	expect_ok(&d, moe_routing_join(&twice, &s.kind[0], &d));
	for (int l = 0; l < L; l++)
		for (int m = 0; m < 2; m++) {
			const struct moe_routing_part *a = s.kind[0].layer[l].part[m], *c = twice.layer[l].part[m];
			assert_true(c->tokens == 2 * a->tokens && c->choices == 2 * a->choices && c->passed == 2 * a->passed && c->open == 2 * a->open);
			for (int e = 0; e < E * E; e++)
				assert_true(c->together[e] == 2 * a->together[e] && c->next[e] == 2 * a->next[e]);
			for (int e = 0; e < E; e++)
				assert_true(c->count[e] == 2 * a->count[e] && c->weight[e] == 2 * a->weight[e]);
		}
	moe_routing_free(&twice);
	moe_routing_set_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sums), cmocka_unit_test(test_kinds_and_layers), cmocka_unit_test(test_scores), cmocka_unit_test(test_join),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
