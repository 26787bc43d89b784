/* Networks in training that choose among the rows of several sequences: groups, whatever chunks and lanes there are, and who can tell whom; the choice of
 * auxiliary routers, which nobody later can change; and what a token costs. */
#include <math.h>

#include "base/rng.h"
#include "data/packed.h"
#include "lib_data.h"
#include "model/flops.h"
#include "train/create.h"
#include "train/net.h"

#define SMALL "\"hidden\": 32, \"layers\": 2, \"heads\": 2, \"experts\": 4, \"expert_width\": 24, \"stem\": [8, 12], \"grids\": [[2, 4]], \"max_text\": 32"
#define CHOICE "\"router_choice\": \"expert\", \"router_score\": \"sigmoid\", \"expert_capacity\": 1, \"expert_pools\": [[0, 2], [1, 3]]"
#define DEPTH "\"depth_layers\": [0], \"depth_capacity\": 0.5"

enum { SEQUENCES = 6, TEXT = 10, PATCHES = 8, PIXELS = 3 * 16 * 32, VOCAB = 102 };

static struct {
	float planes[SEQUENCES][PIXELS];
	int32_t token[SEQUENCES][TEXT], target[SEQUENCES][TEXT], segment[TEXT];
	struct moe_packed packed[SEQUENCES];
} batch;

static void make_batch(void)
{
	for (size_t i = 0; i < SEQUENCES; i++) {
		for (size_t j = 0; j < PIXELS; j++)
			batch.planes[i][j] = (float)(2 * moe_random_unit(3, i, j) - 1);
		for (size_t t = 0; t < TEXT; t++) {
			batch.token[i][t] = (int32_t)(moe_random_u64(4, i, t) % VOCAB);
			batch.target[i][t] = (int32_t)(moe_random_u64(5, i, t) % VOCAB);
		}
		batch.packed[i] = (struct moe_packed){
			.planes = batch.planes[i], .rows = 2, .columns = 4, .n_text = TEXT, .token = batch.token[i], .target = batch.target[i], .segment = batch.segment,
		};
	}
}

static struct moe_model *make_model(const char *name, const char *more)
{
	char text[1000], dir[300];
	struct moe_model *m;
	struct moe_diag d = {0};
	json_t *json;

	snprintf(text, sizeof text, "{" SMALL ", %s}", more);
	json = json_loads(text, 0, NULL);
	assert_non_null(json);
	snprintf(dir, sizeof dir, "%s", scratch(name));
	expect_ok(&d, moe_create_model(dir, json, 7, &d));
	json_decref(json);
	expect_ok(&d, moe_model_open(&m, &(struct moe_spec_options){.directory = dir, .families = "share/families"}, &d));
	return m;
}

static struct moe_net *make_net(struct moe_model *m, size_t chunk, size_t lanes)
{
	struct moe_net *n;
	struct moe_diag d = {0};

	expect_ok(&d, moe_net_new(&n, m, &(struct moe_net_options){.unit = MOE_UNIT_F32, .chunk = chunk, .lanes = lanes, .most_text = 32}, &d));
	return n;
}

/* Log-probabilities of all targets of the first `count` sequences. */
static void predict(struct moe_net *n, size_t count, int choice, float out[SEQUENCES][TEXT])
{
	static const struct moe_loss_settings loss = {.text = 1};
	struct moe_loss_settings s = loss;
	int32_t ids[SEQUENCES][TEXT], *best[SEQUENCES];
	float *logprob[SEQUENCES];
	struct moe_step_result r;
	struct moe_diag d = {0};

	s.choice = choice;
	for (size_t i = 0; i < SEQUENCES; i++) {
		best[i] = ids[i];
		logprob[i] = out[i];
	}
	expect_ok(&d, moe_net_predict(n, batch.packed, count, &s, best, logprob, &r, &d));
}

/* ---- groups ---- */

static void test_together(void **state)
{
	struct moe_packed p[6] = {{.document = 5}, {.document = 0}, {.document = 0}, {.document = 7}, {.document = 5}, {.document = 9}};

	(void)state;
	assert_int_equal(moe_packed_together(p, 6, 8), 4);      /* the fifth is of the document of the first */
	assert_int_equal(moe_packed_together(p, 6, 3), 3);
	assert_int_equal(moe_packed_together(p + 4, 2, 8), 2);
	assert_int_equal(moe_packed_together(p + 1, 5, 8), 5);  /* without a number each is a document of its own */
	assert_int_equal(moe_packed_together(p, 0, 8), 0);
}

/* Groups lie in the batch, and not in chunks: the numbers of a row are the same for any chunks and lanes. */
static void test_chunks(void **state)
{
	static const struct { size_t chunk, lanes; } ways[] = {{1, 1}, {2, 3}, {3, 2}, {8, 4}};
	struct moe_model *m = make_model("chunks", CHOICE ", " DEPTH ", \"route_batch\": 3");
	float first[SEQUENCES][TEXT], again[SEQUENCES][TEXT];

	(void)state;
	make_batch();
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
		struct moe_net *n = make_net(m, ways[i].chunk, ways[i].lanes);
		predict(n, SEQUENCES, MOE_NET_BATCH, i ? again : first);
		moe_net_free(n);
		if (i)
			assert_memory_equal(first, again, sizeof first);
	}
	moe_model_close(m);
}

/* Another sequence of its group changes a row; one of another group does not, nor one that is of its own document. */
static void test_groups(void **state)
{
	struct moe_model *m = make_model("groups", CHOICE ", \"route_batch\": 3");
	struct moe_net *n = make_net(m, 8, 2);
	float before[SEQUENCES][TEXT], after[SEQUENCES][TEXT];

	(void)state;
	make_batch();
	predict(n, SEQUENCES, MOE_NET_BATCH, before);
	for (size_t t = 0; t < TEXT; t++)
		batch.token[2][t] = (batch.token[2][t] + 11) % VOCAB;
	predict(n, SEQUENCES, MOE_NET_BATCH, after);
	assert_memory_not_equal(before[0], after[0], sizeof before[0]);
	assert_memory_equal(before[3], after[3], 3 * sizeof before[0]);
	make_batch();
	batch.packed[0].document = batch.packed[2].document = 77;       /* the first group is cut before the third sequence */
	predict(n, SEQUENCES, MOE_NET_BATCH, before);
	for (size_t t = 0; t < TEXT; t++)
		batch.token[2][t] = (batch.token[2][t] + 11) % VOCAB;
	predict(n, SEQUENCES, MOE_NET_BATCH, after);
	assert_memory_equal(before[0], after[0], 2 * sizeof before[0]);
	assert_memory_not_equal(before[3], after[3], sizeof before[3]); /* and the second begins with it */
	moe_net_free(n);
	moe_model_close(m);
}

/* ---- auxiliary routers ---- */

/* With their choice no row moves when later ones and the other sequences do; with that of the batch some do. */
static void test_causal(void **state)
{
	struct moe_model *m = make_model("causal", CHOICE ", " DEPTH ", \"aux_routers\": true, \"moe_norm\": \"post\"");
	struct moe_net *n = make_net(m, 8, 2);
	float before[SEQUENCES][TEXT], after[SEQUENCES][TEXT];

	(void)state;
	for (int choice = MOE_NET_BATCH; choice <= MOE_NET_AUX; choice++) {
		make_batch();
		predict(n, SEQUENCES, choice, before);
		for (size_t t = 0; t < TEXT; t++)
			batch.token[5][t] = (batch.token[5][t] + 11) % VOCAB;
		for (size_t i = 0; i < SEQUENCES; i++)
			batch.token[i][TEXT - 1] = (batch.token[i][TEXT - 1] + 3) % VOCAB;
		predict(n, SEQUENCES, choice, after);
		for (size_t i = 0; i + 1 < SEQUENCES; i++)
			if (choice == MOE_NET_AUX)
				assert_memory_equal(before[i], after[i], (TEXT - 1) * sizeof **before);
		if (choice == MOE_NET_BATCH)
			assert_memory_not_equal(before[0], after[0], (TEXT - 1) * sizeof **before);
	}
	moe_net_free(n);
	moe_model_close(m);
}

/* Thresholds give as many rows to each expert as the batch did, on the rows that they were found with. */
static void test_thresholds(void **state)
{
	struct moe_model *m = make_model("thresholds", CHOICE ", \"aux_routers\": true, \"aux_threshold\": \"stored\"");
	struct moe_net *n = make_net(m, 8, 2);
	const struct moe_loss_settings loss = {.text = 1}, foretold = {.text = 1, .choice = MOE_NET_THRESHOLD};
	uint64_t taken[MOE_N_MODALITIES * 4];
	struct moe_step_result r;
	struct moe_diag d = {0};

	(void)state;
	make_batch();
	expect_ok(&d, moe_net_calibrate(n, batch.packed, SEQUENCES, &d));
	expect_ok(&d, moe_net_calibrated(n, &d));
	expect_ok(&d, moe_net_step(n, batch.packed, SEQUENCES, &loss, false, &r, &d));
	memcpy(taken, r.load, sizeof taken);            /* of the first layer, whose rows are the same either way */
	expect_ok(&d, moe_net_step(n, batch.packed, SEQUENCES, &foretold, false, &r, &d));
	assert_memory_equal(taken, r.load, sizeof taken);
	assert_int_equal(moe_net_calibrated(n, &d), MOE_EUSAGE);
	moe_net_free(n);
	moe_model_close(m);
}

/* With all decisions turned round, each expert has the rows that it did not have; with none, what it had. */
static void test_flips(void **state)
{
	struct moe_model *m = make_model("flips", CHOICE);
	struct moe_net *n = make_net(m, 8, 2);
	const struct moe_loss_settings none = {.text = 1}, all = {.text = 1, .flips = 1}, some = {.text = 1, .flips = 0.2};
	uint64_t had[MOE_N_MODALITIES][4];
	struct moe_step_result r;
	struct moe_diag d = {0};
	uint64_t moved = 0;

	(void)state;
	make_batch();
	expect_ok(&d, moe_net_step(n, batch.packed, SEQUENCES, &none, false, &r, &d));
	memcpy(had, r.load, sizeof had);
	expect_ok(&d, moe_net_step(n, batch.packed, SEQUENCES, &all, false, &r, &d));
	for (size_t e = 0; e < 4; e++) {        /* experts 0 and 2 are those of text */
		assert_int_equal(r.load[e], e % 2 ? 0 : SEQUENCES * TEXT - had[MOE_TEXT][e]);
		assert_int_equal(r.load[4 + e], e % 2 ? SEQUENCES * PATCHES - had[MOE_IMAGE][e] : 0);
	}
	expect_ok(&d, moe_net_step(n, batch.packed, SEQUENCES, &some, false, &r, &d));
	for (size_t e = 0; e < 4; e++)
		moved += r.load[e] != had[MOE_TEXT][e] || r.load[4 + e] != had[MOE_IMAGE][e];
	assert_true(moved > 0);
	assert_int_equal(moe_net_step(n, batch.packed, SEQUENCES, &some, true, &r, &d), MOE_EUSAGE);
	moe_net_free(n);
	moe_model_close(m);
}

/* ---- what is refused ---- */

static void test_refused(void **state)
{
	struct moe_model *m = make_model("refused", "\"top_k\": 2");
	struct moe_net *n = make_net(m, 8, 1);
	struct moe_step_result r;
	static const struct { struct moe_loss_settings s; const char *says; } rows[] = {
		{{.noise = 1}, "router_noise"}, {{.balance_groups = 3}, "no multiple of 3"}, {{.aux = 1}, "no auxiliary routers"},
		{{.choice = MOE_NET_AUX}, "no auxiliary routers"},
	};

	(void)state;
	make_batch();
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct moe_diag d = {0};
		assert_int_equal(moe_net_step(n, batch.packed, 2, &rows[i].s, false, &r, &d), MOE_EUSAGE);
		assert_non_null(strstr(d.text, rows[i].says));
	}
	moe_net_free(n);
	m->spec->router.top_k = 1;
	{
		struct moe_diag d = {0};
		assert_int_equal(moe_net_check(m->spec, &d), MOE_EUSAGE);
		assert_non_null(strstr(d.text, "the router gets no gradient"));
	}
	moe_model_close(m);
}

/* ---- cost ---- */

static struct moe_flops cost(const char *name, const char *more, size_t patches, size_t text)
{
	struct moe_model *m = make_model(name, more);
	struct moe_flops f;
	struct moe_diag d = {0};

	expect_ok(&d, moe_spec_flops(&f, m->spec, patches, text, &d));
	moe_model_close(m);
	return f;
}

static void test_flops(void **state)
{
	/* 8 patches and 10 tokens: pairs of rows that see each other are 64 + 80 + 55; hidden 32, queries, keys and values 32 wide */
	const double projections = 2.0 * 4 * 32 * 32, pairs = 64 + 80 + 55, experts = 6.0 * 32 * 24;
	struct moe_flops token = cost("flops-token", "\"top_k\": 2", 8, 10), taken = cost("flops-taken", CHOICE, 8, 10), depth = cost("flops-depth", DEPTH, 8, 10);
	struct moe_flops dense = cost("flops-dense", "\"dense_layers\": \"all\", \"dense_width\": 48", 8, 10);
	struct moe_flops one = cost("flops-one", "\"expert_pools\": [[0], [1, 2, 3]], \"top_k\": 2", 8, 10), aux = cost("flops-aux", CHOICE ", \"aux_routers\": true", 8, 10);

	(void)state;
	assert_float_equal(token.attention, 2 * (projections + 4.0 * 32 * pairs / 18), 1e-6);
	assert_float_equal(token.experts, 2 * 2 * experts, 1e-6);
	assert_float_equal(token.router, 2 * 2.0 * 32 * 4, 1e-6);
	assert_float_equal(token.head, 2.0 * 32 * VOCAB * 10 / 18, 1e-6);
	assert_float_equal(token.all, token.tower + token.attention + token.router + token.experts + token.head, 1e-6);
	assert_float_equal(moe_flops_training(&token, false), 3 * token.all, 1e-6);
	assert_float_equal(taken.experts, 2 * experts, 1e-6);                   /* capacity 1 */
	assert_float_equal(taken.router, 2 * 2.0 * 32 * 2, 1e-6);              /* those of its own pool */
	assert_float_equal(dense.experts, token.experts, 1e-6);
	assert_float_equal(one.experts, 2 * experts * (10 * 1 + 8 * 2) / 18, 1e-6);    /* text has one expert to choose from */
	/* a layer that half of the rows pass, and one that all do; keys are half as many, too */
	assert_float_equal(depth.attention, 1.5 * projections + 4.0 * 32 * (pairs + 16 + 20 + 15) / 18, 1e-6);
	assert_float_equal(depth.experts, 1.5 * 2 * experts, 1e-6);
	assert_float_equal(depth.router, 1.5 * 2.0 * 32 * 4 + 2.0 * 32, 1e-6);
	assert_float_equal(aux.all, taken.all, 1e-6);
	assert_float_equal(aux.aux, 2 * 2.0 * 16 * (32 + 2), 1e-6);
	assert_float_equal(moe_flops_training(&aux, true), aux.all + 3 * aux.aux, 1e-6);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_together), cmocka_unit_test(test_chunks), cmocka_unit_test(test_groups), cmocka_unit_test(test_causal), cmocka_unit_test(test_thresholds), cmocka_unit_test(test_flips),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_flops),
	};

	return cmocka_run_group_tests(tests, NULL, scratch_remove);
}
