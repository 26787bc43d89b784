/* New models: what descriptions are refused, what the folder has, that it opens and runs over several grids, and that weights come back from an export.
 * create DESCRIPTION FOLDER [SEED]: writes a model, for the tests of the programs. */
#include <math.h>

#include "lib_data.h"
#include "stage/prompt_text.h"
#include "text/tokenizer.h"
#include "train/create.h"
#include "train/export.h"

#define SMALL "\"hidden\": 48, \"layers\": 2, \"heads\": 3, \"experts\": 4, \"expert_width\": 24"
#define WORDS "\"vocabulary\": {\"words\": [\"what\", \"colour\", \"is\", \"the\", \"circle\", \"red\"]}"

static enum moe_err create(const char *dir, const char *text, uint64_t seed, struct moe_diag *d)
{
	json_t *json = json_loads(text, 0, NULL);
	enum moe_err err;

	assert_non_null(json);
	err = moe_create_model(dir, json, seed, d);
	json_decref(json);
	return err;
}

static struct moe_model *open_model(const char *dir)
{
	struct moe_spec_options o = {.directory = dir, .families = "share/families"};
	struct moe_model *m;
	struct moe_diag d = {0};

	expect_ok(&d, moe_model_open(&m, &o, &d));
	return m;
}

static char *keep(char *to, const char *name)
{
	strcpy(to, scratch(name));
	return to;
}

static void test_refused(void **state)
{
	static const struct { const char *text, *part; } rows[] = {
		{"[]", "is a JSON object"},
		{"{}", "lacks \"hidden\""},
		{"{\"hidden\": 48, \"layers\": 2, \"heads\": 3, \"experts\": 4}", "lacks \"expert_width\""},
		{"{\"hidden\": 48, \"layers\": 2, \"heads\": 3}", "lacks \"experts\""},
		{"{\"hidden\": 48, \"layers\": 2, \"heads\": 3, \"dense_layers\": \"all\"}", "lacks \"dense_width\""},
		{"{\"hidden\": 48, \"layers\": 2, \"heads\": 3, \"dense_layers\": [0], \"dense_width\": 48}", "lacks \"experts\""},
		{"{" SMALL ", \"dense_width\": 48}", "dense_width goes with dense_layers"},
		{"{" SMALL ", \"dense_layers\": 1}", "dense_layers: expected \"all\", or a list"},
		{"{" SMALL ", \"dense_layers\": [2]}", "dense_layers: expected a whole number from 0 to 1"},
		{"{" SMALL ", \"dense_layers\": [1, 0]}", "dense_layers: layers must rise"},
		{"{\"hidden\": 48, \"layers\": 2, \"heads\": 3, \"experts\": 4, \"expert_width\": 65536, \"dense_layers\": [0]}", "wider than 65536"},
		{"{" SMALL ", \"image_tokens\": 3}", "image_tokens: expected an object"},
		{"{" SMALL ", \"image_tokens\": {\"code\": 3}}", "unknown key \"image_tokens.code\""},
		{"{" SMALL ", \"image_tokens\": {\"codes\": 1}}", "image_tokens.codes: expected a whole number from 2 to 65536"},
		{"{" SMALL ", \"image_tokens\": {\"width\": 5}}", "image_tokens.width: expected an even number"},
		{"{" SMALL ", \"image_tokens\": {\"encoder\": [3]}}", "image_tokens.encoder: expected even numbers of channels"},
		{"{" SMALL ", \"image_tokens\": {}, \"stem\": [8]}", "give image_tokens.encoder"},
		{"{" SMALL ", \"image_tokens\": {}, \"patch\": 6}", "patch (6): with image tokens it is 2 to the number"},
		{"{" SMALL ", \"image_tokens\": {}, \"grids\": [[8, 8], [4, 4]]}", "a model with image tokens has a single grid"},
		{"{" SMALL ", \"image_tokens\": {\"from\": \"share/models/read\"}}", "share/models/read has no image tokens"},
		{"{" SMALL ", \"image_tokens\": {\"from\": \"share/models/read\", \"codes\": 3}}", "and no other key beside it"},
		{"{" SMALL ", \"colour\": 3}", "unknown key \"colour\""},
		{"{" SMALL ", \"top_k\": 5}", "top_k (5) is larger than experts (4)"},
		{"{" SMALL ", \"top_k\": 0}", "top_k: expected a whole number from 1 to 256"},
		{"{" SMALL ", \"top_k\": 1, \"renormalise\": true}", "the router has no gradient"},
		{"{" SMALL ", \"router_score\": \"max\"}", "router_score: expected \"softmax\" or \"sigmoid\""},
		{"{" SMALL ", \"choice_bias\": 2}", "choice_bias: expected true, false or \"modality\""},
		{"{" SMALL ", \"expert_pools\": [[0, 1, 2, 3]]}", "expert_pools: expected a list of 2 to 5 lists"},
		{"{" SMALL ", \"expert_pools\": [[0, 1], [2]]}", "expert_pools hold 3 experts, and the model has 4"},
		{"{" SMALL ", \"expert_pools\": [[0, 1], [2, 4]]}", "expert_pools: expected numbers of experts from 0 to 3"},
		{"{" SMALL ", \"expert_pools\": [[0], [1, 2, 3]], \"top_k\": 4}", "larger than the largest of expert_pools (3)"},
		{"{" SMALL ", \"expert_pools\": [[0, 1], [2, 3]], \"n_group\": 2}", "exclude each other"},
		{"{" SMALL ", \"n_group\": 3}", "n_group (3) must divide experts (4)"},
		{"{" SMALL ", \"expert_capacity\": 1}", "expert_capacity goes with router_choice"},
		{"{" SMALL ", \"route_batch\": 4}", "route_batch goes with"},
		{"{" SMALL ", \"aux_routers\": true}", "aux_routers go with"},
		{"{" SMALL ", \"router_choice\": \"expert\", \"aux_threshold\": \"stored\"}", "goes with aux_routers"},
		{"{" SMALL ", \"router_choice\": \"expert\", \"choice_bias\": true}", "goes without renormalise, choice_bias"},
		{"{" SMALL ", \"depth_layers\": [2]}", "depth_layers: expected numbers of layers from 0 to 1"},
		{"{" SMALL ", \"depth_layers\": [1, 0]}", "rising"},
		{"{" SMALL ", \"depth_capacity\": 0.5}", "depth_capacity goes with depth_layers"},
		{"{" SMALL ", \"depth_layers\": [0], \"depth_capacity\": 0}", "depth_capacity: expected a number from"},
		{"{" SMALL ", \"kv_heads\": 2}", "heads (3) is not a multiple of kv_heads (2)"},
		{"{" SMALL ", \"head_dim\": 6}", "head_dim (6) is not a multiple of 4"},
		{"{\"hidden\": 50, \"layers\": 2, \"heads\": 3, \"experts\": 4, \"expert_width\": 24}", "hidden (50) is not a multiple of heads (3)"},
		{"{\"hidden\": 1e9, \"layers\": 2, \"heads\": 3, \"experts\": 4, \"expert_width\": 24}", "hidden: expected a whole number"},
		{"{\"hidden\": 48, \"layers\": 1000, \"heads\": 3, \"experts\": 4000, \"expert_width\": 24}", "more tensors than a file may have"},
		{"{" SMALL ", \"patch\": 16}", "patch (16) is not 8"},
		{"{" SMALL ", \"stem\": [1, 2, 3, 4, 5, 6, 7, 8]}", "stem: expected a list of at most 7"},
		{"{" SMALL ", \"stem\": [0]}", "stem: expected a whole number from 1"},
		{"{" SMALL ", \"grids\": []}", "grids: expected a list"},
		{"{" SMALL ", \"grids\": [[4]]}", "grids: expected pairs"},
		{"{" SMALL ", \"grids\": [[4, 0]]}", "grids: expected a whole number from 1"},
		{"{" SMALL ", \"text_offset\": 8}", "text_offset (8) is a position of patches: grids reach to 15"},
		{"{" SMALL ", \"rope_theta\": 0}", "rope_theta: expected a number from 1"},
		{"{" SMALL ", \"std\": [1, 2]}", "std: expected a number"},
		{"{" SMALL ", \"std\": 0}", "std: expected a number"},
		{"{" SMALL ", \"pad\": \"red\"}", "pad: expected"},
		{"{" SMALL ", \"pad\": [0, 0, 256]}", "pad: expected"},
		{"{" SMALL ", \"vocabulary\": []}", "vocabulary: expected an object"},
		{"{" SMALL ", \"vocabulary\": {\"size\": 3}}", "unknown key \"vocabulary.size\""},
		{"{" SMALL ", \"vocabulary\": {\"words\": [\"a\", \"b\", \"a\"]}}", "\"a\" stands twice"},
		{"{" SMALL ", \"vocabulary\": {\"words\": [\"Red\"]}}", "\"Red\" is no word"},
		{"{" SMALL ", \"vocabulary\": {\"words\": [\"\"]}}", "is no word"},
		{"{" SMALL ", \"vocabulary\": {\"words\": \"/nowhere/words\"}}", "/nowhere/words"},
		{"{" SMALL ", \"vocabulary\": {\"tasks\": [\"read\"]}}", "<read> is there in any case"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct moe_diag d = {0};
		enum moe_err err = create(scratch("refused"), rows[i].text, 0, &d);
		if (!err || !strstr(say(&d), rows[i].part))
			fail_msg("%s: \"%s\", expected \"%s\"", rows[i].text, say(&d), rows[i].part);
		assert_int_equal(access(scratch("refused"), F_OK), -1);
	}
}

/* Every number of the tensor was drawn with this deviation. */
static void expect_deviation(const struct moe_mat *w, double deviation, const char *name)
{
	double sum = 0, n = (double)(w->rows * w->cols);
	const float *x = w->data;

	for (size_t i = 0; i < w->rows * w->cols; i++)
		sum += (double)x[i] * (double)x[i];
	if (fabs(sqrt(sum / n) / deviation - 1) > 4 / sqrt(2 * n))
		fail_msg("%s: root mean square %g, expected %g", name, sqrt(sum / n), deviation);
}

static void test_initial_weights(void **state)
{
	char dir[300];
	struct moe_model *m;
	struct moe_diag d = {0};

	(void)state;
	expect_ok(&d, create(keep(dir, "init"), "{" SMALL ", \"stem\": [8, 12], \"grids\": [[4, 16], [8, 8]]}", 3, &d));
	m = open_model(dir);
	assert_int_equal(m->spec->image.grids.n, 2);
	assert_int_equal(moe_spec_largest_sides(m->spec).rows, 8);
	assert_int_equal(moe_spec_largest_sides(m->spec).columns, 16);
	assert_int_equal(m->spec->merge.text_offset, 16);
	assert_int_equal(m->spec->vocab, 102);
	assert_true(m->spec->router.renormalise);
	expect_deviation(&m->conv[0], 1.4 / sqrt(75), "conv1");
	expect_deviation(&m->conv[1], 1.4 / sqrt(8 * 9), "conv2");
	expect_deviation(&m->conv[2], 1 / sqrt(12 * 9), "conv3");
	expect_deviation(&m->embed, 0.5, "embed");
	expect_deviation(&m->lm_head, 0.02, "lm_head");
	expect_deviation(&(struct moe_mat){.data = m->row_embed, .rows = 8, .cols = 48}, 0.02, "row_embed");
	expect_deviation(&(struct moe_mat){.data = m->col_embed, .rows = 16, .cols = 48}, 0.02, "col_embed");
	for (int64_t l = 0; l < 2; l++) {
		const struct moe_attention_weights *a = &m->layer[l].attention;
		const struct moe_ffn_weights *f = &m->layer[l].ffn;
		const struct moe_mat *const inner[] = {&a->q, &a->k, &a->v, &f->expert[3].gate, &f->expert[0].up};
		for (size_t i = 0; i < 48; i++)
			assert_true(a->norm.weight[i] == 1 && f->norm.weight[i] == 1 && m->final_norm.weight[i] == 1);
		for (size_t i = 0; i < 5; i++)
			expect_deviation(inner[i], 1 / sqrt(48), "q, k, v, gate or up");
		expect_deviation(&a->o, 1 / sqrt(48) / sqrt(2 * 2), "o");
		expect_deviation(&f->expert[2].down, 1 / sqrt(24) / sqrt(2 * 2), "down");
		expect_deviation(&f->router, 0.02, "router");
	}
	moe_model_close(m);
}

/* A layer without experts has one unit, whose tensors are those that another model of the same seed has there. */
static void test_dense_layers(void **state)
{
	char mixed[300], all[300];
	struct moe_model *a, *b;
	struct moe_diag d = {0};

	(void)state;
	expect_ok(&d, create(keep(mixed, "mixed"), "{" SMALL ", \"dense_layers\": [1]}", 3, &d));
	expect_ok(&d, create(keep(all, "all"), "{\"hidden\": 48, \"layers\": 2, \"heads\": 3, \"dense_layers\": \"all\", \"dense_width\": 48}", 3, &d));
	a = open_model(mixed);
	b = open_model(all);
	assert_true(!moe_spec_is_dense(a->spec, 0) && moe_spec_is_dense(a->spec, 1) && moe_spec_is_dense(b->spec, 0) && moe_spec_is_dense(b->spec, 1));
	assert_int_equal(a->spec->dense.width, 48);             /* two experts of 24 */
	assert_int_equal(moe_spec_top_k(a->spec, 0), 2);
	assert_int_equal(moe_spec_top_k(a->spec, 1), 0);
	expect_deviation(&a->layer[1].ffn.shared.gate, 1 / sqrt(48), "dense gate");
	expect_deviation(&a->layer[1].ffn.shared.down, 1 / sqrt(48) / sqrt(2 * 2), "dense down");
	assert_memory_equal(a->layer[1].ffn.shared.up.data, b->layer[1].ffn.shared.up.data, 48 * 48 * sizeof(float));
	moe_model_close(a);
	moe_model_close(b);
}

/* The same seed gives the same bytes, another seed others; a tensor's numbers do not depend on what else the model has. */
static void test_seeds(void **state)
{
	char one[300], again[300], other[300], more[300];
	struct moe_model *a, *b, *c, *e;
	struct moe_diag d = {0};

	(void)state;
	expect_ok(&d, create(keep(one, "one"), "{" SMALL "}", 7, &d));
	expect_ok(&d, create(keep(again, "again"), "{" SMALL "}", 7, &d));
	expect_ok(&d, create(keep(other, "other"), "{" SMALL "}", 8, &d));
	expect_ok(&d, create(keep(more, "more"), "{" SMALL ", \"grids\": [[8, 8]], " WORDS "}", 7, &d));
	a = open_model(one);
	b = open_model(again);
	c = open_model(other);
	e = open_model(more);
	assert_string_equal(a->fingerprint, b->fingerprint);
	assert_string_not_equal(a->fingerprint, c->fingerprint);
	assert_memory_equal(a->embed.data, b->embed.data, 102 * 48 * sizeof(float));
	assert_memory_not_equal(a->embed.data, c->embed.data, 102 * 48 * sizeof(float));
	assert_memory_equal(a->embed.data, e->embed.data, 102 * 48 * sizeof(float));
	assert_memory_equal(a->layer[1].attention.q.data, e->layer[1].attention.q.data, 48 * 48 * sizeof(float));
	assert_memory_not_equal(a->layer[1].attention.q.data, a->layer[1].attention.k.data, 48 * 48 * sizeof(float));
	expect_fail(&d, create(one, "{" SMALL "}", 7, &d), MOE_EIO, "is there already");
	moe_model_close(a);
	moe_model_close(b);
	moe_model_close(c);
	moe_model_close(e);
}

/* ---- the tokenizer ---- */

static void expect_text(struct moe_tokenizer *t, const int32_t *id, size_t n, bool skip, const char *want)
{
	char *text = NULL;
	size_t length = 0, cap = 0;
	struct moe_diag d = {0};

	expect_ok(&d, moe_tokenizer_decode(t, id, n, skip, &text, &length, &cap, &d));
	if (strcmp(text, want))
		fail_msg("decoded to \"%s\", expected \"%s\"", text, want);
	free(text);
}

static void expect_ids(struct moe_tokenizer *t, const char *text, const int32_t *want, size_t n)
{
	struct moe_ids ids = {0};
	struct moe_diag d = {0};

	expect_ok(&d, moe_tokenizer_encode(t, text, strlen(text), true, &ids, &d));
	if (ids.n != n || memcmp(ids.id, want, n * sizeof *want))
		fail_msg("\"%s\" has %zu ids, the second %d; expected %zu", text, ids.n, ids.n > 1 ? (int)ids.id[1] : -1, n);
	expect_text(t, ids.id, ids.n, false, text);
	free(ids.id);
}

#define IDS(...) (const int32_t[]){__VA_ARGS__}, sizeof (const int32_t[]){__VA_ARGS__} / sizeof(int32_t)

static void test_tokenizer(void **state)
{
	char dir[300], fingerprint[33], *json;
	struct moe_prompt_form chat = {.chat = true};
	struct moe_tokenizer *t;
	struct moe_model *m;
	struct moe_ids ids = {0};
	struct moe_diag d = {0};
	size_t n;

	(void)state;
	expect_ok(&d, create(keep(dir, "words"), "{" SMALL ", " WORDS "}", 1, &d));
	expect_ok(&d, moe_model_tokenizer(dir, &json, &n, fingerprint, &d));
	expect_ok(&d, moe_tokenizer_load(&t, json, n, &d));
	free(json);
	assert_int_equal(moe_tokenizer_size(t), 108);
	/* <ask> 100, <describe> 101, " what" 102, " colour" 103, " is" 104, " the" 105, " circle" 106, " red" 107; a character c is c - 27. */
	expect_ids(t, "<ask> what colour is the circle?", IDS(100, 102, 103, 104, 105, 106, '?' - 27));
	expect_ids(t, "<image><read>", IDS(2, 1));
	expect_ids(t, "<describe> red", IDS(101, 107));
	expect_ids(t, "<ask> is ted?", IDS(100, 104, ' ' - 27, 't' - 27, 'e' - 27, 'd' - 27, '?' - 27));
	expect_ids(t, "red", IDS('r' - 27, 'e' - 27, 'd' - 27));
	expect_ids(t, "<ask> reds", IDS(100, ' ' - 27, 'r' - 27, 'e' - 27, 'd' - 27, 's' - 27));
	expect_ids(t, "v2.4  is", IDS('v' - 27, '2' - 27, '.' - 27, '4' - 27, ' ' - 27, 104));
	expect_text(t, IDS(107, 4), true, "red");
	expect_text(t, IDS(107, 106), true, "red circle");
	expect_text(t, IDS('3' - 27, '5' - 27, '%' - 27), true, "35%");
	m = open_model(dir);
	expect_ok(&d, moe_prompt_encode(t, m->spec, &chat, "What colour is the circle?", 26, &ids, &d));
	assert_int_equal(ids.n, 8);
	assert_memory_equal(ids.id, ((const int32_t[]){2, 100, 102, 103, 104, 105, 106, '?' - 27}), 8 * sizeof *ids.id);
	expect_ok(&d, moe_prompt_encode(t, m->spec, &chat, " <image> what colour is the circle?\n", 36, &ids, &d));
	assert_int_equal(ids.n, 8);
	expect_ok(&d, moe_prompt_encode(t, m->spec, &chat, "AM or PM", 8, &ids, &d));
	assert_int_equal(ids.id[3], 'A' - 27);
	expect_fail(&d, moe_prompt_encode(t, m->spec, &chat, "<image><image>is", 16, &ids, &d), MOE_EINPUT, "2 pictures");
	free(ids.id);
	moe_model_close(m);
	moe_tokenizer_free(t);
}

/* ---- export ---- */

static void test_export(void **state)
{
	static const struct { enum moe_dtype type; const char *name; } types[] = {{MOE_F32, "f32"}, {MOE_BF16, "bf16"}, {MOE_I8, "i8"}};
	char dir[300], to[300];
	struct moe_params params = {0};
	float *weights;
	struct moe_model *m;
	struct moe_diag d = {0};
	struct moe_export e = {.families = "share/families", .params = &params};

	(void)state;
	expect_ok(&d, create(keep(dir, "source"), "{" SMALL ", " WORDS "}", 5, &d));
	m = open_model(dir);
	expect_ok(&d, moe_params_make(&params, &weights, m, NULL, 0, &d));
	for (size_t i = 0; i < params.total; i++)
		weights[i] *= 1.5f;
	e.weights = weights;
	for (size_t i = 0; i < 3; i++) {
		struct moe_model *again;
		float want[48], row[48], x;
		e.type = types[i].type;
		expect_ok(&d, moe_export_model(keep(to, types[i].name), m, &e, &d));
		again = open_model(to);
		assert_int_equal(again->layer[0].attention.q.type, types[i].type);
		assert_int_equal(again->embed.type, types[i].type);
		assert_int_equal(again->layer[0].ffn.router.type, MOE_F32);
		assert_int_equal(again->conv[0].type, MOE_F32);
		for (size_t r = 0; r < 24; r++) {
			float largest = 0, step;
			moe_mat_row(want, &m->layer[1].ffn.expert[2].gate, r);
			moe_mat_row(row, &again->layer[1].ffn.expert[2].gate, r);
			for (size_t k = 0; k < 48; k++)
				largest = fmaxf(largest, fabsf(1.5f * want[k]));
			step = types[i].type == MOE_F32 ? 0 : types[i].type == MOE_BF16 ? largest / 256 : largest / 254 * 1.0001f;
			for (size_t k = 0; k < 48; k++)
				assert_true(fabsf(row[k] - 1.5f * want[k]) <= step);
		}
		assert_true(again->final_norm.weight[3] == 1.5f);
		x = ((const float *)m->conv[2].data)[17];
		assert_true(((const float *)again->conv[2].data)[17] == 1.5f * x);
		moe_model_close(again);
	}
	/* What fails leaves nothing behind. */
	e.type = MOE_F16;
	expect_fail(&d, moe_export_model(keep(to, "half"), m, &e, &d), MOE_EUSAGE, "not as F16");
	moe_diag_clear(&d);
	e.type = MOE_BF16;
	weights[params.p[5].offset] = NAN;
	expect_fail(&d, moe_export_model(keep(to, "nan"), m, &e, &d), MOE_EINPUT, "not finite");
	assert_int_equal(access(to, F_OK), -1);
	strcat(to, ".part");
	assert_int_equal(access(to, F_OK), -1);
	moe_diag_clear(&d);
	weights[params.p[5].offset] = 0;
	params.p[5].count--;
	expect_fail(&d, moe_export_model(keep(to, "short"), m, &e, &d), MOE_EUSAGE, params.p[5].name);
	moe_model_close(m);
	moe_params_free(&params);
	free(weights);
}

static int write_model(char **argv, int argc)
{
	json_error_t e;
	json_t *json = json_load_file(argv[1], 0, &e);
	struct moe_diag d = {0};

	if (!json)
		fprintf(stderr, "%s: %s\n", argv[1], e.text);
	else if (moe_create_model(argv[2], json, argc > 3 ? strtoull(argv[3], NULL, 10) : 0, &d))
		fprintf(stderr, "%s\n", say(&d));
	json_decref(json);
	return !json || d.code;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused), cmocka_unit_test(test_initial_weights), cmocka_unit_test(test_dense_layers), cmocka_unit_test(test_seeds),
		cmocka_unit_test(test_tokenizer), cmocka_unit_test(test_export),
	};

	return argc > 2 ? write_model(argv, argc) : cmocka_run_group_tests(tests, NULL, scratch_remove);
}
