/* The router's formula and the experts against PyTorch, for each method that one layer chooses by: tests/golden/routing/NN-NAME holds the settings
 * (case.json), the weights, the input and what must come out. */
#include <jansson.h>
#include <math.h>

#include "format/safetensors.h"
#include "lib_data.h"
#include "nn/experts.h"
#include "nn/router.h"

enum { MAX_EXPERTS = 16 };

struct file {
	uint8_t *bytes;
	struct moe_header h;
};

struct routing_case {
	const char *name;
	json_t *settings;
	struct file init, input, want;
};

static void open_file(struct file *f, const char *folder, const char *name)
{
	char path[200];
	struct moe_diag d = {0};
	size_t n;

	snprintf(path, sizeof path, "tests/golden/routing/%s/%s.safetensors", folder, name);
	f->bytes = read_bytes(path, &n);
	memset(&f->h, 0, sizeof f->h);
	expect_ok(&d, moe_safetensors_parse(&f->h, f->bytes, n, &d));
}

static void close_file(struct file *f)
{
	moe_header_free(&f->h);
	free(f->bytes);
}

static const struct moe_tensor *tensor(const struct file *f, const char *name)
{
	for (size_t i = 0; i < f->h.n_tensors; i++)
		if (!strcmp(f->h.tensor[i].name, name))
			return &f->h.tensor[i];
	return NULL;
}

static const void *data(const struct file *f, const char *name)
{
	const struct moe_tensor *t = tensor(f, name);

	return t ? t->data : NULL;
}

static struct moe_mat mat(const struct file *f, const char *name)
{
	const struct moe_tensor *t = tensor(f, name);

	if (!t)
		return (struct moe_mat){0};
	return (struct moe_mat){.data = t->data, .type = MOE_F32, .rows = t->shape[0], .cols = t->shape[1], .stride = t->shape[1]};
}

static struct moe_expert_weights glu(const struct file *f, const char *prefix)
{
	char gate[64], up[64], down[64];

	snprintf(gate, sizeof gate, "%s.gate_proj.weight", prefix);
	snprintf(up, sizeof up, "%s.up_proj.weight", prefix);
	snprintf(down, sizeof down, "%s.down_proj.weight", prefix);
	return (struct moe_expert_weights){mat(f, gate), mat(f, up), mat(f, down)};
}

static bool says(const struct routing_case *c, const char *key, const char *value)
{
	const char *text = json_string_value(json_object_get(c->settings, key));

	return text && !strcmp(text, value);
}

static struct moe_router_settings settings(const struct routing_case *c)
{
	json_t *s = c->settings, *scale = json_object_get(s, "scale"), *groups = json_object_get(s, "groups");

	return (struct moe_router_settings){
		.experts = json_integer_value(json_object_get(s, "E")), .top_k = json_integer_value(json_object_get(s, "top_k")),
		.score = says(c, "score", "sigmoid") ? MOE_SCORE_SIGMOID : MOE_SCORE_SOFTMAX, .renormalise = json_is_true(json_object_get(s, "renormalise")),
		.choice_bias = json_is_true(json_object_get(s, "bias")), .groups = groups ? json_integer_value(groups) : 1,
		.top_groups = groups ? json_integer_value(json_object_get(s, "groups_kept")) : 1, .group_score = MOE_GROUP_TOP2,
		.scale = scale ? json_number_value(scale) : 1,
	};
}

static void expect_floats(const struct routing_case *c, const char *name, const float *have, size_t n)
{
	const float *want = data(&c->want, name);
	double gap = 0, size = 0;

	assert_non_null(want);
	for (size_t i = 0; i < n; i++) {
		if (isinf(want[i]) || isinf(have[i])) {
			assert_true(want[i] == have[i]);
			continue;
		}
		gap += pow((double)have[i] - (double)want[i], 2);
		size += pow((double)want[i], 2);
	}
	if (!(sqrt(gap / size) <= 2e-6))
		fail_msg("%s: %s: relative difference %g", c->name, name, sqrt(gap / size));
}

static void run_case(struct routing_case *c)
{
	struct moe_router_settings s = settings(c);
	size_t rows = tensor(&c->input, "normed")->shape[0], hidden = tensor(&c->input, "normed")->shape[1], e = (size_t)s.experts, k = (size_t)s.top_k;
	const float *x = data(&c->input, "normed"), *bias = data(&c->init, "gate.choice_bias");
	float *logit = calloc(rows * e, sizeof *logit), *choice = calloc(rows * e, sizeof *choice), *weight = calloc(rows * k, sizeof *weight);
	float *y = calloc(rows * hidden, sizeof *y), **normed = calloc(rows, sizeof *normed);
	int32_t *id = calloc(rows * k, sizeof *id);
	struct moe_mat router = mat(&c->init, "gate.weight");
	struct moe_expert_weights expert[MAX_EXPERTS];
	struct moe_ffn_weights w = {.expert = expert, .shared = glu(&c->init, "shared_experts"), .shared_gate = mat(&c->init, "shared_expert_gate.weight")};
	struct moe_span span = {.n = rows, .x = y};
	struct moe_batch b = {.rows = rows, .hidden = hidden, .span = &span, .spans = 1};
	struct moe_arena scratch = {0};
	struct moe_compute work = {&scratch, NULL, NULL};
	struct moe_diag d = {0};

	if (!w.shared.gate.data)
		w.shared = glu(&c->init, "shared_expert");
	for (int i = 0; i < (int)e; i++) {
		char prefix[32];
		snprintf(prefix, sizeof prefix, "experts.%d", i);
		expert[i] = glu(&c->init, prefix);
	}
	for (size_t r = 0; r < rows; r++)
		normed[r] = (float *)(uintptr_t)(x + r * hidden);
	moe_matmul(logit, e, x, hidden, rows, &router, NULL);
	expect_floats(c, "router_logit", logit, rows * e);
	expect_ok(&d, moe_router_choose(logit, rows, &s, bias, NULL, NULL, &scratch, id, weight, choice, &d));
	assert_memory_equal(id, data(&c->want, "expert_id"), rows * k * sizeof *id);
	expect_floats(c, "weight", weight, rows * k);
	if (tensor(&c->want, "choice"))
		expect_floats(c, "choice", choice, rows * e);
	expect_ok(&d, moe_experts_forward(&b, normed, id, weight, k, &w, e, &work, &d));
	expect_floats(c, "y", y, rows * hidden);
	moe_arena_free(&scratch);
	free(logit);
	free(choice);
	free(weight);
	free(y);
	free(normed);
	free(id);
}

static void test_methods(void **state)
{
	static const char *const names[] = {"01-softmax-top2", "02-softmax-renorm-losses", "03-top1", "04-sigmoid-bias", "05-groups", "06-shared-plain",
					    "07-shared-gated"};

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct routing_case c = {.name = names[i]};
		char path[200];
		json_t *doc;
		snprintf(path, sizeof path, "tests/golden/routing/%s/case.json", names[i]);
		doc = json_load_file(path, 0, NULL);
		assert_non_null(doc);
		c.settings = json_object_get(doc, "settings");
		open_file(&c.init, names[i], "init");
		open_file(&c.input, names[i], "input");
		open_file(&c.want, names[i], "want");
		run_case(&c);
		close_file(&c.init);
		close_file(&c.input);
		close_file(&c.want);
		json_decref(doc);
	}
}

/* What-if settings under groups: a forced expert's group stays, a dropped expert does not lift its group. */
static void test_groups_what_if(void **state)
{
	static const float logit[6] = {5, 4, 3, 3, 0, 0};
	struct moe_router_settings s = {.experts = 6, .top_k = 2, .score = MOE_SCORE_SIGMOID, .groups = 3, .top_groups = 1, .scale = 1};
	bool drop[6] = {true, true}, force[6] = {[5] = true};
	struct moe_arena scratch = {0};
	struct moe_diag d = {0};
	int32_t id[2];
	float weight[2];

	(void)state;
	expect_ok(&d, moe_router_choose(logit, 1, &s, NULL, NULL, NULL, &scratch, id, weight, NULL, &d));
	assert_true(id[0] == 0 && id[1] == 1);
	expect_ok(&d, moe_router_choose(logit, 1, &s, NULL, &(struct moe_what_if){.drop = drop}, NULL, &scratch, id, weight, NULL, &d));
	assert_true(id[0] == 2 && id[1] == 3);
	expect_ok(&d, moe_router_choose(logit, 1, &s, NULL, &(struct moe_what_if){.force = force}, NULL, &scratch, id, weight, NULL, &d));
	assert_true(id[0] == 4 && id[1] == 5);          /* of equal weight: the lower id first */
	moe_arena_free(&scratch);
}

/* One row with scores 0.4, 0.3, 0.2 and 0.1 goes to two of four experts; `w` is for text, the row is of `modality`. */
static void expect_choice(struct moe_what_if w, uint8_t modality, bool renormalise, int32_t id0, double w0, int32_t id1, double w1)
{
	static const float logit[4] = {-2.302585f, -1.2039728f, -0.9162907f, -1.609438f};       /* log of 0.1, 0.3, 0.4, 0.2 */
	struct moe_router_settings s = {.experts = 4, .top_k = 2, .score = MOE_SCORE_SOFTMAX, .groups = 1, .top_groups = 1, .scale = 1, .renormalise = renormalise};
	struct moe_what_if by_modality[MOE_N_MODALITIES] = {[MOE_TEXT] = w};
	struct moe_arena scratch = {0};
	struct moe_diag d = {0};
	int32_t id[2];
	float weight[2];

	expect_ok(&d, moe_router_choose(logit, 1, &s, NULL, by_modality, &modality, &scratch, id, weight, NULL, &d));
	assert_int_equal(id[0], id0);
	assert_int_equal(id[1], id1);
	assert_float_equal(weight[0], w0, 1e-6);
	assert_float_equal(weight[1], w1, 1e-6);
	moe_arena_free(&scratch);
}

static void test_what_if(void **state)
{
	static const bool third[4] = {[2] = true}, best[4] = {[1] = true, [2] = true};
	static const float bias[4] = {5};
	static const int32_t swap[4] = {2, 1, 0, 3};

	(void)state;
	expect_choice((struct moe_what_if){0}, MOE_TEXT, true, 2, 4.0 / 7, 1, 3.0 / 7);
	expect_choice((struct moe_what_if){.drop = third}, MOE_TEXT, true, 1, 0.6, 3, 0.4);
	expect_choice((struct moe_what_if){.drop = third}, MOE_IMAGE, true, 2, 4.0 / 7, 1, 3.0 / 7);    /* it is for text alone */
	expect_choice((struct moe_what_if){.mute = third}, MOE_TEXT, true, 1, 1, -1, 0);
	expect_choice((struct moe_what_if){.mute = third}, MOE_TEXT, false, 1, 0.7, -1, 0);      /* the weight of both */
	expect_choice((struct moe_what_if){.mute = best}, MOE_TEXT, true, -1, 0, -1, 0);
	expect_choice((struct moe_what_if){.drop = third, .mute = best}, MOE_TEXT, true, 3, 1, -1, 0);  /* first who is chosen, then who is left out */
	expect_choice((struct moe_what_if){.swap = swap}, MOE_TEXT, true, 0, 4.0 / 7, 1, 3.0 / 7);
	expect_choice((struct moe_what_if){.mute = third, .swap = swap}, MOE_TEXT, true, 1, 1, -1, 0);
	expect_choice((struct moe_what_if){.bias = bias}, MOE_TEXT, true, 0, 0.1 * 148.4131591 / (0.1 * 148.4131591 + 0.4), 2, 0.4 / (0.1 * 148.4131591 + 0.4));
	expect_choice((struct moe_what_if){.temperature = 0.5f}, MOE_TEXT, true, 2, 0.16 / 0.25, 1, 0.09 / 0.25);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_methods), cmocka_unit_test(test_groups_what_if), cmocka_unit_test(test_what_if)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
