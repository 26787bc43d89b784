/* The vision tower and its projector: positions at their ties, the formulas in double precision, and equal bits whatever the threads and kernels.
 * tests/golden/aria compares them with the reference. */
#include <math.h>

#include "base/rng.h"
#include "lib_data.h"
#include "nn/query_attention.h"
#include "nn/vit.h"
#include "sys/cpu.h"

/* Sizes that fill no vector and no tile, and more patches than a chunk, a block of slots and a tile of rows. */
enum { HIDDEN = 40, HEADS = 2, DIM = HIDDEN / HEADS, WIDTH = 92, LAYERS = 2, N = 331, QUERIES = 21, INNER = 30, OUT = 50 };

static uint64_t draws;

static float draw(void) { return (float)(moe_random_unit(11, 2, draws++) - 0.5); }

static float *floats(size_t n, float scale, float shift)
{
	float *p = moe_calloc(n, sizeof *p);

	assert_non_null(p);
	for (size_t i = 0; i < n; i++)
		p[i] = shift + scale * draw();
	return p;
}

static struct moe_linear linear(size_t out, size_t in, bool bias)
{
	return (struct moe_linear){{.data = floats(out * in, 0.6f, 0), .type = MOE_F32, .rows = out, .cols = in, .stride = in}, bias ? floats(out, 0.5f, 0) : NULL};
}

static struct moe_norm norm(size_t n) { return (struct moe_norm){floats(n, 0.5f, 1), floats(n, 0.5f, 0)}; }

static void free_linear(struct moe_linear *l)
{
	free((void *)l->weight.data);
	free((void *)l->bias);
}

static void free_norm(struct moe_norm *w)
{
	free((void *)w->weight);
	free((void *)w->bias);
}

/* transformers.models.idefics3, Idefics3VisionEmbeddings: how many of the borders (k + 1)/g are not above i/n, all in f32. */
static uint32_t counted_bucket(uint32_t i, uint32_t n, uint32_t g)
{
	float f = (float)i * (1.0f / (float)n), most = (float)(1.0 - 1e-6);
	uint32_t bucket = 0;

	f = f < most ? f : most;
	for (uint32_t k = 0; k + 1 < g; k++)
		bucket += (float)((k + 1) / (double)g) <= f;
	return bucket;
}

/* Patches of a side of n, at which rounding puts the exact border of a bucket of 70 on its lower side. */
static bool is_low_tie(uint32_t i, uint32_t n)
{
	switch (n) {
	case 25: return i == 5 || i == 10 || i == 15 || i == 20;
	case 49: return i == 7 || i == 14 || i == 28 || i == 35;
	case 50: return i == 5 || i == 10 || i == 15 || i == 20 || i == 30 || i == 40;
	case 55: return i == 11 || i == 22 || i == 33 || i == 44;
	default: return false;
	}
}

static void test_buckets(void **state)
{
	(void)state;
	for (uint32_t n = 1; n <= 70; n++)
		for (uint32_t i = 0; i < n; i++)
			assert_int_equal(moe_vit_bucket(i, n, 70), 70 * i / n - is_low_tie(i, n));
	for (uint32_t g = 1; g < 100; g += g < 40 ? 1 : 7)
		for (uint32_t n = 1; n < 110; n++)
			for (uint32_t i = 0; i < n; i++)
				assert_int_equal(moe_vit_bucket(i, n, g), counted_bucket(i, n, g));
}

/* With weights of zero what remains of an embedding is the bias and the row of the table. */
static void test_positions(void **state)
{
	static const size_t side[][2] = {{35, 24}, {1, 70}, {50, 53}};
	enum { GRID = 70, TALL = 3 };
	struct moe_vit_settings s = {.hidden = TALL, .position_grid = GRID};
	float *table = floats(GRID * GRID * TALL, 1, 0), *zero = moe_calloc(TALL * 12, sizeof *zero), bias[TALL] = {1, 2, 3};
	struct moe_vit_weights w = {{{.data = zero, .type = MOE_F32, .rows = TALL, .cols = 12, .stride = 12}, bias}, table, NULL};

	(void)state;
	for (size_t c = 0; c < 3; c++) {
		size_t rows = side[c][0], columns = side[c][1];
		float *pixel = floats(rows * columns * 12, 1, 0), *x = moe_calloc(rows * columns * TALL, sizeof *x);
		moe_vit_embed(x, pixel, rows, columns, &s, &w, NULL);
		for (uint32_t i = 0; i < rows * columns; i++)
			for (size_t j = 0; j < TALL; j++) {
				size_t at = counted_bucket(i / (uint32_t)columns, (uint32_t)rows, GRID) * GRID + counted_bucket(i % (uint32_t)columns, (uint32_t)columns, GRID);
				assert_float_equal(x[i * TALL + j], bias[j] + table[at * TALL + j], 0);
			}
		free(pixel);
		free(x);
	}
	free(table);
	free(zero);
}

/* The formulas once more, in double and one row at a time. */

static void define_linear(double *y, const double *x, const struct moe_linear *l)
{
	const float *w = l->weight.data;

	for (size_t n = 0; n < l->weight.rows; n++) {
		y[n] = l->bias ? (double)l->bias[n] : 0;
		for (size_t k = 0; k < l->weight.cols; k++)
			y[n] += (double)w[n * l->weight.stride + k] * x[k];
	}
}

static void define_norm(double *y, const double *x, const struct moe_norm *w, size_t n, double eps)
{
	double mean = 0, square = 0;

	for (size_t i = 0; w->bias && i < n; i++)
		mean += x[i] / (double)n;
	for (size_t i = 0; i < n; i++)
		square += (x[i] - mean) * (x[i] - mean) / (double)n;
	for (size_t i = 0; i < n; i++)
		y[i] = (x[i] - mean) / sqrt(square + eps) * (double)w->weight[i] + (w->bias ? (double)w->bias[i] : 0);
}

static void define_gelu(double *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = 0.5 * x[i] * (1 + tanh(sqrt(2 / M_PI) * (x[i] + 0.044715 * x[i] * x[i] * x[i])));
}

/* out [HIDDEN] = attention of one row q to n keys and values. */
static void define_attention(double *out, const double *q, const double *key, const double *value, size_t n)
{
	double *p = calloc(n, sizeof *p);

	for (size_t h = 0; h < HEADS; h++) {
		double sum = 0;
		for (size_t t = 0; t < n; t++) {
			double s = 0;
			for (size_t i = h * DIM; i < (h + 1) * DIM; i++)
				s += q[i] * key[t * HIDDEN + i];
			sum += p[t] = exp(s / sqrt(DIM));
		}
		for (size_t i = h * DIM; i < (h + 1) * DIM; i++) {
			out[i] = 0;
			for (size_t t = 0; t < n; t++)
				out[i] += p[t] / sum * value[t * HIDDEN + i];
		}
	}
	free(p);
}

static void define_act(double *x, size_t n, int act)
{
	if (act == MOE_VIT_GELU_TANH)
		define_gelu(x, n);
	for (size_t i = 0; act != MOE_VIT_GELU_TANH && i < n; i++)
		x[i] *= act == MOE_VIT_GELU ? 0.5 * erfc(-x[i] / sqrt(2)) : 1 / (1 + exp(-x[i]));
}

/* y = fc2(act(fc1 x)), or fc2(silu(gate x) · fc1 x) of a layer that has a gate. */
static void define_unit(double *y, const double *x, const struct moe_vit_layer *w, int act)
{
	double inner[WIDTH], gate[WIDTH];

	define_linear(inner, x, &w->fc1);
	if (w->gate.weight.data) {
		define_linear(gate, x, &w->gate);
		define_act(gate, WIDTH, MOE_VIT_SILU);
		for (size_t i = 0; i < WIDTH; i++)
			inner[i] *= gate[i];
	} else {
		define_act(inner, WIDTH, act);
	}
	define_linear(y, inner, &w->fc2);
}

static void define_layer(double *x, const struct moe_vit_layer *w, double eps, int act)
{
	double *key = calloc(N * HIDDEN, sizeof *key), *value = calloc(N * HIDDEN, sizeof *value), a[HIDDEN], b[HIDDEN];

	for (size_t t = 0; t < N; t++) {
		define_norm(a, x + t * HIDDEN, &w->norm1, HIDDEN, eps);
		define_linear(key + t * HIDDEN, a, &w->k);
		define_linear(value + t * HIDDEN, a, &w->v);
	}
	for (size_t t = 0; t < N; t++) {
		define_norm(a, x + t * HIDDEN, &w->norm1, HIDDEN, eps);
		define_linear(b, a, &w->q);
		define_attention(a, b, key, value, N);
		define_linear(b, a, &w->o);
		for (size_t i = 0; i < HIDDEN; i++)
			x[t * HIDDEN + i] += b[i];
		define_norm(a, x + t * HIDDEN, &w->norm2, HIDDEN, eps);
		define_unit(b, a, w, act);
		for (size_t i = 0; i < HIDDEN; i++)
			x[t * HIDDEN + i] += b[i];
	}
	free(key);
	free(value);
}

static void define_projector(double *feature, const double *x, const struct moe_query_attention_weights *w, double eps)
{
	double *key = calloc(N * HIDDEN, sizeof *key), *value = calloc(N * HIDDEN, sizeof *value), query[HIDDEN], a[HIDDEN], b[HIDDEN], inner[INNER];

	for (size_t t = 0; t < N; t++) {
		define_norm(a, x + t * HIDDEN, &w->patch_norm, HIDDEN, eps);
		define_linear(b, a, &w->k);
		define_linear(key + t * HIDDEN, b, &w->in_k);
		define_linear(b, a, &w->v);
		define_linear(value + t * HIDDEN, b, &w->in_v);
	}
	for (size_t t = 0; t < QUERIES; t++) {
		for (size_t i = 0; i < HIDDEN; i++)
			query[i] = (double)w->query[t * HIDDEN + i];
		define_norm(a, query, &w->query_norm, HIDDEN, eps);
		define_linear(b, a, &w->q);
		define_linear(query, b, &w->in_q);
		define_attention(a, query, key, value, N);
		define_linear(b, a, &w->out);
		define_linear(a, b, &w->linear);
		define_norm(b, a, &w->mlp_norm, HIDDEN, eps);
		define_linear(inner, b, &w->mlp_in);
		define_gelu(inner, INNER);
		define_linear(feature + t * OUT, inner, &w->mlp_out);
	}
	free(key);
	free(value);
}

/* Root mean square of the difference over that of the reference. */
static double gap(const float *have, const double *want, size_t n)
{
	double difference = 0, reference = 0;

	for (size_t i = 0; i < n; i++) {
		difference += ((double)have[i] - want[i]) * ((double)have[i] - want[i]);
		reference += want[i] * want[i];
	}
	assert_true(reference > 0);
	return sqrt(difference / reference);
}

static double *widened(const float *x, size_t n)
{
	double *y = calloc(n, sizeof *y);

	for (size_t i = 0; i < n; i++)
		y[i] = (double)x[i];
	return y;
}

static const struct moe_vit_settings tower = {.hidden = HIDDEN, .layers = LAYERS, .heads = HEADS, .width = WIDTH, .position_grid = 70, .eps = 1e-6};
static const struct moe_query_attention_settings projector = {.queries = QUERIES, .heads = HEADS, .width = INNER, .eps = 1e-5};

static void make_layers(struct moe_vit_layer *w)
{
	for (int l = 0; l < LAYERS; l++)
		w[l] = (struct moe_vit_layer){.norm1 = norm(HIDDEN), .norm2 = norm(HIDDEN), .q = linear(HIDDEN, HIDDEN, true), .k = linear(HIDDEN, HIDDEN, true),
					      .v = linear(HIDDEN, HIDDEN, true), .o = linear(HIDDEN, HIDDEN, true), .fc1 = linear(WIDTH, HIDDEN, true),
					      .fc2 = linear(HIDDEN, WIDTH, true)};
}

/* RMSNorm, no biases, a gated unit. */
static void make_gated_layers(struct moe_vit_layer *w)
{
	for (int l = 0; l < LAYERS; l++)
		w[l] = (struct moe_vit_layer){.norm1 = {.weight = floats(HIDDEN, 0.5f, 1)}, .norm2 = {.weight = floats(HIDDEN, 0.5f, 1)},
					      .q = linear(HIDDEN, HIDDEN, false), .k = linear(HIDDEN, HIDDEN, false), .v = linear(HIDDEN, HIDDEN, false),
					      .o = linear(HIDDEN, HIDDEN, false), .gate = linear(WIDTH, HIDDEN, false), .fc1 = linear(WIDTH, HIDDEN, false),
					      .fc2 = linear(HIDDEN, WIDTH, false)};
}

static void free_layers(struct moe_vit_layer *w)
{
	for (int l = 0; l < LAYERS; l++) {
		struct moe_linear *all[] = {&w[l].q, &w[l].k, &w[l].v, &w[l].o, &w[l].gate, &w[l].fc1, &w[l].fc2};
		for (int i = 0; i < 7; i++)
			free_linear(all[i]);
		free_norm(&w[l].norm1);
		free_norm(&w[l].norm2);
	}
}

static void make_projector(struct moe_query_attention_weights *w)
{
	*w = (struct moe_query_attention_weights){
		.query = floats(QUERIES * HIDDEN, 2, 0), .query_norm = norm(HIDDEN), .patch_norm = norm(HIDDEN), .mlp_norm = norm(HIDDEN),
		.q = linear(HIDDEN, HIDDEN, false), .k = linear(HIDDEN, HIDDEN, false), .v = linear(HIDDEN, HIDDEN, false),
		.in_q = linear(HIDDEN, HIDDEN, true), .in_k = linear(HIDDEN, HIDDEN, true), .in_v = linear(HIDDEN, HIDDEN, true),
		.out = linear(HIDDEN, HIDDEN, true), .linear = linear(HIDDEN, HIDDEN, true), .mlp_in = linear(INNER, HIDDEN, false),
		.mlp_out = linear(OUT, INNER, false)};
}

static void free_projector(struct moe_query_attention_weights *w)
{
	struct moe_linear *all[] = {&w->q, &w->k, &w->v, &w->in_q, &w->in_k, &w->in_v, &w->out, &w->linear, &w->mlp_in, &w->mlp_out};

	for (int i = 0; i < 10; i++)
		free_linear(all[i]);
	free_norm(&w->query_norm);
	free_norm(&w->patch_norm);
	free_norm(&w->mlp_norm);
	free((void *)w->query);
}

static void test_definition(void **state)
{
	struct moe_vit_layer layers[LAYERS];
	struct moe_vit_weights w = {.layer = layers};
	struct moe_query_attention_weights q;
	struct moe_arena scratch = {0};
	struct moe_compute work = {.scratch = &scratch};
	struct moe_diag d = {0};
	float *x = floats(N * HIDDEN, 3, 0), *feature = moe_calloc(QUERIES * OUT, sizeof *feature);
	double *want = widened(x, N * HIDDEN), *projected = calloc(QUERIES * OUT, sizeof *projected);

	(void)state;
	make_layers(layers);
	make_projector(&q);
	expect_ok(&d, moe_vit_forward(x, N, &tower, &w, &work, &d));
	for (int l = 0; l < LAYERS; l++)
		define_layer(want, &layers[l], 1e-6, MOE_VIT_GELU_TANH);
	assert_true(gap(x, want, N * HIDDEN) < 5e-7);
	expect_ok(&d, moe_query_attention_forward(feature, QUERIES, x, N, &projector, &q, &work, &d));
	define_projector(projected, want, &q, 1e-5);
	assert_true(gap(feature, projected, QUERIES * OUT) < 1e-6);
	free_layers(layers);
	free_projector(&q);
	moe_arena_free(&scratch);
	free(x);
	free(feature);
	free(want);
	free(projected);
}

static void test_activations(void **state)
{
	struct moe_vit_layer layers[LAYERS];
	struct moe_vit_weights w = {.layer = layers};
	struct moe_arena scratch = {0};
	struct moe_compute work = {.scratch = &scratch};
	struct moe_diag d = {0};

	(void)state;
	make_layers(layers);
	for (int act = MOE_VIT_GELU_TANH; act <= MOE_VIT_SILU; act++) {
		struct moe_vit_settings s = tower;
		float *x = floats(N * HIDDEN, 3, 0);
		double *want = widened(x, N * HIDDEN);
		s.act = act;
		expect_ok(&d, moe_vit_forward(x, N, &s, &w, &work, &d));
		for (int l = 0; l < LAYERS; l++)
			define_layer(want, &layers[l], 1e-6, act);
		assert_true(gap(x, want, N * HIDDEN) < 5e-7);
		free(x);
		free(want);
	}
	free_layers(layers);
	moe_arena_free(&scratch);
}

/* x and feature after both, with so many threads and these kernels. */
static void run(float *x, float *feature, size_t n_queries, const struct moe_vit_weights *w, const struct moe_query_attention_weights *q, unsigned threads,
		unsigned mask)
{
	struct moe_arena scratch = {0};
	struct moe_compute work = {.scratch = &scratch, .pool = threads ? moe_pool_new(threads) : NULL};
	struct moe_diag d = {0};

	moe_cpu_mask(mask);
	moe_kernel_select();
	expect_ok(&d, moe_vit_forward(x, N, &tower, w, &work, &d));
	assert_true(!scratch.now || scratch.used == 0);         /* all is given back */
	expect_ok(&d, moe_query_attention_forward(feature, n_queries, x, N, &projector, q, &work, &d));
	moe_cpu_mask(~0u);
	moe_kernel_select();
	moe_pool_free(work.pool);
	moe_arena_free(&scratch);
}

static void test_same_bits(void **state)
{
	static const unsigned threads[] = {1, 2, 3, 7};
	static const unsigned masks[] = {0, MOE_CPU_AVX2, MOE_CPU_AVX2 | MOE_CPU_AVX512};
	struct moe_vit_layer layers[LAYERS];
	struct moe_vit_weights w = {.layer = layers};
	struct moe_query_attention_weights q;
	float *from = floats(N * HIDDEN, 3, 0), *x = moe_calloc(N * HIDDEN, sizeof *x), *want = moe_calloc(N * HIDDEN, sizeof *want);
	float *feature = moe_calloc(QUERIES * OUT, sizeof *feature), *want_feature = moe_calloc(QUERIES * OUT, sizeof *want_feature);

	(void)state;
	make_layers(layers);
	make_projector(&q);
	memcpy(want, from, N * HIDDEN * sizeof *want);
	run(want, want_feature, QUERIES, &w, &q, 0, 0);
	for (size_t t = 0; t < 4; t++)
		for (size_t m = SLOW ? 2 : 0; m < 3; m++) {
			size_t n = t % 2 ? QUERIES : 8;         /* the first queries are the same whether or not others follow */
			memcpy(x, from, N * HIDDEN * sizeof *x);
			run(x, feature, n, &w, &q, threads[t], masks[m]);
			assert_memory_equal(x, want, N * HIDDEN * sizeof *x);
			assert_memory_equal(feature, want_feature, n * OUT * sizeof *feature);
		}
	free_layers(layers);
	free_projector(&q);
	free(from);
	free(x);
	free(want);
	free(feature);
	free(want_feature);
}

/* Layers as those of a language model: the formulas, and the same bits on any number of threads. */
static void test_gated(void **state)
{
	static const unsigned threads[] = {1, 3, 7};
	struct moe_vit_layer layers[LAYERS];
	struct moe_vit_weights w = {.layer = layers};
	struct moe_vit_settings s = tower;
	float *from = floats(N * HIDDEN, 3, 0), *x = moe_calloc(N * HIDDEN, sizeof *x), *first = moe_calloc(N * HIDDEN, sizeof *first);
	double *want = widened(from, N * HIDDEN);

	(void)state;
	s.gated = true;
	make_gated_layers(layers);
	for (int l = 0; l < LAYERS; l++)
		define_layer(want, &layers[l], 1e-6, s.act);
	for (size_t t = 0; t < 3; t++) {
		struct moe_arena scratch = {0};
		struct moe_compute work = {.scratch = &scratch, .pool = moe_pool_new(threads[t])};
		struct moe_diag d = {0};
		memcpy(x, from, N * HIDDEN * sizeof *x);
		expect_ok(&d, moe_vit_forward(x, N, &s, &w, &work, &d));
		if (!t)
			memcpy(first, x, N * HIDDEN * sizeof *x);
		assert_true(gap(x, want, N * HIDDEN) < 5e-7);
		assert_memory_equal(x, first, N * HIDDEN * sizeof *x);
		moe_pool_free(work.pool);
		moe_arena_free(&scratch);
	}
	free_layers(layers);
	free(from);
	free(x);
	free(first);
	free(want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buckets), cmocka_unit_test(test_positions), cmocka_unit_test(test_definition), cmocka_unit_test(test_activations),
		cmocka_unit_test(test_same_bits), cmocka_unit_test(test_gated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
