/* The router's formula and the experts against PyTorch, for each method that one layer chooses by: tests/golden/routing/NN-NAME holds the settings
 * (case.json), the weights, the input and what must come out. */
#include <jansson.h>
#include <math.h>

#include "format/safetensors.h"
#include "lib_data.h"
#include "nn/aux_router.h"
#include "model/layer.h"
#include "nn/depth.h"

enum { MAX_EXPERTS = 16 };

static const double norm_eps = 1e-5;

struct file {
	uint8_t *bytes;
	struct moe_header h;
};

struct routing_case {
	const char *name;
	json_t *doc, *settings;
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

static struct moe_pools pools(const struct routing_case *c)
{
	json_t *list = json_object_get(c->settings, "pools"), *pool, *id;
	struct moe_pools p = {.n = json_array_size(list)};
	size_t i, j;

	json_array_foreach(list, i, pool) {
		p.size[i] = (int64_t)json_array_size(pool);
		json_array_foreach(pool, j, id)
			p.of[json_integer_value(id)] = (uint8_t)i;
	}
	return p;
}

static struct moe_router_settings settings(const struct routing_case *c)
{
	json_t *s = c->settings, *scale = json_object_get(s, "scale"), *groups = json_object_get(s, "groups");

	return (struct moe_router_settings){
		.experts = json_integer_value(json_object_get(s, "E")), .top_k = json_integer_value(json_object_get(s, "top_k")),
		.score = says(c, "score", "sigmoid") ? MOE_SCORE_SIGMOID : MOE_SCORE_SOFTMAX, .renormalise = json_is_true(json_object_get(s, "renormalise")),
		.choice_bias = json_is_true(json_object_get(s, "bias")), .groups = groups ? json_integer_value(groups) : 1,
		.top_groups = groups ? json_integer_value(json_object_get(s, "groups_kept")) : 1, .group_score = MOE_GROUP_TOP2,
		.scale = scale ? json_number_value(scale) : 1, .chooses = says(c, "chooser", "expert") ? MOE_CHOICE_EXPERT : MOE_CHOICE_TOKEN,
		.capacity = json_number_value(json_object_get(s, "capacity_factor")), .pools = pools(c),
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

/* What router and experts read of rows x, and what the experts' output is added to. */
static void set_rows(const struct routing_case *c, const float *x, size_t rows, size_t hidden, const struct moe_ffn_weights *w, float *normed, float *y)
{
	bool residual = tensor(&c->input, "hidden");

	if (residual)
		memcpy(y, x, rows * hidden * sizeof *y);
	if (residual && !w->post)
		moe_norm_forward(normed, hidden, x, hidden, &w->norm, rows, hidden, (float)norm_eps);
	else
		memcpy(normed, x, rows * hidden * sizeof *normed);
}

/* What the auxiliary routers say, to a. */
static void predict(const struct routing_case *c, const struct moe_router_settings *s, const float *normed, size_t rows, float *a,
		    const struct moe_compute *work)
{
	struct moe_aux_weights w[MOE_N_MODALITIES];
	struct moe_diag d = {0};

	for (size_t m = 0; m < s->pools.n; m++) {
		char name[2][40];
		snprintf(name[0], sizeof name[0], "aux.%zu.fc1.weight", m);
		snprintf(name[1], sizeof name[1], "aux.%zu.fc2.weight", m);
		w[m] = (struct moe_aux_weights){mat(&c->init, name[0]), mat(&c->init, name[1])};
	}
	expect_ok(&d, moe_aux_predict(a, normed, rows, w, s, data(&c->input, "modality"), work, &d));
	expect_floats(c, "aux_logit", a, rows * (size_t)s->experts);
}

static void run_case(struct routing_case *c)
{
	struct moe_router_settings s = settings(c);
	const struct moe_tensor *t = tensor(&c->input, "normed") ? tensor(&c->input, "normed") : tensor(&c->input, "hidden");
	size_t rows = t->shape[0], hidden = t->shape[1], e = (size_t)s.experts, k = moe_router_width(&s);
	float *logit = calloc(rows * e, sizeof *logit), *choice = calloc(rows * e, sizeof *choice), *weight = calloc(rows * k, sizeof *weight);
	float *aux = calloc(rows * e, sizeof *aux), *y = calloc(rows * hidden, sizeof *y), *normed = calloc(rows * hidden, sizeof *normed), **row = calloc(rows, sizeof *row);
	int32_t *id = calloc(rows * k, sizeof *id);
	struct moe_mat router = mat(&c->init, "gate.weight");
	struct moe_expert_weights expert[MAX_EXPERTS];
	struct moe_ffn_weights w = {.expert = expert, .shared = glu(&c->init, "shared_experts"), .shared_gate = mat(&c->init, "shared_expert_gate.weight"),
				    .norm = {data(&c->init, "ffn_norm.weight"), NULL}, .post = says(c, "form", "post"), .eps = (float)norm_eps};
	struct moe_span span = {.n = rows, .x = y};
	struct moe_batch b = {.rows = rows, .hidden = hidden, .span = &span, .spans = 1};
	struct moe_arena scratch = {0};
	struct moe_compute work = {&scratch, NULL, NULL};
	struct moe_router_choice out = {id, weight, choice};
	struct moe_router_rows in = {.rows = rows, .logit = logit, .choice_bias = data(&c->init, "gate.choice_bias"), .noise = data(&c->want, "noise"),
				     .modality = data(&c->input, "modality")};
	struct moe_diag d = {0};

	if (!w.shared.gate.data)
		w.shared = glu(&c->init, "shared_expert");
	for (int i = 0; i < (int)e; i++) {
		char prefix[32];
		snprintf(prefix, sizeof prefix, "experts.%d", i);
		expert[i] = glu(&c->init, prefix);
	}
	set_rows(c, (const float *)(const void *)t->data, rows, hidden, &w, normed, y);
	for (size_t r = 0; r < rows; r++)
		row[r] = normed + r * hidden;
	moe_matmul(logit, e, normed, hidden, rows, &router, NULL);
	expect_ok(&d, moe_router_mask(logit, rows, &s, in.modality, NULL, &d));
	expect_floats(c, "router_logit", logit, rows * e);
	if (tensor(&c->want, "predicted"))
		predict(c, &s, normed, rows, aux, &work);
	expect_ok(&d, tensor(&c->want, "predicted") ? moe_router_choose_predicted(&out, &in, aux, NULL, &s, &scratch, &d)
		    : s.chooses == MOE_CHOICE_EXPERT ? moe_router_choose_rows(&out, &in, &s, &scratch, &d) : moe_router_choose(&out, &in, &s, &scratch, &d));
	assert_memory_equal(id, data(&c->want, "expert_id"), rows * k * sizeof *id);
	expect_floats(c, "weight", weight, rows * k);
	if (tensor(&c->want, "choice"))
		expect_floats(c, "choice", choice, rows * e);
	expect_ok(&d, moe_experts_forward(&b, row, id, weight, k, &w, e, &work, &d));
	expect_floats(c, "y", y, rows * hidden);
	moe_arena_free(&scratch);
	free(logit);
	free(choice);
	free(aux);
	free(weight);
	free(y);
	free(normed);
	free(row);
	free(id);
}

static void open_case(struct routing_case *c, const char *name)
{
	char path[200];

	*c = (struct routing_case){.name = name};
	snprintf(path, sizeof path, "tests/golden/routing/%s/case.json", name);
	c->doc = json_load_file(path, 0, NULL);
	assert_non_null(c->doc);
	c->settings = json_object_get(c->doc, "settings");
	open_file(&c->init, name, "init");
	open_file(&c->input, name, "input");
	open_file(&c->want, name, "want");
}

static void close_case(struct routing_case *c)
{
	close_file(&c->init);
	close_file(&c->input);
	close_file(&c->want);
	json_decref(c->doc);
}

static void test_methods(void **state)
{
	static const char *const names[] = {"01-softmax-top2", "02-softmax-renorm-losses", "03-top1", "04-sigmoid-bias", "05-groups", "06-shared-plain",
					    "07-shared-gated", "08-expert-choice-softmax", "09-moma-pre", "10-moma-post", "11-pools-token", "13-aux-router",
					    "14-gumbel-sigmoid", "19-three-pools"};

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct routing_case c;
		open_case(&c, names[i]);
		run_case(&c);
		close_case(&c);
	}
}

/* The rows that a layer takes; with equal logits the first ones. */
static void test_depth(void **state)
{
	struct moe_arena scratch = {0};
	struct moe_diag d = {0};
	struct routing_case c;
	struct moe_mat w;
	uint8_t taken[64];
	float logit[64];
	size_t rows;

	(void)state;
	open_case(&c, "12-depth");
	w = mat(&c.init, "depth.weight");
	rows = tensor(&c.input, "hidden")->shape[0];
	moe_matmul(logit, 1, data(&c.input, "hidden"), w.cols, rows, &w, NULL);
	expect_floats(&c, "depth_logit", logit, rows);
	expect_ok(&d, moe_depth_choose(taken, logit, rows, json_number_value(json_object_get(c.settings, "depth_capacity")), &scratch, &d));
	assert_memory_equal(taken, data(&c.want, "depth"), rows);
	close_case(&c);
	expect_ok(&d, moe_depth_choose(taken, (const float[]){0, -0.0f, 1, 0, -1, 0}, 6, 0.5, &scratch, &d));
	assert_memory_equal(taken, ((const uint8_t[]){1, 1, 1, 0, 0, 0}), 6);
	assert_int_equal(moe_depth_choose(taken, (const float[]){0, NAN}, 2, 0.5, &scratch, &d), MOE_EINPUT);
	assert_int_equal(d.row, 2);
	moe_arena_free(&scratch);
}

/* A layer that only some rows take, from attention to its end. */
static void test_depth_layer(void **state)
{
	struct routing_case c;
	struct moe_expert_weights expert[MAX_EXPERTS];
	struct moe_layer layer = {.ffn = {.expert = expert}};
	struct moe_spec spec = {.norm_eps = norm_eps, .attention = {.heads = 2, .kv_heads = 2, .rope = {.axes = 1, .theta = 100, .factor = 1}}};
	struct moe_model m = {.spec = &spec, .layer = &layer, .choosing = MOE_CHOOSING_BATCH};
	struct moe_arena scratch = {0};
	struct moe_cache cache = {0};
	struct moe_cache_pool blocks;
	struct moe_compute work = {&scratch, NULL, &blocks};
	struct moe_span span;
	struct moe_batch b;
	struct moe_routed r;
	struct moe_diag d = {0};
	size_t rows, hidden;
	float x[64 * 32];

	(void)state;
	open_case(&c, "12-depth");
	rows = tensor(&c.input, "hidden")->shape[0];
	hidden = tensor(&c.input, "hidden")->shape[1];
	spec.n_layers = 1;
	spec.hidden = (int64_t)hidden;
	spec.attention.head_dim = (int64_t)hidden / 2;
	spec.router = settings(&c);
	spec.depth.layers = (struct moe_ints){.n = 1};
	spec.depth.capacity = json_number_value(json_object_get(c.settings, "depth_capacity"));
	layer.attention = (struct moe_attention_weights){.norm = {data(&c.init, "attn_norm.weight"), NULL}, .q = mat(&c.init, "self_attn.q_proj.weight"),
							 .k = mat(&c.init, "self_attn.k_proj.weight"), .v = mat(&c.init, "self_attn.v_proj.weight"),
							 .o = mat(&c.init, "self_attn.o_proj.weight")};
	layer.ffn.norm.weight = data(&c.init, "ffn_norm.weight");
	layer.ffn.router = mat(&c.init, "gate.weight");
	layer.depth = mat(&c.init, "depth.weight");
	for (int i = 0; i < (int)spec.router.experts; i++) {
		char prefix[32];
		snprintf(prefix, sizeof prefix, "experts.%d", i);
		expert[i] = glu(&c.init, prefix);
	}
	blocks = (struct moe_cache_pool){.kv_heads = 2, .dim = hidden / 2};
	memcpy(x, data(&c.input, "hidden"), rows * hidden * sizeof *x);
	span = (struct moe_span){.n = rows, .x = x, .cache = &cache};
	b = (struct moe_batch){.rows = rows, .hidden = hidden, .axes = 1, .position = data(&c.input, "position"), .span = &span, .spans = 1,
			       .image = moe_arena_zero(&scratch, rows, sizeof(int32_t)), .modality = (uint8_t *)(uintptr_t)data(&c.input, "modality")};
	expect_ok(&d, moe_layer_attend(&m, 0, &b, &work, &d));
	expect_floats(&c, "attend", x, rows * hidden);
	expect_floats(&c, "entry", b.depth.entry, rows * hidden);
	expect_floats(&c, "depth_logit", b.depth.logit, rows);
	assert_memory_equal(b.depth.taken, data(&c.want, "depth"), rows);
	assert_true(cache.n_rows == rows && cache.n_slots == moe_router_quota(rows, spec.depth.capacity, 1));
	expect_ok(&d, moe_layer_route(&m, 0, &b, NULL, &r, &work, &d));
	expect_floats(&c, "normed", r.normed[0], rows * hidden);
	expect_floats(&c, "router_logit", r.logit, rows * (size_t)spec.router.experts);
	expect_floats(&c, "choice", r.choice, rows * (size_t)spec.router.experts);
	assert_memory_equal(r.expert_id, data(&c.want, "expert_id"), rows * r.top_k * sizeof *r.expert_id);
	expect_floats(&c, "weight", r.weight, rows * r.top_k);
	expect_ok(&d, moe_layer_expert(&m, 0, &b, &r, &work, &d));
	expect_floats(&c, "y", x, rows * hidden);
	assert_false(b.depth.on);
	m.choosing = MOE_CHOOSING_NOBODY;
	assert_int_equal(moe_layer_attend(&m, 0, &b, &work, &d), MOE_EMATCH);
	assert_non_null(strstr(d.text, "moe-train --aux"));
	moe_cache_free(&cache, &blocks);
	moe_cache_pool_free(&blocks);
	moe_arena_free(&scratch);
	close_case(&c);
}

static void test_quota(void **state)
{
	(void)state;
	assert_int_equal(moe_router_quota(0, 2, 8), 0);
	assert_int_equal(moe_router_quota(1, 1, 8), 1);
	assert_int_equal(moe_router_quota(10, 1, 4), 3);        /* 2.5 is rounded up */
	assert_int_equal(moe_router_quota(10, 0.25, 1), 3);
	assert_int_equal(moe_router_quota(9, 1, 4), 2);
	assert_int_equal(moe_router_quota(3, 8, 2), 3);
}

/* Five rows, two experts, each of which takes two: the first rows of equal score; a row that skips takes no place; forced ones take every row, dropped ones
 * none. */
static void test_expert_choice(void **state)
{
	static const float logit[10] = {1, 0, 1, 3, 1, 2, 9, 9, 0, 2};
	static const uint8_t taken[5] = {1, 1, 1, 0, 1};
	static const bool drop[2] = {true}, force[2] = {[1] = true};
	struct moe_router_settings s = {.experts = 2, .score = MOE_SCORE_SIGMOID, .groups = 1, .top_groups = 1, .scale = 1, .chooses = MOE_CHOICE_EXPERT, .capacity = 1};
	struct moe_router_rows in = {.rows = 5, .logit = logit, .taken = taken};
	struct moe_arena scratch = {0};
	struct moe_diag d = {0};
	int32_t id[10];
	float weight[10];
	struct moe_router_choice out = {id, weight, NULL};

	(void)state;
	expect_ok(&d, moe_router_choose_rows(&out, &in, &s, &scratch, &d));
	assert_memory_equal(id, ((const int32_t[]){0, -1, 1, 0, 1, -1, -1, -1, -1, -1}), sizeof id);
	assert_true(weight[9] == 0 && weight[1] == 0 && weight[2] > weight[3]);
	in.what_if = &(struct moe_what_if){.drop = drop, .force = force};
	expect_ok(&d, moe_router_choose_rows(&out, &in, &s, &scratch, &d));
	assert_memory_equal(id, ((const int32_t[]){1, -1, 1, -1, 1, -1, -1, -1, 1, -1}), sizeof id);
	moe_arena_free(&scratch);
}

/* A bias of the choice for each modality: pictures go where theirs points, all others where the last one does; weights stay. */
static void test_biases_by_modality(void **state)
{
	static const float logit[6] = {2, 1, 0, 2, 1, 0}, bias[6] = {0, 0, 0, -1, 0, 1};
	static const uint8_t modality[3] = {MOE_TEXT, MOE_IMAGE, MOE_AUDIO};
	struct moe_router_settings s = {.experts = 3, .top_k = 1, .score = MOE_SCORE_SIGMOID, .choice_bias = true, .choice_biases = 2, .groups = 1, .top_groups = 1, .scale = 1};
	struct moe_arena scratch = {0};
	struct moe_diag d = {0};
	float z[9], weight[3];
	int32_t id[3];

	(void)state;
	for (size_t i = 0; i < 9; i++)
		z[i] = logit[i % 3];
	expect_ok(&d, moe_router_choose(&(struct moe_router_choice){id, weight, NULL},
					&(struct moe_router_rows){.rows = 3, .logit = z, .choice_bias = bias, .modality = modality}, &s, &scratch, &d));
	assert_true(id[0] == 0 && id[1] == 2 && id[2] == 2);
	assert_float_equal(weight[1], 0.5, 1e-6);
	moe_arena_free(&scratch);
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
	struct moe_router_choice out = {id, weight, NULL};
	struct moe_router_rows in = {.rows = 1, .logit = logit};

	(void)state;
	expect_ok(&d, moe_router_choose(&out, &in, &s, &scratch, &d));
	assert_true(id[0] == 0 && id[1] == 1);
	in.what_if = &(struct moe_what_if){.drop = drop};
	expect_ok(&d, moe_router_choose(&out, &in, &s, &scratch, &d));
	assert_true(id[0] == 2 && id[1] == 3);
	in.what_if = &(struct moe_what_if){.force = force};
	expect_ok(&d, moe_router_choose(&out, &in, &s, &scratch, &d));
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

	expect_ok(&d, moe_router_choose(&(struct moe_router_choice){id, weight, NULL},
					&(struct moe_router_rows){.rows = 1, .logit = logit, .what_if = by_modality, .modality = &modality}, &s, &scratch, &d));
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
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_methods), cmocka_unit_test(test_depth), cmocka_unit_test(test_depth_layer), cmocka_unit_test(test_quota),
		cmocka_unit_test(test_expert_choice),
		cmocka_unit_test(test_biases_by_modality), cmocka_unit_test(test_groups_what_if), cmocka_unit_test(test_what_if),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
