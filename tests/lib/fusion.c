/* The ways of pictures into a model of the family `native`: convolutions or one matrix, straight into the trunk or through an encoder of their own, patches that
 * see their whole picture or what is before them. What training computes is what the model says when it runs, and depth 0 is early fusion, byte for byte. */
#include <math.h>

#include "base/mem.h"
#include "base/rng.h"
#include "lib_data.h"
#include "run/session.h"
#include "train/create.h"
#include "train/net.h"

#define SMALL "\"hidden\": 48, \"layers\": 2, \"heads\": 3, \"experts\": 4, \"expert_width\": 24, \"stem\": [8, 12], \"grids\": [[4, 16], [3, 5]]"
#define LINEAR "\"hidden\": 48, \"layers\": 2, \"heads\": 3, \"experts\": 4, \"expert_width\": 24, \"stem\": \"linear\", \"grids\": [[4, 16], [3, 5]]"

enum { ROWS = 3, COLUMNS = 5, PATCHES = ROWS * COLUMNS, PATCH = 8, HEIGHT = ROWS * PATCH, ACROSS = COLUMNS * PATCH, TEXT = 7, HIDDEN = 48, VOCAB = 102 };

static float planes[3 * HEIGHT * ACROSS], pixel[PATCHES * 3 * PATCH * PATCH];
static int32_t token[TEXT + 1], target[TEXT], segment[TEXT];

/* A picture, as planes and as patches, and a text behind it. */
static int make_data(void **state)
{
	size_t at = 0;

	(void)state;
	for (size_t i = 0; i < sizeof planes / sizeof *planes; i++)
		planes[i] = (float)(4 * moe_random_unit(5, 1, i) - 2);
	for (size_t p = 0; p < PATCHES; p++)
		for (size_t c = 0; c < 3; c++)
			for (size_t y = 0; y < PATCH; y++)
				for (size_t x = 0; x < PATCH; x++)
					pixel[at++] = planes[(c * HEIGHT + p / COLUMNS * PATCH + y) * ACROSS + p % COLUMNS * PATCH + x];
	token[0] = 2;           /* <image> */
	for (size_t t = 0; t < TEXT; t++) {
		token[t + 1] = (int32_t)(moe_random_u64(5, 2, t) % (VOCAB - 5)) + 5;
		target[t] = (int32_t)(moe_random_u64(5, 3, t) % (VOCAB - 5)) + 5;
	}
	return 0;
}

static struct moe_model *make_model(const char *name, const char *description)
{
	char dir[300];
	struct moe_spec_options o = {.directory = dir, .families = "share/families"};
	json_t *json = json_loads(description, 0, NULL);
	struct moe_diag d = {0};
	struct moe_model *m;

	assert_non_null(json);
	strcpy(dir, scratch(name));
	expect_ok(&d, moe_create_model(dir, json, 3, &d));
	json_decref(json);
	expect_ok(&d, moe_model_open(&m, &o, &d));
	return m;
}

/* Log-probabilities of the targets, of the last TEXT rows of logits. */
static enum moe_err take_logits(void *self, size_t first, size_t count, const float *logit, struct moe_diag *d)
{
	double *logprob = self;

	(void)d;
	for (size_t i = 0; i < count; i++) {
		const float *row = logit + i * VOCAB;
		size_t r = first + i;
		double sum = 0;
		if (r < PATCHES)
			continue;
		for (size_t v = 0; v < VOCAB; v++)
			sum += exp((double)row[v]);
		logprob[r - PATCHES] = (double)row[target[r - PATCHES]] - log(sum);
	}
	return MOE_OK;
}

/* What the model says of the targets when it runs. */
static void run_model(const struct moe_model *m, double *logprob)
{
	struct moe_patch_grid grid = {ROWS, COLUMNS, PATCHES};
	float *feature = moe_calloc(PATCHES * HIDDEN, sizeof *feature);
	struct moe_arena scratch = {0};
	struct moe_compute work = {.scratch = &scratch};
	struct moe_session s;
	struct moe_diag d = {0};

	assert_non_null(feature);
	expect_ok(&d, moe_tower_forward(m, pixel, ROWS, COLUMNS, feature, &work, &d));
	expect_ok(&d, moe_session_init(&s, m, NULL, &d));
	expect_ok(&d, moe_session_extend(&s, token, TEXT + 1, &grid, &(float *){feature}, true, take_logits, logprob, &d));
	moe_session_free(&s);
	moe_arena_free(&scratch);
	free(feature);
}

/* What training says of them, in a batch with a second sequence that has no picture. */
static void predict(struct moe_model *m, float *logprob)
{
	static const struct moe_loss_settings loss = {.text = 1};
	struct moe_packed batch[2] = {
		{.n_text = TEXT, .token = token + 1, .target = target, .segment = segment},
		{.planes = planes, .rows = ROWS, .columns = COLUMNS, .n_text = TEXT, .token = token + 1, .target = target, .segment = segment},
	};
	float other[TEXT];
	int32_t best[2][TEXT];
	struct moe_net_options o = {.unit = MOE_UNIT_F32};
	struct moe_step_result r;
	struct moe_net *net;
	struct moe_diag d = {0};

	expect_ok(&d, moe_net_new(&net, m, &o, &d));
	expect_ok(&d, moe_net_predict(net, batch, 2, &loss, (int32_t *const[]){best[0], best[1]}, (float *const[]){other, logprob}, &r, &d));
	moe_net_free(net);
}

static void test_same_as_run(void **state)
{
	static const char *const descriptions[] = {
		"{" SMALL "}", "{" SMALL ", \"image_attention\": \"causal\"}", "{" LINEAR "}", "{" LINEAR ", \"row_col\": false, \"image_attention\": \"causal\"}",
		"{" LINEAR ", \"encoder\": {\"depth\": 1}}", "{" SMALL ", \"encoder\": {\"depth\": 3, \"hidden\": 32, \"heads\": 4, \"width\": 40, \"projector\": \"mlp\"}}",
		"{" LINEAR ", \"encoder\": {\"depth\": 2, \"projector\": \"mlp\", \"projector_width\": 20}, \"row_col\": false, \"image_attention\": \"causal\"}",
	};
	double said[sizeof descriptions / sizeof *descriptions][TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof descriptions / sizeof *descriptions; i++) {
		char name[16];
		float trained[TEXT];
		struct moe_model *m;
		snprintf(name, sizeof name, "same-%zu", i);
		m = make_model(name, descriptions[i]);
		run_model(m, said[i]);
		predict(m, trained);
		for (size_t t = 0; t < TEXT; t++)
			if (!(fabs((double)trained[t] - said[i][t]) < 2e-5))
				fail_msg("%s: target %zu: %.7f in training, %.7f in a run", descriptions[i], t, (double)trained[t], said[i][t]);
		for (size_t j = 0; j < i; j++)
			assert_true(fabs(said[i][0] - said[j][0]) > 1e-5);      /* each setting changes something */
		moe_model_close(m);
	}
}

/* An encoder of depth 0 is none. */
static void test_depth_zero(void **state)
{
	static const char *const pairs[][2] = {
		{"{" LINEAR "}", "{" LINEAR ", \"encoder\": {\"depth\": 0, \"hidden\": 7, \"heads\": 5, \"projector\": \"mlp\"}}"},
		{"{" SMALL "}", "{" SMALL ", \"encoder\": {\"depth\": 0}}"},
	};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct moe_model *early = make_model(i ? "early-1" : "early-0", pairs[i][0]), *zero = make_model(i ? "zero-1" : "zero-0", pairs[i][1]);
		assert_string_equal(early->fingerprint, zero->fingerprint);
		moe_model_close(early);
		moe_model_close(zero);
	}
}

/* In config.json, too: the same numbers, though not the same fingerprint. */
static void test_depth_zero_config(void **state)
{
	struct moe_model *early = make_model("early", "{" LINEAR "}"), *zero;
	struct moe_spec_options o = {.directory = scratch("early"), .families = "share/families"};
	json_t *config = json_load_file(scratch("early/config.json"), 0, NULL);
	double said[2][TEXT];
	struct moe_diag d = {0};

	(void)state;
	assert_non_null(config);
	json_object_set_new(config, "vision_stem", json_pack("{ss ss sb si si si si}", "type", "encoder", "patches", "linear", "row_col_embeddings", 1, "hidden_size", HIDDEN,
							     "num_hidden_layers", 0, "num_attention_heads", 3, "intermediate_size", 64));
	assert_int_equal(json_dump_file(config, scratch("early/config.json"), 0), 0);
	json_decref(config);
	expect_ok(&d, moe_model_open(&zero, &o, &d));
	assert_false(moe_spec_encodes(zero->spec));
	run_model(early, said[0]);
	run_model(zero, said[1]);
	assert_memory_equal(said[0], said[1], sizeof said[0]);
	moe_model_close(early);
	moe_model_close(zero);
}

static void test_sizes(void **state)
{
	struct moe_model *m = make_model("sizes", "{" LINEAR ", \"encoder\": {\"depth\": 2, \"hidden\": 32, \"heads\": 2, \"width\": 40, \"projector\": \"mlp\", \"projector_width\": 20}}");
	uint64_t layer = 4 * 32 * 32 + 3 * 32 * 40, patch = 32 * 192, projector = 20 * 32 + 48 * 20;
	struct moe_sizes z;
	struct moe_diag d = {0};

	(void)state;
	expect_ok(&d, moe_spec_sizes(m->spec, &z, &d));
	assert_int_equal(z.part[MOE_PART_TOWER], patch + (4 + 16) * 32 + 2 * (layer + 2 * 32) + 32);
	assert_int_equal(z.part[MOE_PART_PROJECTOR], projector);
	assert_int_equal(z.flops_per_patch, 2 * (patch + 2 * layer + projector));
	moe_model_close(m);
	m = make_model("stem", "{" SMALL "}");
	expect_ok(&d, moe_spec_sizes(m->spec, &z, &d));
	assert_int_equal(z.flops_per_patch, 2 * (16 * 75 * 8 + 4 * 72 * 12 + 108 * 48));
	moe_model_close(m);
}

static void test_refused(void **state)
{
	struct moe_model *m = make_model("odd", "{" LINEAR ", \"encoder\": {\"depth\": 1, \"hidden\": 30, \"heads\": 5}}");
	struct moe_net_options o = {.unit = MOE_UNIT_F32};
	struct moe_net *net;
	struct moe_diag d = {0};

	(void)state;
	expect_fail(&d, moe_net_new(&net, m, &o, &d), MOE_EUSAGE, "an encoder of pictures is trained where its hidden size is a multiple of 4");
	moe_model_close(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_as_run), cmocka_unit_test(test_depth_zero), cmocka_unit_test(test_depth_zero_config), cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, make_data, scratch_remove);
}
