/* The vector quantiser: the gradients of encoder and decoder against differences of the loss. Codes and their moving means are compared with PyTorch's by
 * tests/golden/run. */
#include <math.h>

#include "grad/quantiser_grad.h"
#include "kernel/normal.h"
#include "lib_data.h"
#include "nn/quantiser.h"

static uint64_t drawn;

static float *numbers(size_t n, double scale)
{
	float *x = moe_calloc(n + 16, sizeof *x);

	assert_non_null(x);
	for (size_t i = 0; i < n; i++)
		x[i] = (float)(scale * moe_random_normal(5, 1, drawn++));
	return x;
}

static float *zeros(size_t n) { return numbers(n, 0); }

/* ---- codes ---- */

/* A book whose size is no multiple of what is measured side by side; the last code is the nearest. */
static void test_last_code(void **state)
{
	float code[5][2] = {{0, 0}, {1, 0}, {0, 1}, {1, 1}, {2, 2}}, z[2][2] = {{1.9f, 1.8f}, {0.5f, 0.5f}};
	int32_t id[2];

	(void)state;
	moe_codes_nearest(id, z[0], 2, code[0], 5, 2);
	assert_int_equal(id[0], 4);
	assert_int_equal(id[1], 0);
}

/* ---- against differences ---- */

enum { ROWS = 3, COLUMNS = 4, PATCH = 4, N_PIXELS = 3 * PATCH * PATCH };

static const struct moe_conv encoder[] = {{"conv1", 3, 6, 5, 2, 2, true}, {"conv2", 6, 8, 3, 2, 1, true}, {"conv3", 8, 4, 1, 1, 0, false}};
static const struct moe_conv decoder[] = {{"conv1", 4, 10, 3, 1, 1, true}, {"conv2", 10, N_PIXELS, 3, 1, 1, false}};

struct trial {
	struct moe_arena memory;
	struct moe_quantiser q;
	struct moe_quantiser_kept kept;
	float *weight[5], *gradient[5], *code, *planes, *pack;
	void *scratch;
	double square, commitment;      /* factors */
};

static const struct moe_conv *conv_of(size_t i) { return i < 3 ? &encoder[i] : &decoder[i - 3]; }
static size_t count_of(size_t i) { return (size_t)(conv_of(i)->out * conv_of(i)->in * conv_of(i)->kernel * conv_of(i)->kernel); }

static void begin(struct trial *t)
{
	*t = (struct trial){.code = numbers(9 * 4, 0.5)};
	assert_true(moe_quantiser_plan(&t->q, MOE_UNIT_F32, encoder, 3, decoder, 2, t->code, 9, &t->memory));
	assert_true(moe_quantiser_kept_plan(&t->kept, &t->q, ROWS, COLUMNS, PATCH, &t->memory));
	t->planes = numbers(3 * ROWS * COLUMNS * PATCH * PATCH, 1);
	t->pack = zeros(N_PIXELS * 100);
	t->scratch = zeros(moe_quantiser_scratch(&t->q, ROWS, COLUMNS, PATCH) / 4);
	for (size_t i = 0; i < 5; i++) {
		t->weight[i] = numbers(count_of(i), 1 / sqrt((double)(conv_of(i)->in * conv_of(i)->kernel * conv_of(i)->kernel)));
		t->gradient[i] = zeros(count_of(i));
	}
}

static void end(struct trial *t)
{
	for (size_t i = 0; i < 5; i++) {
		free(t->weight[i]);
		free(t->gradient[i]);
	}
	free(t->code), free(t->planes), free(t->pack), free(t->scratch);
	moe_arena_free(&t->memory);
}

static double loss(struct trial *t)
{
	moe_stem_pack(&t->q.encoder, (const float *const *)t->weight, t->pack);
	moe_stem_pack(&t->q.decoder, (const float *const *)t->weight + 3, t->pack);
	moe_quantiser_keep(&t->q, &t->kept, t->planes, t->scratch);
	return t->square * t->kept.square + t->commitment * t->kept.commitment;
}

static double product(const float *a, const float *b, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double)a[i] * (double)b[i];
	return sum;
}

/* The slope along the gradient of weight i, measured, over its square; no code may change on the way. */
static double slope(struct trial *t, size_t i, const float *g)
{
	size_t n = count_of(i);
	double square = product(g, g, n), h = 1e-3 * sqrt(product(t->weight[i], t->weight[i], n) / square), value[2];
	float *was = zeros(n);
	int32_t id[ROWS * COLUMNS];

	loss(t);
	memcpy(id, t->kept.id, sizeof id);
	memcpy(was, t->weight[i], n * sizeof *was);
	for (int side = 0; side < 2; side++) {
		for (size_t j = 0; j < n; j++)
			t->weight[i][j] = (float)((double)was[j] + (side ? -h : h) * (double)g[j]);
		value[side] = loss(t);
		assert_memory_equal(id, t->kept.id, sizeof id);
	}
	memcpy(t->weight[i], was, n * sizeof *was);
	free(was);
	return (value[0] - value[1]) / (2 * h * square);
}

static void backward(struct trial *t)
{
	loss(t);
	moe_quantiser_backward(&t->q, &t->kept, t->gradient, t->gradient + 3, (float)t->square, (float)t->commitment, t->scratch);
}

/* Both terms of the loss are functions of some weights alone: the commitment of the encoder's, the pictures' squares of the decoder's. */
static void test_differences(void **state)
{
	struct trial t;

	(void)state;
	begin(&t);
	t.square = 0.01;
	t.commitment = 0.3;
	backward(&t);
	for (size_t i = 3; i < 5; i++)
		assert_true(fabs(slope(&t, i, t.gradient[i]) - 1) < 3e-3);
	end(&t);
	begin(&t);
	t.commitment = 0.3;
	backward(&t);
	for (size_t i = 0; i < 3; i++)
		assert_true(fabs(slope(&t, i, t.gradient[i]) - 1) < 3e-3);
	end(&t);
}

/* Straight through: what the pictures' squares give to the encoder is the slope of a loss that is linear in z, with the factors that the decoder's input has. */
static void test_straight_through(void **state)
{
	struct trial t;
	size_t n = ROWS * COLUMNS * 4;
	float *dpixel, *dq, *z, *none[2];

	(void)state;
	begin(&t);
	t.square = 0.01;
	backward(&t);
	dpixel = zeros(ROWS * COLUMNS * N_PIXELS);
	dq = zeros(n);
	none[0] = zeros(count_of(3));
	none[1] = zeros(count_of(4));
	for (size_t i = 0; i < ROWS * COLUMNS * N_PIXELS; i++)
		dpixel[i] = (float)(2 * t.square) * (t.kept.pixel[i] - t.kept.wanted[i]);
	moe_stem_backward(&t.q.decoder, none, dpixel, N_PIXELS, dq, ROWS, COLUMNS, &t.kept.decoder, t.scratch);
	z = zeros(n);
	for (size_t i = 0; i < 3; i++) {
		const float *g = t.gradient[i];
		double square = product(g, g, count_of(i)), h = 1e-3 * sqrt(product(t.weight[i], t.weight[i], count_of(i)) / square), value[2];
		assert_true(square > 0);
		for (int side = 0; side < 2; side++) {
			for (size_t j = 0; j < count_of(i); j++)
				t.weight[i][j] += (float)((side ? -2 : 1) * h * (double)g[j]);
			loss(&t);
			memcpy(z, t.kept.z, n * sizeof *z);
			value[side] = product(z, dq, n);
		}
		for (size_t j = 0; j < count_of(i); j++)
			t.weight[i][j] += (float)(h * (double)g[j]);
		assert_true(fabs((value[0] - value[1]) / (2 * h * square) - 1) < 3e-3);
	}
	free(dpixel), free(dq), free(z), free(none[0]), free(none[1]);
	end(&t);
}

/* The decoder of a finished model makes the same pixels. */
static void test_decode(void **state)
{
	struct trial t;
	struct moe_arena scratch = {0};
	struct moe_compute work = {.scratch = &scratch};
	struct moe_mat weight[2];
	struct moe_picture_decoder q = {decoder, weight, 2, NULL, 9, 4};
	struct moe_diag d = {0};
	float pixel[ROWS * COLUMNS * N_PIXELS];

	(void)state;
	begin(&t);
	loss(&t);
	q.code = t.code;
	for (size_t i = 0; i < 2; i++) {
		size_t k = count_of(3 + i) / (size_t)decoder[i].out;
		weight[i] = (struct moe_mat){.data = (const uint8_t *)t.weight[3 + i], .type = MOE_F32, .rows = (size_t)decoder[i].out, .cols = k, .stride = k, .step = 1};
	}
	expect_ok(&d, moe_picture_decode(pixel, t.kept.id, ROWS, COLUMNS, &q, &work, &d));
	for (size_t i = 0; i < ROWS * COLUMNS * N_PIXELS; i++)
		if (!(fabsf(pixel[i] - t.kept.pixel[i]) < 1e-5f))
			fail_msg("pixel %zu is %g, expected %g", i, (double)pixel[i], (double)t.kept.pixel[i]);
	t.kept.id[3] = 9;
	expect_fail(&d, moe_picture_decode(pixel, t.kept.id, ROWS, COLUMNS, &q, &work, &d), MOE_EINPUT, "code 9 of a picture is outside the book of 9");
	moe_arena_free(&scratch);
	end(&t);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_last_code), cmocka_unit_test(test_differences), cmocka_unit_test(test_straight_through),
		cmocka_unit_test(test_decode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
