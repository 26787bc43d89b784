/* Every layer's backward pass against differences of its forward pass, in f32: along the gradient itself, where a step of the parameters changes the loss most. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "grad/attention_grad.h"
#include "grad/aux_grad.h"
#include "grad/depth_grad.h"
#include "grad/experts_grad.h"
#include "grad/head_grad.h"
#include "grad/layer_grad.h"
#include "grad/router_grad.h"
#include "grad/stem_grad.h"
#include "lib_data.h"

static uint64_t drawn;
static float draw(void) { return (float)(2 * moe_random_unit(11, 3, drawn++) - 1); }

static float *numbers(size_t n)
{
	float *x = moe_calloc(n + 16, sizeof *x);

	assert_non_null(x);
	for (size_t i = 0; i < n; i++)
		x[i] = draw();
	return x;
}

static float *zeros(size_t n)
{
	float *x = moe_calloc(n + 16, sizeof *x);

	assert_non_null(x);
	return x;
}

/* The sum of c · y, which has the gradient c. */
static double against(const float *y, const float *c, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double)y[i] * (double)c[i];
	return sum;
}

/* The slope of loss along the gradient, measured with steps of about `step` of what x measures, over its square. */
static void check(const char *what, float *x, const float *g, size_t n, double (*loss)(void *), void *arg, double step)
{
	double square = against(g, g, n), size = against(x, x, n), h = step * sqrt(size / square), up, down, ratio;
	float *was = numbers(n);

	assert_true(square > 0);
	memcpy(was, x, n * sizeof *x);
	for (size_t i = 0; i < n; i++)
		x[i] = (float)((double)was[i] + h * (double)g[i]);
	up = loss(arg);
	for (size_t i = 0; i < n; i++)
		x[i] = (float)((double)was[i] - h * (double)g[i]);
	down = loss(arg);
	memcpy(x, was, n * sizeof *x);
	free(was);
	ratio = (up - down) / (2 * h * square);
	if (!(fabs(ratio - 1) < 3e-3))
		fail_msg("%s: measured over computed %.6f", what, ratio);
}

/* ---- attention ---- */

struct attention {
	struct moe_heads heads;
	struct moe_packed_rows rows;
	float *qkv, *out, *c;
	void *kept, *scratch;
	size_t n;
};

static double attention_loss(void *arg)
{
	struct attention *a = arg;
	size_t width = a->heads.heads * a->heads.dim;

	moe_attention_keep(&a->heads, &a->rows, a->out, a->qkv, a->kept, a->scratch);
	return against(a->out, a->c, a->n * width);
}

static void try_attention(size_t n_image, size_t n_text, const uint32_t *segment, size_t n_segments, size_t kv_heads, size_t dim, bool causal)
{
	struct attention a = {.heads = {MOE_UNIT_F32, 4, kv_heads, dim, causal}, .rows = {0, n_image, n_text, segment, n_segments, 0}, .n = n_image + n_text};
	size_t width = moe_heads_width(&a.heads);
	float *g;

	for (size_t i = 0; i < n_segments; i++)
		a.rows.longest = segment[i + 1] - segment[i] > a.rows.longest ? segment[i + 1] - segment[i] : a.rows.longest;
	a.qkv = numbers(a.n * width);
	a.out = zeros(a.n * 4 * dim);
	a.c = numbers(a.n * 4 * dim);
	a.kept = zeros(moe_attention_kept(&a.heads, &a.rows));
	a.scratch = zeros(moe_attention_scratch(&a.heads, &a.rows) / 4);
	g = zeros(a.n * width);
	attention_loss(&a);
	moe_attention_backward(&a.heads, &a.rows, g, a.c, a.qkv, a.kept, a.scratch);
	check("attention", a.qkv, g, a.n * width, attention_loss, &a, 1e-2);
	free(a.qkv);
	free(a.out);
	free(a.c);
	free(a.kept);
	free(a.scratch);
	free(g);
}

static void test_attention(void **state)
{
	(void)state;
	try_attention(6, 8, (const uint32_t[]){0, 1, 4, 8}, 3, 4, 8, false);
	try_attention(6, 8, (const uint32_t[]){0, 1, 4, 8}, 3, 2, 6, false);
	try_attention(0, 37, (const uint32_t[]){0, 20, 37}, 2, 1, 16, false);
	try_attention(19, 0, (const uint32_t[]){0}, 0, 4, 4, false);
	try_attention(7, 8, (const uint32_t[]){0, 1, 4, 8}, 3, 2, 6, true);
	try_attention(19, 0, (const uint32_t[]){0}, 0, 4, 4, true);
}

/* A segment's output is the same whatever stands in the others: what they hold never passes. */
static void test_segments_apart(void **state)
{
	static const uint32_t both[] = {0, 3, 8};
	struct moe_heads h = {MOE_UNIT_F32, 2, 2, 4, false};
	struct moe_packed_rows rows = {0, 5, 8, both, 2, 5};
	size_t width = moe_heads_width(&h), n = 13;
	float *qkv = numbers(n * width), *one = zeros(n * 8), *two = zeros(n * 8);
	void *kept = zeros(moe_attention_kept(&h, &rows)), *scratch = zeros(moe_attention_scratch(&h, &rows) / 4);

	(void)state;
	moe_attention_keep(&h, &rows, one, qkv, kept, scratch);
	for (size_t i = 8 * width; i < n * width; i++)
		qkv[i] = draw();
	moe_attention_keep(&h, &rows, two, qkv, kept, scratch);
	assert_memory_equal(one, two, 8 * 8 * sizeof *one);
	assert_memory_not_equal(one + 8 * 8, two + 8 * 8, 5 * 8 * sizeof *one);
	free(qkv);
	free(one);
	free(two);
	free(kept);
	free(scratch);
}

/* A row of text sees itself, the rows before it in its segment and the picture, a patch its whole picture or what of it is not behind it, and nothing else: whose
 * output changes when the key and value of a row do? */
static void try_who_sees_whom(bool causal)
{
	static const uint32_t both[] = {0, 3, 8};
	enum { IMAGE = 5, ALL = 13, OUT = 8 };
	struct moe_heads h = {MOE_UNIT_F32, 2, 2, 4, causal};
	struct moe_packed_rows rows = {0, IMAGE, ALL - IMAGE, both, 2, 5};
	size_t width = moe_heads_width(&h);
	float *qkv = numbers(ALL * width), *before = zeros(ALL * OUT), *after = zeros(ALL * OUT);
	void *kept = zeros(moe_attention_kept(&h, &rows)), *scratch = zeros(moe_attention_scratch(&h, &rows) / 4);

	moe_attention_keep(&h, &rows, before, qkv, kept, scratch);
	for (size_t seen = 0; seen < ALL; seen++) {
		float *kv = qkv + seen * width + OUT, was[16];
		memcpy(was, kv, sizeof was);
		for (size_t i = 0; i < 16; i++)
			kv[i] += 1;
		moe_attention_keep(&h, &rows, after, qkv, kept, scratch);
		memcpy(kv, was, sizeof was);
		for (size_t r = 0; r < ALL; r++) {
			size_t end = seen < IMAGE + both[1] ? IMAGE + both[1] : ALL;
			bool sees = (seen < IMAGE && !(causal && r < seen)) || (r >= seen && r < end);
			if (sees != !!memcmp(before + r * OUT, after + r * OUT, OUT * sizeof *after))
				fail_msg("row %zu %s row %zu", r, sees ? "does not see" : "sees", seen);
		}
	}
	free(qkv);
	free(before);
	free(after);
	free(kept);
	free(scratch);
}

static void test_who_sees_whom(void **state)
{
	(void)state;
	try_who_sees_whom(false);
	try_who_sees_whom(true);
}

/* ---- the two halves of a layer ---- */

enum { L_HIDDEN = 12, L_HEADS = 2, L_DIM = 6, L_WIDTH = 10, L_ROWS = 13, L_PAIRS = 3 };

struct layer {
	struct moe_arena memory, scratch;
	struct moe_dense qkv, o;
	struct moe_expert_dense unit;
	struct moe_attend attend;
	struct moe_attend_kept kept;
	struct moe_gated gated;
	struct moe_gated_kept gated_kept;
	struct moe_gated_rows rows;
	struct moe_spans spans;
	float *norm1, *norm2, *wqkv, *wo, *gate_up, *down, *x, *y, *c, *pack;
};

static double layer_loss(void *arg)
{
	struct layer *l = arg;
	struct moe_diag d = {0};
	struct moe_dense *all[] = {&l->qkv, &l->o, &l->unit.gate_up, &l->unit.down};

	for (size_t i = 0; i < 4; i++)
		moe_dense_pack(all[i], l->pack);
	expect_ok(&d, moe_attend_keep(&l->attend, &l->kept, &l->spans, &l->scratch, &d));
	expect_ok(&d, moe_gated_keep(&l->gated, &l->gated_kept, &l->rows, l->y, l->kept.mid, &l->scratch, &d));
	return against(l->y, l->c, L_ROWS * L_HIDDEN);
}

static void make_layer(struct layer *l, const struct moe_rotation *rotation, const struct moe_spans *spans)
{
	struct moe_diag d = {0};

	l->norm1 = numbers(L_HIDDEN);
	l->norm2 = numbers(L_HIDDEN);
	l->wqkv = numbers(3 * L_HIDDEN * L_HIDDEN);
	l->wo = numbers(L_HIDDEN * L_HIDDEN);
	l->gate_up = numbers(2 * L_WIDTH * L_HIDDEN);
	l->down = numbers(L_HIDDEN * L_WIDTH);
	l->x = numbers(L_ROWS * L_HIDDEN);
	l->y = zeros(L_ROWS * L_HIDDEN);
	l->c = numbers(L_ROWS * L_HIDDEN);
	l->pack = zeros(3 * L_HIDDEN * (L_HIDDEN + 1));
	l->spans = *spans;
	l->kept.x = l->x;
	l->attend = (struct moe_attend){.heads = {MOE_UNIT_F32, L_HEADS, L_HEADS, L_DIM, false}, .eps = 1e-6f, .norm = l->norm1, .qkv = &l->qkv, .o = &l->o, .rotation = rotation};
	l->gated = (struct moe_gated){.eps = 1e-6f, .norm = l->norm2, .unit = &l->unit};
	assert_true(moe_dense_plan(&l->qkv, MOE_UNIT_F32, l->wqkv, 3 * L_HIDDEN, L_HIDDEN, &l->memory));
	assert_true(moe_dense_plan(&l->o, MOE_UNIT_F32, l->wo, L_HIDDEN, L_HIDDEN, &l->memory));
	assert_true(moe_dense_plan(&l->unit.gate_up, MOE_UNIT_F32, l->gate_up, 2 * L_WIDTH, L_HIDDEN, &l->memory));
	assert_true(moe_dense_plan(&l->unit.down, MOE_UNIT_F32, l->down, L_HIDDEN, L_WIDTH, &l->memory));
	assert_true(moe_attend_plan(&l->kept, &l->attend.heads, L_HIDDEN, &l->spans, &l->memory));
	assert_true(moe_gated_plan(&l->gated_kept, MOE_UNIT_F32, L_HIDDEN, L_WIDTH, L_ROWS, &l->memory));
	expect_ok(&d, moe_gated_rows_make(&l->rows, L_ROWS, &l->memory, &d));
}

/* Two sequences, the second a picture alone; with rotation, the rows' angles lie in another order. */
static void try_layer(bool turns)
{
	static const uint32_t segment[] = {0, 3}, none[] = {0}, row[L_ROWS] = {3, 1, 4, 0, 5, 9, 2, 6, 12, 11, 10, 8, 7};
	const struct moe_packed_rows span[] = {{0, 4, 3, segment, 1, 3}, {7, 6, 0, none, 0, 0}};
	const struct moe_rope_settings rope = {.axes = 1};
	struct moe_rotation rotation = {.rope = &rope, .pairs = L_PAIRS, .row = row};
	float *angle[3], *dx = zeros(L_ROWS * L_HIDDEN), *g[6];
	struct layer l = {0};
	struct moe_diag d = {0};

	for (size_t i = 0; i < 3; i++)
		angle[i] = zeros(L_ROWS * L_PAIRS);
	for (size_t i = 0; i < L_ROWS * L_PAIRS; i++) {
		float a = 3 * draw();
		angle[0][i] = cosf(a);
		angle[1][i] = sinf(a);
		angle[2][i] = -angle[1][i];
	}
	rotation.cosine = angle[0];
	rotation.sine = angle[1];
	rotation.minus = angle[2];
	make_layer(&l, turns ? &rotation : NULL, &(struct moe_spans){span, 2, L_ROWS});
	struct { const char *name; float *x; size_t n; } part[] = {
		{"first norm", l.norm1, L_HIDDEN}, {"queries, keys and values", l.wqkv, 3 * L_HIDDEN * L_HIDDEN}, {"o", l.wo, L_HIDDEN * L_HIDDEN},
		{"second norm", l.norm2, L_HIDDEN}, {"gate and up", l.gate_up, 2 * L_WIDTH * L_HIDDEN}, {"down", l.down, L_HIDDEN * L_WIDTH},
	};
	for (size_t i = 0; i < 6; i++)
		g[i] = zeros(part[i].n);
	layer_loss(&l);
	memcpy(dx, l.c, L_ROWS * L_HIDDEN * sizeof *dx);
	expect_ok(&d, moe_gated_backward(&l.gated, &l.gated_kept, &l.rows, dx, l.kept.mid, &(struct moe_gated_gradient){g[3], g[4], g[5]}, &l.scratch, &d));
	expect_ok(&d, moe_attend_backward(&l.attend, &l.kept, &l.spans, dx, &(struct moe_attend_gradient){g[0], g[1], g[2]}, &l.scratch, &d));
	assert_true(!l.scratch.now || l.scratch.used == 0);     /* all is given back */
	check("input", l.x, dx, L_ROWS * L_HIDDEN, layer_loss, &l, 1e-3);
	for (size_t i = 0; i < 6; i++)
		check(part[i].name, part[i].x, g[i], part[i].n, layer_loss, &l, 1e-3);
	for (size_t i = 0; i < 6; i++) {
		free(part[i].x);
		free(g[i]);
	}
	for (size_t i = 0; i < 3; i++)
		free(angle[i]);
	moe_arena_free(&l.memory);
	moe_arena_free(&l.scratch);
	free(l.x);
	free(l.y);
	free(l.c);
	free(l.pack);
	free(dx);
}

static void test_layer(void **state)
{
	(void)state;
	try_layer(false);
	try_layer(true);
}

/* ---- experts ---- */

enum { ROWS = 9, HIDDEN = 10, WIDTH = 6, EXPERTS = 3, K = 2 };

struct experts {
	struct moe_arena memory;
	struct moe_expert_dense dense[EXPERTS];
	struct moe_expert_pairs pairs;
	float *gate_up[EXPERTS], *down[EXPERTS], *h, *weight, *y, *c, *kept, *scratch, *pack;
};

static double experts_loss(void *arg)
{
	struct experts *x = arg;

	for (size_t e = 0; e < EXPERTS; e++) {
		moe_dense_pack(&x->dense[e].gate_up, x->pack);
		moe_dense_pack(&x->dense[e].down, x->pack);
	}
	memset(x->y, 0, ROWS * HIDDEN * sizeof *x->y);
	moe_experts_keep(x->dense, &x->pairs, x->y, x->h, x->weight, x->kept, x->scratch);
	return against(x->y, x->c, ROWS * HIDDEN);
}

static void test_experts(void **state)
{
	static const int32_t id[ROWS * K] = {0, 1, 1, 2, 2, 0, 1, -1, 0, 2, 2, 1, 0, 1, -1, -1, 1, 0};
	struct experts x = {0};
	float *dh = zeros(ROWS * HIDDEN), *dweight = zeros(ROWS * K), *dgate_up[EXPERTS], *ddown[EXPERTS];
	struct moe_diag d = {0};

	(void)state;
	x.h = numbers(ROWS * HIDDEN);
	x.weight = numbers(ROWS * K);
	x.y = zeros(ROWS * HIDDEN);
	x.c = numbers(ROWS * HIDDEN);
	x.kept = zeros(ROWS * K * 2 * WIDTH);
	x.pack = zeros(2 * WIDTH * (HIDDEN + 1));
	for (size_t e = 0; e < EXPERTS; e++) {
		x.gate_up[e] = numbers(2 * WIDTH * HIDDEN);
		x.down[e] = numbers(HIDDEN * WIDTH);
		dgate_up[e] = zeros(2 * WIDTH * HIDDEN);
		ddown[e] = zeros(HIDDEN * WIDTH);
		assert_true(moe_dense_plan(&x.dense[e].gate_up, MOE_UNIT_F32, x.gate_up[e], 2 * WIDTH, HIDDEN, &x.memory));
		assert_true(moe_dense_plan(&x.dense[e].down, MOE_UNIT_F32, x.down[e], HIDDEN, WIDTH, &x.memory));
	}
	expect_ok(&d, moe_expert_pairs_make(&x.pairs, id, ROWS, K, EXPERTS, &x.memory, &d));
	assert_int_equal(x.pairs.n, 15);
	x.scratch = zeros(moe_experts_scratch(moe_expert_pairs_most(&x.pairs), HIDDEN, WIDTH) / 4);
	experts_loss(&x);
	moe_experts_backward(x.dense, &x.pairs, dh, dweight, dgate_up, ddown, x.c, x.h, x.weight, x.kept, x.scratch);
	check("inputs", x.h, dh, ROWS * HIDDEN, experts_loss, &x, 1e-3);
	check("weights of slots", x.weight, dweight, ROWS * K, experts_loss, &x, 1e-2);
	for (size_t e = 0; e < EXPERTS; e++) {
		check("gate and up", x.gate_up[e], dgate_up[e], 2 * WIDTH * HIDDEN, experts_loss, &x, 1e-3);
		check("down", x.down[e], ddown[e], HIDDEN * WIDTH, experts_loss, &x, 1e-2);
	}
	for (size_t e = 0; e < EXPERTS; e++) {
		free(x.gate_up[e]);
		free(x.down[e]);
		free(dgate_up[e]);
		free(ddown[e]);
	}
	moe_arena_free(&x.memory);
	free(x.h);
	free(x.weight);
	free(x.y);
	free(x.c);
	free(x.kept);
	free(x.scratch);
	free(x.pack);
	free(dh);
	free(dweight);
}

/* ---- router ---- */

enum { R_ROWS = 7, R_EXPERTS = 5, R_K = 2 };

struct router {
	struct moe_router_settings s;
	struct moe_router_kept kept;
	const float *f, *noise;         /* constants of the balance loss; NULL: no noise */
	float *c;
	double balance, z;
};

/* What the weights give against c, and the two losses of these rows. */
static double router_loss(void *arg)
{
	struct router *r = arg;
	double loss;

	moe_router_scores(&r->kept, r->noise, R_ROWS, &r->s);
	moe_router_weigh(&r->kept, R_ROWS, R_K, &r->s);
	loss = against(r->kept.weight, r->c, R_ROWS * R_K);
	for (size_t i = 0; i < R_ROWS; i++) {
		const float *p = r->kept.p + i * R_EXPERTS;
		double sum = 0;
		loss += r->z * (double)r->kept.lse[i] * (double)r->kept.lse[i];
		for (size_t e = 0; e < R_EXPERTS; e++)
			sum += (double)p[e];
		for (size_t e = 0; e < R_EXPERTS; e++)
			loss += r->balance * (double)r->f[e] * (double)p[e] / sum;
	}
	return loss;
}

static void try_router(enum moe_score score, bool renormalise, enum moe_gate_weight weight, double scale, bool noisy)
{
	static int32_t id[R_ROWS * R_K] = {0, 1, 4, 2, 3, 0, 1, -1, 2, 4, 0, 3, 1, 2};
	static const float f[R_EXPERTS] = {0.3f, 0.1f, 0.2f, 0.15f, 0.25f};
	struct router r = {
		.s = {.experts = R_EXPERTS, .top_k = R_K, .score = (int)score, .weight = (int)weight, .renormalise = renormalise, .scale = scale, .groups = 1, .top_groups = 1},
		.kept = {numbers(R_ROWS * R_EXPERTS), zeros(R_ROWS * R_EXPERTS), zeros(R_ROWS), id, zeros(R_ROWS * R_K)}, .f = f, .c = numbers(R_ROWS * R_K),
		.balance = 0.7, .z = 0.02,
	};
	float *g = zeros(R_ROWS * R_EXPERTS), pull[R_EXPERTS], *noise = numbers(R_ROWS * R_EXPERTS);

	for (size_t e = 0; e < R_EXPERTS; e++)
		pull[e] = (float)r.balance * f[e];
	r.noise = noisy ? noise : NULL;
	router_loss(&r);
	moe_router_backward(g, r.c, &r.kept, R_ROWS, R_K, &r.s, &(struct moe_router_pull){pull, (float)r.z});
	check("router", r.kept.logit, g, R_ROWS * R_EXPERTS, router_loss, &r, 1e-2);
	free(r.kept.logit);
	free(r.kept.p);
	free(r.kept.lse);
	free(r.kept.weight);
	free(r.c);
	free(g);
	free(noise);
}

static void test_router(void **state)
{
	(void)state;
	try_router(MOE_SCORE_SOFTMAX, true, MOE_WEIGHT_SCORE, 1, false);
	try_router(MOE_SCORE_SOFTMAX, false, MOE_WEIGHT_SCORE, 1, false);
	try_router(MOE_SCORE_SOFTMAX, true, MOE_WEIGHT_SCORE, 2.5, false);
	try_router(MOE_SCORE_SOFTMAX, false, MOE_WEIGHT_SOFTMAX_OF_CHOSEN, 1, false);
	try_router(MOE_SCORE_SIGMOID, true, MOE_WEIGHT_SCORE, 2.5, false);
	try_router(MOE_SCORE_SIGMOID, false, MOE_WEIGHT_SCORE, 1, false);
	try_router(MOE_SCORE_SIGMOID, false, MOE_WEIGHT_SCORE, 1, true);
}

/* Balance over groups: LB of two groups of a pool is that of two experts with the sums of f and q; one group is always in balance. */
static void test_balance_groups(void **state)
{
	const struct moe_router_settings s = {.experts = 4}, pooled = {.experts = 4, .pools = {2, {2, 2}, {1, 0, 1, 0}}};
	uint64_t load[MOE_N_MODALITIES][4] = {{4, 2, 1, 1}, {0, 2, 5, 1}};
	double q[4] = {3, 2, 2, 1}, share[4];
	const struct moe_router_sums sums = {.load = &load[0][0], .q = q, .rows = {4, 4}};
	float pull[4];

	(void)state;
	assert_float_equal(moe_router_balance(pull, share, &sums, &s, 0, 1), 4 * (4 * 3 + 4 * 2 + 6 * 2 + 2 * 1) / 16.0 / 8, 1e-12);
	assert_float_equal(moe_router_balance(pull, share, &sums, &s, 2, 0.5), 2 * (8 * 5 + 8 * 3) / 16.0 / 8, 1e-12);
	assert_true(pull[0] == pull[1] && pull[2] == pull[3]);
	assert_float_equal(pull[0], 0.5 * 2 * 0.5 / 8, 1e-7);
	assert_float_equal(moe_router_balance(pull, share, &sums, &s, 1, 1), 1, 1e-12);
	/* pool 0 has experts 1 and 3 for text, pool 1 experts 0 and 2 for pictures */
	assert_float_equal(moe_router_balance(pull, share, &sums, &pooled, 0, 1), 2 * (4 / 6.0 * 2 + 2 / 6.0 * 1) / 4 + 2 * (4 / 10.0 * 3 + 6 / 10.0 * 2) / 4, 1e-12);
	assert_float_equal(share[3], 2 / 6.0, 1e-12);
	assert_float_equal(pull[2], 2 * 0.6 / 4, 1e-7);
}

static void test_noise(void **state)
{
	double sum = 0, square = 0;

	(void)state;
	assert_float_equal(moe_router_noise(0.5), 0, 1e-7);
	assert_float_equal(moe_router_noise(0.75), log(3), 1e-6);
	assert_true(isfinite(moe_router_noise(0)) && isfinite(moe_router_noise(1 - 0x1p-53)));
	for (int i = 0; i < 4000; i++) {        /* the logistic distribution: mean 0, variance pi² / 3 */
		double x = moe_router_noise(moe_random_unit(5, 1, (uint64_t)i));
		sum += x;
		square += x * x;
	}
	assert_true(fabs(sum / 4000) < 0.15 && fabs(square / 4000 - 3.29) < 0.3);
}

/* ---- mixture-of-depths ---- */

enum { D_ROWS = 5, D_KEPT = 2, D_HIDDEN = 6 };

struct depth { float *x, *y, *w, *out, *c, *logit; };

static const uint32_t depth_rows[D_KEPT] = {1, 4};

static double depth_loss(void *arg)
{
	struct depth *t = arg;

	moe_depth_scores(t->logit, t->x, t->w, D_ROWS, D_HIDDEN);
	moe_depth_merge(t->out, t->x, t->y, t->logit, depth_rows, D_KEPT, D_ROWS, D_HIDDEN);
	return against(t->out, t->c, D_ROWS * D_HIDDEN);
}

static void test_depth(void **state)
{
	struct depth t = {numbers(D_ROWS * D_HIDDEN), numbers(D_KEPT * D_HIDDEN), numbers(D_HIDDEN), zeros(D_ROWS * D_HIDDEN), numbers(D_ROWS * D_HIDDEN), zeros(D_ROWS)};
	float *dx = zeros(D_ROWS * D_HIDDEN), *dy = zeros(D_KEPT * D_HIDDEN), *dw = zeros(D_HIDDEN), dlogit[D_KEPT];

	(void)state;
	depth_loss(&t);
	assert_memory_equal(t.out, t.x, D_HIDDEN * sizeof(float));              /* row 0 is not kept */
	memcpy(dx, t.c, D_ROWS * D_HIDDEN * sizeof *dx);
	moe_depth_backward(dx, dy, dw, dlogit, t.x, t.y, t.logit, t.w, depth_rows, D_KEPT, D_HIDDEN);
	check("what rows bring", t.x, dx, D_ROWS * D_HIDDEN, depth_loss, &t, 1e-2);
	check("what the layer makes", t.y, dy, D_KEPT * D_HIDDEN, depth_loss, &t, 1e-2);
	check("depth", t.w, dw, D_HIDDEN, depth_loss, &t, 1e-2);
	free(t.x);
	free(t.y);
	free(t.w);
	free(t.out);
	free(t.c);
	free(t.logit);
	free(dx);
	free(dy);
	free(dw);
}

/* ---- auxiliary routers ---- */

enum { A_ROWS = 9, A_HIDDEN = 8, A_INNER = 4, A_OUT = 3 };

struct aux {
	struct moe_aux_dense dense;
	float *x, *fc1, *fc2, *logit, *scratch;
	const uint8_t *target;
};

static double aux_loss(void *arg)
{
	struct aux *a = arg;

	moe_dense_pack(&a->dense.fc1, NULL);
	moe_dense_pack(&a->dense.fc2, NULL);
	return moe_aux_loss(&a->dense, a->x, a->target, A_ROWS, 0, NULL, NULL, a->logit, a->scratch);
}

static void test_aux(void **state)
{
	static const uint8_t target[A_ROWS * A_OUT] = {1, 0, 0, 0, 1, 1, 0, 0, 1, 1, 0, 1, 0, 0, 0, 1};
	struct moe_arena memory = {0};
	struct aux a = {.x = numbers(A_ROWS * A_HIDDEN), .fc1 = numbers(A_INNER * A_HIDDEN), .fc2 = numbers(A_OUT * A_INNER), .logit = zeros(A_ROWS * A_OUT), .target = target};
	float *dfc1 = zeros(A_INNER * A_HIDDEN), *dfc2 = zeros(A_OUT * A_INNER);
	double loss, by_hand = 0;

	(void)state;
	assert_true(moe_dense_plan(&a.dense.fc1, MOE_UNIT_F32, a.fc1, A_INNER, A_HIDDEN, &memory));
	assert_true(moe_dense_plan(&a.dense.fc2, MOE_UNIT_F32, a.fc2, A_OUT, A_INNER, &memory));
	a.scratch = zeros(moe_aux_scratch(&a.dense, A_ROWS) / sizeof(float));
	loss = aux_loss(&a);
	for (size_t i = 0; i < A_ROWS * A_OUT; i++)
		by_hand -= log(1 / (1 + exp(target[i] ? -(double)a.logit[i] : (double)a.logit[i])));
	assert_float_equal(loss, by_hand, 1e-5 * by_hand);
	moe_aux_loss(&a.dense, a.x, target, A_ROWS, 1, dfc1, dfc2, a.logit, a.scratch);
	check("aux fc1", a.fc1, dfc1, A_INNER * A_HIDDEN, aux_loss, &a, 1e-2);
	check("aux fc2", a.fc2, dfc2, A_OUT * A_INNER, aux_loss, &a, 1e-2);
	moe_arena_free(&memory);
	free(a.x);
	free(a.fc1);
	free(a.fc2);
	free(a.logit);
	free(a.scratch);
	free(dfc1);
	free(dfc2);
}

/* ---- stem ---- */

enum { HEIGHT = 14, ACROSS = 22 };

struct stem {
	struct moe_arena memory;
	struct moe_stem stem;
	struct moe_stem_kept kept;
	float *weight[3], *planes, *feature, *c, *scratch, *pack;
	size_t n;
};

static double stem_loss(void *arg)
{
	struct stem *s = arg;

	moe_stem_pack(&s->stem, (const float *const *)s->weight, s->pack);
	moe_stem_keep(&s->stem, s->feature, 8, s->planes, HEIGHT, ACROSS, &s->kept, s->scratch);
	return against(s->feature, s->c, s->n);
}

static void test_stem(void **state)
{
	static const struct moe_conv conv[3] = {
		{"conv1", 3, 6, 5, 2, 2, true}, {"conv2", 6, 4, 3, 2, 1, false}, {"conv3", 4, 8, 3, 1, 0, false},
	};
	struct stem s = {0};
	size_t rows[MOE_MAX_CONV], columns[MOE_MAX_CONV];
	float *g[3], *din;

	(void)state;
	assert_true(moe_stem_plan(&s.stem, MOE_UNIT_F32, conv, 3, &s.memory));
	moe_stem_sizes(&s.stem, HEIGHT, ACROSS, rows, columns);
	s.n = rows[2] * columns[2] * 8;
	assert_int_equal(rows[2] * columns[2], 2 * 4);
	assert_true(moe_stem_kept_plan(&s.kept, &s.stem, HEIGHT, ACROSS, &s.memory));
	s.planes = numbers(3 * HEIGHT * ACROSS);
	s.feature = zeros(s.n);
	s.c = numbers(s.n);
	s.scratch = zeros(moe_stem_scratch(&s.stem, HEIGHT, ACROSS) / 4);
	s.pack = zeros(6 * 80);
	for (size_t i = 0; i < 3; i++) {
		size_t n = (size_t)(conv[i].out * conv[i].in * conv[i].kernel * conv[i].kernel);
		s.weight[i] = numbers(n);
		g[i] = zeros(n);
	}
	stem_loss(&s);
	moe_stem_backward(&s.stem, g, s.c, 8, NULL, HEIGHT, ACROSS, &s.kept, s.scratch);
	for (size_t i = 0; i < 3; i++)
		check(conv[i].name, s.weight[i], g[i], (size_t)(conv[i].out * conv[i].in * conv[i].kernel * conv[i].kernel), stem_loss, &s, 1e-3);
	s.stem.map = true;
	stem_loss(&s);
	din = zeros(3 * HEIGHT * ACROSS);
	moe_stem_backward(&s.stem, g, s.c, 8, din, HEIGHT, ACROSS, &s.kept, s.scratch);
	check("map", s.planes, din, 3 * HEIGHT * ACROSS, stem_loss, &s, 1e-3);
	free(din);
	for (size_t i = 0; i < 3; i++) {
		free(s.weight[i]);
		free(g[i]);
	}
	moe_arena_free(&s.memory);
	free(s.planes);
	free(s.feature);
	free(s.c);
	free(s.scratch);
	free(s.pack);
}

/* ---- head ---- */

enum { H_ROWS = 300, H_HIDDEN = 6, VOCAB = 11 };        /* more rows than the head takes at a time */

struct head {
	struct moe_arena memory;
	struct moe_dense dense;
	float *norm, *weight, *x, *scratch, *pack;
	struct moe_targets_of targets;
	struct moe_soft soft;           /* without a head: there is none */
};

static double run_head(struct head *h, float *dx, float *dnorm, float *ddense)
{
	struct moe_head head = {h->norm, 1e-6f, &h->dense};

	moe_dense_pack(&h->dense, h->pack);
	h->soft.loss = 0;
	h->targets.soft = h->soft.head ? &h->soft : NULL;
	return moe_head_loss(&head, h->x, &h->targets, 0.5f, dx, dnorm, ddense, NULL, h->scratch);
}

static double head_loss(void *arg)
{
	struct head *h = arg;
	double hard = run_head(h, NULL, NULL, NULL);

	return 0.5 * hard + (double)h->soft.scale * h->soft.loss;
}

/* Gradients of a head with its targets, and with those of another one of another width. */
static void check_head(struct head *h)
{
	float *dx = zeros(2 * H_ROWS * H_HIDDEN), *dnorm = zeros(H_HIDDEN), *ddense = zeros(VOCAB * H_HIDDEN);

	run_head(h, dx, dnorm, ddense);
	check("rows", h->x, dx, 2 * H_ROWS * H_HIDDEN, head_loss, h, 5e-3);
	check("norm", h->norm, dnorm, H_HIDDEN, head_loss, h, 5e-3);
	check("head", h->weight, ddense, VOCAB * H_HIDDEN, head_loss, h, 5e-3);
	free(dx);
	free(dnorm);
	free(ddense);
}

static void check_soft(struct head *h)
{
	enum { THEIRS = 10 };
	struct moe_dense dense;
	struct moe_head its = {numbers(THEIRS), 1e-6f, &dense};
	float *weight = numbers(VOCAB * THEIRS), *x = numbers(2 * H_ROWS * THEIRS), *pack = zeros(VOCAB * (THEIRS + 1));

	assert_true(moe_dense_plan(&dense, MOE_UNIT_F32, weight, VOCAB, THEIRS, &h->memory));
	moe_dense_pack(&dense, pack);
	h->soft = (struct moe_soft){.head = &its, .x = x, .tau = 1.7f, .scale = 0.8f, .scratch = zeros(moe_head_scratch(&its) / 4)};
	check_head(h);
	free((float *)(uintptr_t)its.norm);
	free(weight);
	free(x);
	free(pack);
	free(h->soft.scratch);
}

static void test_head(void **state)
{
	struct head h = {0};
	uint32_t row[H_ROWS];
	int32_t token[H_ROWS];
	float weight[H_ROWS];

	(void)state;
	h.norm = numbers(H_HIDDEN);
	h.weight = numbers(VOCAB * H_HIDDEN);
	h.x = numbers(2 * H_ROWS * H_HIDDEN);
	h.pack = zeros(VOCAB * (H_HIDDEN + 1));
	for (size_t i = 0; i < H_ROWS; i++) {
		row[i] = (uint32_t)(2 * i);
		token[i] = (int32_t)(i % VOCAB);
		weight[i] = 1 + draw() / 2;
	}
	h.targets = (struct moe_targets_of){.n = H_ROWS, .row = row, .token = token, .weight = weight};
	assert_true(moe_dense_plan(&h.dense, MOE_UNIT_F32, h.weight, VOCAB, H_HIDDEN, &h.memory));
	h.scratch = zeros(moe_head_scratch(&(struct moe_head){.dense = &h.dense}) / 4);
	check_head(&h);
	check_soft(&h);
	moe_arena_free(&h.memory);
	free(h.norm);
	free(h.weight);
	free(h.x);
	free(h.scratch);
	free(h.pack);
}

/* ---- soft targets ---- */

/* The same logits: nothing to learn. Far apart: no NaN, and the slope of a plain cross entropy. */
static void test_soft_edges(void **state)
{
	float logit[20], far[20], slope[20] = {0};

	(void)state;
	for (int i = 0; i < 20; i++) {
		logit[i] = 50 * draw();
		far[i] = i == 3 ? 1e4f : -1e4f;
	}
	assert_true(fabsf(moe_soft_targets(slope, logit, logit, 20, 2, 1)) < 1e-5f);
	for (int i = 0; i < 20; i++)
		assert_true(fabsf(slope[i]) < 1e-6f);
	assert_true(isfinite(moe_soft_targets(slope, logit, far, 20, 1, 1)));
	assert_true(slope[3] < 0 && slope[3] >= -1);
}

/* ---- norm and activations ---- */

enum { N_ROWS = 5, N_COLUMNS = 37 };

struct norm { float *x, *weight, *out, *scale, *c; };

static double norm_loss(void *arg)
{
	struct norm *n = arg;

	moe_rms_norm_keep(n->out, n->scale, n->x, n->weight, N_ROWS, N_COLUMNS, 1e-6f);
	return against(n->out, n->c, N_ROWS * N_COLUMNS);
}

static void test_norm(void **state)
{
	struct norm n = {numbers(N_ROWS * N_COLUMNS), numbers(N_COLUMNS), zeros(N_ROWS * N_COLUMNS), zeros(N_ROWS), numbers(N_ROWS * N_COLUMNS)};
	float *dx = zeros(N_ROWS * N_COLUMNS), *dweight = zeros(N_COLUMNS);

	(void)state;
	norm_loss(&n);
	moe_rms_norm_backward(dx, dweight, n.c, n.x, n.scale, n.weight, N_ROWS, N_COLUMNS);
	check("x", n.x, dx, N_ROWS * N_COLUMNS, norm_loss, &n, 1e-2);
	check("weight", n.weight, dweight, N_COLUMNS, norm_loss, &n, 1e-2);
	free(n.x);
	free(n.weight);
	free(n.out);
	free(n.scale);
	free(n.c);
	free(dx);
	free(dweight);
}

/* Gates far below zero, where an exponential overflows: silu and its slope are 0 there, not NaN. */
static void test_far_gates(void **state)
{
	float z[4] = {-100, -3e38f, 100, -INFINITY}, act[4], kept[4], dz[4], one[4] = {1, 1, 1, 1};

	(void)state;
	moe_silu_keep(MOE_UNIT_F32, act, kept, z, 3);
	moe_silu_backward(MOE_UNIT_F32, dz, one, kept, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_true(isfinite(act[i]) && isfinite(dz[i]));
		assert_true(fabsf(dz[i] - (i == 2)) < 1e-6f);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_attention), cmocka_unit_test(test_segments_apart), cmocka_unit_test(test_who_sees_whom), cmocka_unit_test(test_layer),
		cmocka_unit_test(test_experts), cmocka_unit_test(test_router), cmocka_unit_test(test_balance_groups), cmocka_unit_test(test_noise), cmocka_unit_test(test_depth),
		cmocka_unit_test(test_aux), cmocka_unit_test(test_stem), cmocka_unit_test(test_head), cmocka_unit_test(test_soft_edges), cmocka_unit_test(test_norm), cmocka_unit_test(test_far_gates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
