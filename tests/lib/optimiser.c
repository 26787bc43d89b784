/* AdamW and Muon against a reference in double precision that was written from the papers, the norm of the gradient, frozen tensors, threads; balancing without a
 * loss; the course of the learning rate; which words freeze what. */
#include <math.h>

#include "base/mem.h"
#include "base/rng.h"
#include "lib_data.h"
#include "train/balance.h"
#include "train/freeze.h"
#include "train/optimiser.h"
#include "train/schedule.h"

enum { N = 7, STEPS = 20, TOTAL = 32768, LARGEST = 72 * 72, EXPERTS = 4 };

/* A wide, a tall, a square and an odd matrix, a table that is no matrix of the layers and is larger than a piece, a choice bias, and a matrix that is large enough for
 * products in bf16 and for more than one block of a symmetric product. */
static struct moe_param table[N] = {
	{"wide", "q", 0, -1, MOE_PART_ATTENTION, 0, 24 * 40, 24, 40, true},
	{"tall", "gate", 0, 1, MOE_PART_EXPERTS, 960, 40 * 24, 40, 24, true},
	{"square", "up", 1, 0, MOE_PART_EXPERTS, 1920, 16 * 16, 16, 16, true},
	{"odd", "down", 1, 3, MOE_PART_EXPERTS, 2176, 7 * 13, 7, 13, true},
	{"table", "embed", -1, -1, MOE_PART_EMBED, 2272, 17000, 170, 100, false},
	{"bias", "choice_bias", 1, -1, MOE_PART_ROUTER, 19280, EXPERTS, 1, EXPERTS, false},
	{"large", "o", 2, -1, MOE_PART_SHARED, 19296, 67 * 65, 67, 65, true},
};
static const struct moe_params params = {table, N, TOTAL};

static double number(uint64_t stream, uint64_t i) { return 2 * moe_random_unit(7, stream, i) - 1; }

static float *numbers(uint64_t stream, double size)
{
	float *x = moe_calloc(TOTAL, sizeof *x);

	for (size_t t = 0; t < N; t++)
		for (size_t i = 0; i < table[t].count; i++)
			x[table[t].offset + i] = (float)(size * number(stream, table[t].offset + i));
	return x;
}

/* The reference: everything in double, every product by its definition. */
struct reference {
	double w[TOTAL], m[TOTAL], v[TOTAL];
};

static void orthogonalise(double *x, size_t rows, size_t cols)
{
	static double a[LARGEST], aa[LARGEST], y[LARGEST];
	double norm = 0;

	for (size_t i = 0; i < rows * cols; i++)
		norm += x[i] * x[i];
	for (size_t i = 0; i < rows * cols; i++)
		x[i] /= sqrt(norm) + 1e-7;
	for (int step = 0; step < 5; step++) {
		/* Xᵀ (X Xᵀ) = (Xᵀ X) Xᵀ: the polynomial may stand on either side, here on that of the rows whatever the shape */
		for (size_t i = 0; i < rows; i++)
			for (size_t j = 0; j < rows; j++) {
				a[i * rows + j] = 0;
				for (size_t k = 0; k < cols; k++)
					a[i * rows + j] += x[i * cols + k] * x[j * cols + k];
			}
		for (size_t i = 0; i < rows; i++)
			for (size_t j = 0; j < rows; j++) {
				aa[i * rows + j] = 0;
				for (size_t k = 0; k < rows; k++)
					aa[i * rows + j] += a[i * rows + k] * a[k * rows + j];
			}
		for (size_t i = 0; i < rows; i++)
			for (size_t j = 0; j < cols; j++) {
				double s = 3.4445 * x[i * cols + j];
				for (size_t k = 0; k < rows; k++)
					s += (-4.7750 * a[i * rows + k] + 2.0315 * aa[i * rows + k]) * x[k * cols + j];
				y[i * cols + j] = s;
			}
		memcpy(x, y, rows * cols * sizeof *x);
	}
}

static void reference_muon(struct reference *r, const struct moe_param *p, const float *g, double rate)
{
	static double u[LARGEST];
	double ratio = (double)p->rows / (double)p->cols;

	for (size_t i = 0; i < p->count; i++) {
		size_t at = p->offset + i;
		r->m[at] = 0.95 * r->m[at] + (double)g[at];
		u[i] = (double)g[at] + 0.95 * r->m[at];
	}
	orthogonalise(u, p->rows, p->cols);
	for (size_t i = 0; i < p->count; i++)
		r->w[p->offset + i] -= rate * sqrt(ratio > 1 ? ratio : 1) * u[i];
}

static void reference_adamw(struct reference *r, const struct moe_param *p, const float *g, double rate, double decay, int t)
{
	for (size_t i = p->offset; i < p->offset + p->count; i++) {
		r->w[i] *= 1 - rate * decay;
		r->m[i] = 0.9 * r->m[i] + 0.1 * (double)g[i];
		r->v[i] = 0.98 * r->v[i] + 0.02 * (double)g[i] * (double)g[i];
		r->w[i] -= rate * (r->m[i] / (1 - pow(0.9, t))) / (sqrt(r->v[i] / (1 - pow(0.98, t))) + 1e-8);
	}
}

/* Euclidean distance of a tensor's weights from the reference, relative to how far the reference went. */
static double distance(const struct reference *r, const float *start, const float *w, const struct moe_param *p)
{
	double far = 0, went = 0;

	for (size_t i = p->offset; i < p->offset + p->count; i++) {
		far += ((double)w[i] - r->w[i]) * ((double)w[i] - r->w[i]);
		went += ((double)start[i] - r->w[i]) * ((double)start[i] - r->w[i]);
	}
	return sqrt(far / went);
}

/* STEPS steps of gradients that differ in size; the weights at the end, to be freed. */
static float *descend(enum moe_optimiser_kind kind, enum moe_unit unit, unsigned threads, const bool *frozen)
{
	struct moe_pool *pool = moe_pool_new(threads);
	struct moe_optimiser_step s = {.kind = kind, .muon_rate = 0.02, .adamw_rate = 2e-3, .weight_decay = 0.01, .scale = 1, .frozen = frozen};
	struct moe_optimiser *o;
	struct moe_diag d = {0};
	float *w = numbers(0, 0.2);

	expect_ok(&d, moe_optimiser_new(&o, &params, unit, pool, &d));
	for (int t = 1; t <= STEPS; t++) {
		float *g = numbers((uint64_t)t, t % 3 ? 0.01 : 1e-4);
		moe_optimiser_step(o, &s, w, g);
		free(g);
	}
	moe_optimiser_free(o);
	moe_pool_free(pool);
	return w;
}

static void reference_descend(struct reference *r, enum moe_optimiser_kind kind)
{
	float *start = numbers(0, 0.2);

	memset(r, 0, sizeof *r);
	for (size_t i = 0; i < TOTAL; i++)
		r->w[i] = (double)start[i];
	for (int t = 1; t <= STEPS; t++) {
		float *g = numbers((uint64_t)t, t % 3 ? 0.01 : 1e-4);
		for (size_t i = 0; i < N; i++)
			if (i == 5)
				continue;
			else if (kind == MOE_OPTIMISER_MUON && table[i].matrix)
				reference_muon(r, &table[i], g, 0.02);
			else
				reference_adamw(r, &table[i], g, 2e-3, 0.01, t);
		free(g);
	}
	free(start);
}

/* A factor of a tensor is one of its rates. */
static void test_factors(void **state)
{
	static const float factor[N] = {0.25f, 1, 0.25f, 1, 0, 1};
	struct moe_diag d = {0};

	(void)state;
	for (int kind = 0; kind < 2; kind++) {
		float *start = numbers(0, 0.2), *g = numbers(1, 0.01), *w[3];
		for (int run = 0; run < 3; run++) {     /* some rates less, all less, as they are */
			double less = run == 1 ? 0.25 : 1;
			struct moe_optimiser_step s = {.kind = (enum moe_optimiser_kind)kind, .muon_rate = 0.02 * less, .adamw_rate = 2e-3 * less, .weight_decay = 0.01, .scale = 1,
						       .factor = run ? NULL : factor};
			struct moe_optimiser *o;
			w[run] = numbers(0, 0.2);
			expect_ok(&d, moe_optimiser_new(&o, &params, MOE_UNIT_F32, NULL, &d));
			moe_optimiser_step(o, &s, w[run], g);
			moe_optimiser_free(o);
		}
		for (size_t i = 0; i < N; i++) {
			const struct moe_param *p = &table[i];
			const float *want = factor[i] == 1 ? w[2] : factor[i] > 0 ? w[1] : start;
			assert_memory_equal(w[0] + p->offset, want + p->offset, p->count * sizeof *want);
			if (factor[i] < 1)
				assert_memory_not_equal(w[0] + p->offset, w[2] + p->offset, p->count * sizeof *want);
		}
		for (int run = 0; run < 3; run++)
			free(w[run]);
		free(start);
		free(g);
	}
}

static void test_reference(void **state)
{
	static struct reference r;
	static const char *const names[] = {"muon", "adamw"};

	(void)state;
	for (int kind = 0; kind < 2; kind++) {
		float *start = numbers(0, 0.2), *w = descend((enum moe_optimiser_kind)kind, MOE_UNIT_F32, 1, NULL);
		reference_descend(&r, (enum moe_optimiser_kind)kind);
		for (size_t i = 0; i < N; i++)
			if (i != 5 && !(distance(&r, start, w, &table[i]) < 2e-5))
				fail_msg("%s: %s is %g from the reference", names[kind], table[i].name, distance(&r, start, w, &table[i]));
		for (size_t i = 0; i < EXPERTS; i++)    /* no gradient moves the choice bias */
			assert_true(start[table[5].offset + i] == w[table[5].offset + i]);
		free(start);
		free(w);
	}
}

/* With products in bf16 the steps are the same in kind. */
static void test_bf16(void **state)
{
	static struct reference r;
	float *start = numbers(0, 0.2), *w = descend(MOE_OPTIMISER_MUON, MOE_UNIT_BF16, 1, NULL);

	(void)state;
	reference_descend(&r, MOE_OPTIMISER_MUON);
	for (size_t i = 0; i < N; i++) {
		double limit = i == 6 ? 0.05 : 2e-5;    /* small matrices are multiplied in f32 */
		if (i != 5 && !(distance(&r, start, w, &table[i]) < limit))
			fail_msg("%s is %g from the reference", table[i].name, distance(&r, start, w, &table[i]));
	}
	assert_true(distance(&r, start, w, &table[6]) > 1e-4);
	free(start);
	free(w);
}

static void test_threads(void **state)
{
	(void)state;
	for (int kind = 0; kind < 2; kind++)
		for (int unit = 0; unit < 2; unit++) {
			float *a = descend((enum moe_optimiser_kind)kind, (enum moe_unit)unit, 1, NULL), *b = descend((enum moe_optimiser_kind)kind, (enum moe_unit)unit, 3, NULL);
			assert_memory_equal(a, b, TOTAL * sizeof *a);
			free(a);
			free(b);
		}
}

static void test_frozen(void **state)
{
	const bool frozen[N] = {true, false, false, true};
	float *start = numbers(0, 0.2), *all = descend(MOE_OPTIMISER_MUON, MOE_UNIT_F32, 1, NULL), *w = descend(MOE_OPTIMISER_MUON, MOE_UNIT_F32, 1, frozen);

	(void)state;
	for (size_t i = 0; i < N; i++)
		assert_memory_equal(w + table[i].offset, (frozen[i] ? start : all) + table[i].offset, table[i].count * sizeof *w);
	free(start);
	free(all);
	free(w);
}

static void test_norm(void **state)
{
	const bool frozen[N] = {true, false, true};
	struct moe_optimiser *o;
	struct moe_diag d = {0};
	float *g = numbers(1, 3);
	double all = 0, moving = 0;

	(void)state;
	for (size_t t = 0; t < N; t++)
		for (size_t i = 0; t != 5 && i < table[t].count; i++) {
			double x = (double)g[table[t].offset + i];
			all += x * x;
			moving += frozen[t] ? 0 : x * x;
		}
	expect_ok(&d, moe_optimiser_new(&o, &params, MOE_UNIT_F32, NULL, &d));
	assert_true(fabs(moe_optimiser_norm(o, g, NULL) / sqrt(all) - 1) < 1e-12);
	assert_true(fabs(moe_optimiser_norm(o, g, frozen) / sqrt(moving) - 1) < 1e-12);
	g[table[1].offset + 5] = NAN;
	assert_true(isnan(moe_optimiser_norm(o, g, frozen)));
	g[table[1].offset + 5] = INFINITY;
	assert_true(isinf(moe_optimiser_norm(o, g, frozen)));
	free(g);
	moe_optimiser_free(o);
}

/* A clipped step is the step of the smaller gradient. */
static void test_scale(void **state)
{
	struct moe_optimiser_step s = {.kind = MOE_OPTIMISER_ADAMW, .adamw_rate = 1e-3, .scale = 0.25}, whole = s;
	struct moe_optimiser *a, *b;
	struct moe_diag d = {0};
	float *x = numbers(0, 1), *y = numbers(0, 1), *g = numbers(1, 1), *quarter = numbers(1, 0.25);

	(void)state;
	whole.scale = 1;
	expect_ok(&d, moe_optimiser_new(&a, &params, MOE_UNIT_F32, NULL, &d));
	expect_ok(&d, moe_optimiser_new(&b, &params, MOE_UNIT_F32, NULL, &d));
	moe_optimiser_step(a, &s, x, g);
	moe_optimiser_step(b, &whole, y, quarter);
	assert_memory_equal(x, y, TOTAL * sizeof *x);
	assert_true(moe_optimiser_steps(a)[0] == 1 && moe_optimiser_steps(a)[5] == 0);
	moe_optimiser_forget_matrices(a);
	assert_true(moe_optimiser_steps(a)[0] == 0 && moe_optimiser_steps(a)[4] == 1);
	assert_true(moe_optimiser_first(a)[0] == 0 && moe_optimiser_first(a)[table[4].offset] != 0);
	moe_optimiser_free(a);
	moe_optimiser_free(b);
	free(x);
	free(y);
	free(g);
	free(quarter);
}

/* Loads of two layers by text and by image rows; the other modalities have none. */
typedef uint64_t loads[2][MOE_N_MODALITIES][EXPERTS];

static void test_balance(void **state)
{
	const loads load = {{{9, 9, 9, 9}, {9, 9, 9, 9}}, {{6, 0, 2, 1}, {0, 4, 3, 0}}};        /* layer 1: 6, 4, 5, 1; mean 4 */
	const struct moe_router_settings s = {.experts = EXPERTS}, pooled = {.experts = EXPERTS, .pools = {2, {2, 2}, {0, 1, 0, 1}}};
	const bool frozen[N] = {[5] = true};
	float w[TOTAL] = {0}, *bias = w + table[5].offset;

	(void)state;
	moe_balance_update(&params, w, &load[0][0][0], &s, 0.5, frozen);
	assert_true(bias[0] == 0);
	moe_balance_update(&params, w, &load[0][0][0], &s, 0.5, NULL);
	assert_true(bias[0] == -0.5f && bias[1] == 0 && bias[2] == -0.5f && bias[3] == 0.5f);
	moe_balance_update(&params, w, &load[0][0][0], &pooled, 0.25, NULL);            /* 6 and 5, 4 and 1: each pool has a mean of its own */
	assert_true(bias[0] == -0.75f && bias[1] == -0.25f && bias[2] == -0.25f && bias[3] == 0.75f);
	assert_true(moe_balance_possible(&params));
	assert_false(moe_balance_possible(&(struct moe_params){table, 5, TOTAL}));
}

/* A bias for each modality follows that modality's choices alone. */
static void test_balance_by_modality(void **state)
{
	const loads load = {[1] = {{6, 0, 1, 1}, {0, 4, 3, 1}}};
	const struct moe_router_settings s = {.experts = EXPERTS};
	struct moe_param one = table[5];
	const struct moe_params only = {&one, 1, TOTAL};
	float w[TOTAL + EXPERTS] = {0}, *bias = w + one.offset;

	(void)state;
	one.count = 2 * EXPERTS;
	moe_balance_update(&only, w, &load[0][0][0], &s, 0.5, NULL);
	assert_true(bias[0] == -0.5f && bias[1] == 0.5f && bias[2] == 0.5f && bias[3] == 0.5f);
	assert_true(bias[4] == 0.5f && bias[5] == -0.5f && bias[6] == -0.5f && bias[7] == 0.5f);
}

static void test_schedule(void **state)
{
	const struct moe_schedule s = {.tokens = 1000, .warmup = 100, .decay = 500, .floor = 0.1};
	const struct { uint64_t at, rows; double factor; } rows[] = {
		{0, 10, 0.05}, {90, 10, 0.95}, {95, 20, 1}, {400, 100, 1}, {490, 20, 1}, {700, 100, 0.1 + 0.9 * 0.5}, {990, 20, 0.1}, {5000, 10, 0.1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (!(fabs(moe_schedule_factor(&s, rows[i].at, rows[i].rows) - rows[i].factor) < 1e-12))
			fail_msg("at %d: %g", (int)rows[i].at, moe_schedule_factor(&s, rows[i].at, rows[i].rows));
	assert_true(moe_schedule_factor(&(struct moe_schedule){.tokens = 10}, 0, 10) == 1);
	assert_true(moe_schedule_factor(&(struct moe_schedule){.tokens = 10, .decay = 10}, 10, 10) == 0);
}

static void test_freeze(void **state)
{
	static const struct { const char *word[3]; const char *frozen; } rows[] = {
		{{"all"}, "1111111"}, {{"experts"}, "0111000"}, {{"EMBEDDING", "attention"}, "1000100"}, {{"experts@1"}, "0011000"}, {{"@0"}, "1100000"},
		{{"experts@0-1.1-3"}, "0101000"}, {{"@-.0"}, "0010000"}, {{"all", "!experts@-.1-"}, "1010111"}, {{"@1-", "!router"}, "0011001"},
	};
	static const struct { const char *word, *says; } wrong[] = {
		{"head", "means no tensor"}, {"experts@7", "means no tensor"}, {"expert", "is not one of"}, {"", "names no part"}, {"!", "names no part"},
		{"experts@", "expected PART"}, {"experts@3-1", "expected PART"}, {"experts@1.", "expected PART"}, {"experts@1x", "expected PART"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct moe_frozen frozen = {0};
		size_t n = 0;
		struct moe_diag d = {0};
		while (n < 3 && rows[i].word[n])
			n++;
		expect_ok(&d, moe_freeze(&frozen, &params, (char **)(uintptr_t)rows[i].word, n, &d));
		for (size_t j = 0; j < N; j++)
			if (frozen.tensor[j] != (rows[i].frozen[j] == '1'))
				fail_msg("%s: tensor %s", rows[i].word[0], table[j].name);
		moe_frozen_free(&frozen);
	}
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		struct moe_frozen frozen = {0};
		struct moe_diag d = {0};
		char *word = (char *)(uintptr_t)wrong[i].word;
		assert_int_equal(moe_freeze(&frozen, &params, &word, 1, &d), MOE_EUSAGE);
		if (!strstr(d.text, wrong[i].says))
			fail_msg("\"%s\": %s", wrong[i].word, d.text);
		moe_frozen_free(&frozen);
	}
}

/* What experts have of a router: its bias has four numbers from 19280 on. */
static void test_freeze_experts(void **state)
{
	static const struct { const char *word[3]; size_t offset, count; } rows[] = {
		{{"@-.0"}, 19280, 1}, {{"all", "!@-.2-"}, 19280, 2}, {{"router@1.1-2"}, 19281, 2}, {{"router", "!router@-.3"}, 19280, 3}, {{"all", "!router@-.-2"}, 19283, 1},
	};
	float *w = numbers(1, 1), *g = numbers(2, 1), *was = numbers(1, 1);

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct moe_frozen f = {0};
		struct moe_diag d = {0};
		size_t at = rows[i].offset, n = rows[i].count;
		expect_ok(&d, moe_freeze(&f, &params, (char **)(uintptr_t)rows[i].word, rows[i].word[1] ? 2 : 1, &d));
		if (f.n_runs != 1 || f.run->offset != at || f.run->count != n || f.tensor[5])
			fail_msg("%s: %zu runs, of %zu from %zu on", rows[i].word[0], f.n_runs, f.run->count, f.run->offset);
		moe_frozen_hold(&f, w, g);
		for (size_t j = 19280; j < 19284; j++) {
			assert_true((g[j] == 0) == (j >= at && j < at + n));
			w[j] += 1;
		}
		moe_frozen_restore(&f, w);
		for (size_t j = 19280; j < 19284; j++)
			assert_true((w[j] == was[j]) == (j >= at && j < at + n));
		memcpy(w, was, TOTAL * sizeof *w);
		free(g);
		g = numbers(2, 1);
		moe_frozen_free(&f);
	}
	free(w);
	free(g);
	free(was);
}

/* Biases of two modalities, [2][4], and a router of four rows: the piece of an expert is in both rows of the one, and one row of the other. */
static void test_freeze_pieces(void **state)
{
	struct moe_param p[] = {
		{"bias", "choice_bias", 0, -1, MOE_PART_ROUTER, 0, 8, 2, 4, false}, {"router", "router", 0, -1, MOE_PART_ROUTER, 16, 12, 4, 3, false},
		{"gate", "gate", 0, 3, MOE_PART_EXPERTS, 32, 4, 2, 2, true}, {"beside", "projection", -1, -1, MOE_N_PARTS, 48, 4, 2, 2, false},
	};
	const struct moe_params few = {p, 4, 64};
	char *words[] = {(char *)(uintptr_t)"all", (char *)(uintptr_t)"!@-.2-"};
	struct moe_frozen f = {0};
	struct moe_diag d = {0};

	(void)state;
	expect_ok(&d, moe_freeze(&f, &few, words, 2, &d));
	assert_int_equal(f.n_runs, 3);
	assert_true(f.run[0].offset == 0 && f.run[0].count == 2 && f.run[1].offset == 4 && f.run[1].count == 2 && f.run[2].offset == 16 && f.run[2].count == 6);
	assert_true(!f.tensor[0] && !f.tensor[1] && !f.tensor[2] && !f.tensor[3]);
	moe_frozen_free(&f);
	expect_ok(&d, moe_freeze(&f, &few, words, 1, &d));
	assert_true(!f.n_runs && f.tensor[0] && f.tensor[1] && f.tensor[2] && !f.tensor[3]);
	moe_frozen_free(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reference), cmocka_unit_test(test_factors), cmocka_unit_test(test_bf16), cmocka_unit_test(test_threads),
		cmocka_unit_test(test_frozen), cmocka_unit_test(test_norm), cmocka_unit_test(test_scale), cmocka_unit_test(test_balance),
		cmocka_unit_test(test_balance_by_modality), cmocka_unit_test(test_schedule), cmocka_unit_test(test_freeze), cmocka_unit_test(test_freeze_experts), cmocka_unit_test(test_freeze_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
