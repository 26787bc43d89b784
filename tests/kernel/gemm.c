/* Products in both units and every variant: near the product in double, with the bits that gemm.h promises, each row as if it were alone, and no access
 * outside the operands; operand makers against plain loops. With --bench: GFLOP/s per shape and the share of what the instruction could do. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/dtype.h"
#include "base/rng.h"
#include "bench/peaks.h"
#include "guard.h"
#include "kernel/gemm.h"
#include "kernel/kernel.h"
#include "sys/clock.h"
#include "sys/cpu.h"

static const unsigned masks[] = {0, MOE_CPU_AVX2, MOE_CPU_AVX2 | MOE_CPU_AVX512, ~(unsigned)MOE_CPU_AMX, ~0u};
enum { N_MASKS = sizeof masks / sizeof *masks };

static void use(int i)
{
	moe_cpu_mask(masks[i]);
	moe_kernel_select();
}

static uint64_t draws;

static float draw(void) { return (float)(moe_random_unit(13, 1, draws++) * 2 - 1); }

static size_t draw_below(size_t n) { return (size_t)(moe_random_unit(13, 1, draws++) * (double)n); }

/* n units of random numbers between -1 and 1. */
static void fill(uint32_t *to, size_t n, enum moe_unit unit)
{
	for (size_t i = 0; i < n; i++) {
		float f = draw();
		memcpy(&to[i], &f, 4);
		if (unit == MOE_UNIT_BF16)
			to[i] = moe_bf16_from_f32(f) | (uint32_t)moe_bf16_from_f32(draw()) << 16;
	}
}

static float low(uint32_t u) { return moe_f32_from_bf16((uint16_t)u); }
static float high(uint32_t u) { return moe_f32_from_bf16((uint16_t)(u >> 16)); }

static float whole(uint32_t u)
{
	float f;

	memcpy(&f, &u, sizeof f);
	return f;
}

enum order { ORDER_F32, ORDER_PAIRS, ORDER_TILES };

/* gemm.h's definition of one output: the units of a are a_step apart, those of b b_step. */
static float defined_output(enum order o, const uint32_t *a, size_t a_step, const uint32_t *b, size_t b_step, size_t k, const float *add)
{
	float s = add && o == ORDER_TILES ? *add : 0, even = 0, odd = 0;

	for (size_t i = 0; i < k; i++) {
		uint32_t u = a[i * a_step], v = b[i * b_step];
		if (o == ORDER_F32) {
			s = fmaf(whole(u), whole(v), s);
		} else if (o == ORDER_PAIRS) {
			s = fmaf(high(u), high(v), s);
			s = fmaf(low(u), low(v), s);
		} else {
			even = fmaf(low(u), low(v), even);
			odd = fmaf(high(u), high(v), odd);
			if (i % 16 == 15 || i + 1 == k) {
				s += even + odd;
				even = odd = 0;
			}
		}
	}
	return add && o != ORDER_TILES ? *add + s : s;
}

/* The sum in double; *size is that of the products without their signs. */
static double exact_sum(enum moe_unit unit, const uint32_t *a, size_t a_step, const uint32_t *b, size_t b_step, size_t k, double *size)
{
	double s = 0;

	*size = 0;
	for (size_t i = 0; i < k; i++) {
		uint32_t u = a[i * a_step], v = b[i * b_step];
		double p = unit == MOE_UNIT_F32 ? (double)whole(u) * (double)whole(v) : (double)low(u) * (double)low(v),
		       q = unit == MOE_UNIT_F32 ? 0 : (double)high(u) * (double)high(v);
		s += p + q;
		*size += fabs(p) + fabs(q);
	}
	return s;
}

static enum order order_of(enum moe_unit unit)
{
	if (unit == MOE_UNIT_F32)
		return ORDER_F32;
	return strcmp(moe_gemm_name(unit), "amx") ? ORDER_PAIRS : ORDER_TILES;
}

/* A product with its operands, all of them between guards. */
struct problem {
	enum moe_unit unit;
	struct moe_gemm g;
	struct guarded a, b, c;
	size_t nc;              /* floats of c */
	float *before, *want;   /* [nc] */
};

/* Units of an operand whose last one is (i - 1, k - 1). */
static size_t extent(size_t i, size_t row, size_t k, size_t step) { return i && k ? (i - 1) * row + (k - 1) * step + 1 : 0; }

static struct problem new_problem(enum moe_unit unit, const struct moe_gemm *g, bool at_end)
{
	struct problem p = {.unit = unit, .g = *g, .nc = extent(g->m, g->c_row, g->n, 1)};
	size_t na = extent(g->m, g->a_row, g->k, g->a_step), nb = extent(g->k, g->b_step, g->n, 1);

	p.g.a = (p.a = guard(4 * na, at_end)).p;
	p.g.b = (p.b = guard(4 * nb, at_end)).p;
	p.g.c = (p.c = guard(4 * p.nc, at_end)).p;
	fill(p.a.p, na, unit);
	fill(p.b.p, nb, unit);
	p.before = malloc(4 * p.nc + 1);
	p.want = malloc(4 * p.nc + 1);
	fill((uint32_t *)p.before, p.nc, MOE_UNIT_F32);
	return p;
}

static void free_problem(struct problem *p)
{
	unguard(p->a);
	unguard(p->b);
	unguard(p->c);
	free(p->before);
	free(p->want);
}

static void define(struct problem *p, enum order o)
{
	const struct moe_gemm *g = &p->g;
	const uint32_t *a = g->a, *b = g->b;

	memcpy(p->want, p->before, 4 * p->nc);
	for (size_t i = 0; i < g->m; i++)
		for (size_t j = 0; j < g->n; j++) {
			double size, exact = exact_sum(p->unit, a + i * g->a_row, g->a_step, b + j, g->b_step, g->k, &size);
			float *c = &p->want[i * g->c_row + j], s = defined_output(o, a + i * g->a_row, g->a_step, b + j, g->b_step, g->k, g->add ? c : NULL);
			exact += g->add ? (double)*c : 0;
			size += g->add ? fabs((double)*c) : 0;
			assert_true(fabs((double)s - exact) <= size * 0x1p-24 * (2 * (double)g->k + 2));
			*c = s;
		}
}

/* Every variant has the bits of its definition, writes nothing else in c (what lies between its rows keeps its values), and reads no further. */
static void check(enum moe_unit unit, const struct moe_gemm *g, bool at_end)
{
	struct problem p = new_problem(unit, g, at_end);
	int have = -1;

	for (int v = 0; v < N_MASKS; v++) {
		use(v);
		if (have != (int)order_of(unit))
			define(&p, have = order_of(unit));
		memcpy(p.g.c, p.before, 4 * p.nc);
		moe_gemm_run(unit, &p.g);
		assert_memory_equal(p.g.c, p.want, 4 * p.nc);
	}
	free_problem(&p);
}

/* A product whose rows and whose sums lie together. */
static struct moe_gemm plain(size_t m, size_t n, size_t k)
{
	return (struct moe_gemm){.m = m, .n = n, .k = k, .a_row = k, .a_step = 1, .b_step = n, .c_row = n};
}

/* The same with a transposed, strides longer than what they span, and c that is added to. */
static struct moe_gemm turned(size_t m, size_t n, size_t k)
{
	return (struct moe_gemm){.m = m, .n = n, .k = k, .a_row = 1, .a_step = m + 3, .b_step = n + 5, .c_row = n + 2, .add = true};
}

static void check_shapes(size_t m, size_t n, size_t k)
{
	for (enum moe_unit u = 0; u <= MOE_UNIT_BF16; u++) {
		struct moe_gemm a = plain(m, n, k), b = turned(m, n, k), wide = plain(m, n, k);
		check(u, &a, true);
		check(u, &b, false);
		wide.a_row += 7;
		wide.c_row += 16;
		wide.add = true;
		check(u, &wide, true);
	}
}

static void test_shapes(void **state)
{
	static const size_t edges[] = {1, 2, 7, 15, 16, 17, 31, 33, 48, 63, 64, 65, 97};
	enum { N = sizeof edges / sizeof *edges };

	(void)state;
	for (int i = 0; i < N; i++)
		for (int j = 0; j < N; j++)
			check_shapes(edges[i], edges[j], edges[(i + j) % N]);
	for (size_t k = 1; k < 36; k++)
		check_shapes(5, 19, k);
	for (size_t m = 1; m < 36; m++)
		check_shapes(m, 33, 18);
	check_shapes(130, 40, 300);     /* sums longer than what any cache or scratch takes at once */
	check_shapes(7, 145, 1100);
	check_shapes(3, 1045, 37);
}

static void test_random_shapes(void **state)
{
	(void)state;
	for (int i = 0; i < 60; i++) {
		struct moe_gemm g = {.m = 1 + draw_below(70), .n = 1 + draw_below(150), .k = 1 + draw_below(90), .add = draw_below(2)};
		g.c_row = g.n + draw_below(20);
		g.b_step = g.n + draw_below(20);
		g.a_step = draw_below(2) ? 1 : g.m + draw_below(9);
		g.a_row = g.a_step == 1 ? g.k + draw_below(9) : 1;
		check(i % 2 ? MOE_UNIT_F32 : MOE_UNIT_BF16, &g, i % 4 < 2);
		g.a_row = 2 + draw_below(3);                    /* neither lies together */
		g.a_step = g.a_row * g.m;
		check(i % 2 ? MOE_UNIT_BF16 : MOE_UNIT_F32, &g, i % 4 < 2);
	}
}

/* Without sums there are zeros, and c + 0; without rows or outputs nothing is touched. */
static void test_nothing(void **state)
{
	float c[3] = {5, NAN, 7};

	(void)state;
	for (int v = 0; v < N_MASKS; v++)
		for (enum moe_unit u = 0; u <= MOE_UNIT_BF16; u++) {
			struct moe_gemm g = {.m = 1, .n = 1, .a_row = 1, .a_step = 1, .b_step = 1, .c = c, .c_row = 1, .add = true};
			use(v);
			c[0] = 5;
			moe_gemm_run(u, &g);
			assert_true(c[0] == 5);
			g.add = false;
			moe_gemm_run(u, &g);
			assert_true(c[0] == 0);
			g = (struct moe_gemm){.n = 3, .k = 2, .c = c};
			moe_gemm_run(u, &g);
			g = (struct moe_gemm){.m = 3, .k = 2, .c = c};
			moe_gemm_run(u, &g);
			assert_true(c[0] == 0 && isnan(c[1]) && c[2] == 7);
		}
}

/* A row has the same bits alone, among others, and with part of its outputs. */
static void test_rows_stand_alone(void **state)
{
	enum { M = 71, N = 130, K = 45 };
	static float alone[M * N], all[M * N];

	(void)state;
	for (int v = 0; v < N_MASKS; v++)
		for (enum moe_unit u = 0; u <= MOE_UNIT_BF16; u++) {
			struct moe_gemm g = plain(M, N, K);
			struct problem p = new_problem(u, &g, true);
			use(v);
			p.g.c = all;
			moe_gemm_run(u, &p.g);
			for (size_t i = 0; i < M; i++)
				for (size_t j = 0, n; j < N; j += n) {
					struct moe_gemm one = p.g;
					n = 1 + draw_below(N - j);
					one.m = 1;
					one.n = n;
					one.a = (const uint32_t *)p.g.a + i * K;
					one.b = (const uint32_t *)p.g.b + j;
					one.c = alone + i * N + j;
					moe_gemm_run(u, &one);
				}
			assert_memory_equal(alone, all, sizeof all);
			free_problem(&p);
		}
}

/* What rounding has to get right: halves either way, what becomes infinite, NaNs whose bits are all below, and subnormal numbers. */
static const uint32_t special[] = {
	0x3f808000, 0x3f818000, 0x3f807fff, 0x3f808001, 0xbf808000, 0x7f7fffff, 0xff7fffff, 0x7f7f7fff, 0x7f800000, 0xff800000, 0x7f800001,
	0xffc12345, 0x7fffffff, 0, 0x80000000, 1, 0x807fffff, 0x007fffff, 0x00800000, 0x807f8000,
};
enum { N_SPECIAL = sizeof special / sizeof *special };

static void fill_rows(float *x, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		x[i] = draw();
		if (draw_below(3) == 0)
			memcpy(&x[i], &special[draw_below(N_SPECIAL)], 4);
	}
}

static uint16_t rounded(float f)
{
	uint32_t u;

	memcpy(&u, &f, 4);
	return u & 0x7f800000 ? moe_bf16_from_f32(f) : (uint16_t)(u >> 16 & 0x8000);
}

/* All operands of x [rows][cols] under a mask; `loose` is added to each stride. */
static void check_operands(size_t rows, size_t cols, size_t loose)
{
	size_t ldx = cols + loose, even = (cols + 1) / 2 * 2, ld = even + 2 * loose, units = even / 2, ld_units = rows + loose, step, pairs = (rows + 1) / 2;
	struct guarded x = guard(4 * ((rows - 1) * ldx + cols), true), r = guard(2 * ((rows - 1) * ld + even), true), along = guard(4 * pairs * cols, true),
		       columns = guard(4 * ((units - 1) * ld_units + rows), true), turned_f32 = guard(4 * ((cols - 1) * ld_units + rows), true);
	const uint16_t *h = r.p;
	const uint32_t *u;

	fill_rows(x.p, (rows - 1) * ldx + cols);
	memset(r.p, 0xaa, 2 * ((rows - 1) * ld + even));
	memset(columns.p, 0xaa, 4 * ((units - 1) * ld_units + rows));
	moe_operand_rows(MOE_UNIT_BF16, r.p, ld, x.p, ldx, rows, cols);
	for (size_t i = 0; i < rows; i++)
		for (size_t j = 0; j < (i + 1 < rows ? ld : even); j++)
			assert_int_equal(h[i * ld + j], j < cols ? rounded(((float *)x.p)[i * ldx + j]) : j < even ? 0 : 0xaaaa);
	u = moe_operand_along_rows(MOE_UNIT_BF16, along.p, r.p, ld, rows, cols, &step);
	assert_true(u == along.p && step == cols);
	for (size_t i = 0; i < pairs; i++)
		for (size_t j = 0; j < cols; j++)
			assert_int_equal(u[i * cols + j], h[2 * i * ld + j] | (2 * i + 1 < rows ? (uint32_t)h[(2 * i + 1) * ld + j] << 16 : 0));
	moe_operand_columns(MOE_UNIT_BF16, columns.p, ld_units, r.p, ld, rows, cols);
	u = columns.p;
	for (size_t j = 0; j < units; j++)
		for (size_t i = 0; i < (j + 1 < units ? ld_units : rows); i++)
			assert_int_equal(u[j * ld_units + i], i < rows ? h[i * ld + 2 * j] | (uint32_t)h[i * ld + 2 * j + 1] << 16 : 0xaaaaaaaa);
	assert_true(moe_operand_along_rows(MOE_UNIT_F32, NULL, x.p, ldx, rows, cols, &step) == x.p && step == ldx);
	moe_operand_columns(MOE_UNIT_F32, turned_f32.p, ld_units, x.p, ldx, rows, cols);
	for (size_t j = 0; j < cols; j++)
		for (size_t i = 0; i < rows; i++)
			assert_memory_equal((float *)turned_f32.p + j * ld_units + i, (float *)x.p + i * ldx + j, 4);
	unguard(x);
	unguard(r);
	unguard(along);
	unguard(columns);
	unguard(turned_f32);
}

static void test_operands(void **state)
{
	static const size_t edges[] = {1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100};
	enum { N = sizeof edges / sizeof *edges };

	(void)state;
	for (int v = 0; v < N_MASKS; v++) {
		use(v);
		for (int i = 0; i < N; i++)
			for (int j = 0; j < N; j++)
				check_operands(edges[i], edges[j], (size_t)(i + j) % 3 * 5);
	}
}

static void test_operands_of_f32(void **state)
{
	float x[3][5], to[3][7];

	(void)state;
	for (int v = 0; v < N_MASKS; v++) {
		use(v);
		fill_rows(x[0], 15);
		memset(to, 0xaa, sizeof to);
		moe_operand_rows(MOE_UNIT_F32, to, 7, x[0], 5, 3, 5);
		for (int i = 0; i < 3; i++) {
			assert_memory_equal(to[i], x[i], 20);
			assert_int_equal(((uint8_t *)&to[i][5])[0], 0xaa);
		}
	}
}

/* The three orientations of a layer y = x W^T: forward, the gradient of x, and that of W, all from rows operands. */
static void test_orientations(void **state)
{
	enum { T = 37, IN = 50, OUT = 23 };
	static float x[T * IN], w[OUT * IN], dy[T * OUT], y[T * OUT], dx[T * IN], dw[OUT * IN];
	static uint32_t xr[T * IN], wr[OUT * IN], dyr[T * (OUT + 1)], other[T * IN], along[T * OUT];

	(void)state;
	for (size_t i = 0; i < T * IN; i++)
		x[i] = draw();
	for (size_t i = 0; i < OUT * IN; i++)
		w[i] = draw();
	for (size_t i = 0; i < T * OUT; i++)
		dy[i] = draw();
	for (int v = 0; v < N_MASKS; v++)
		for (enum moe_unit u = 0; u <= MOE_UNIT_BF16; u++) {
			size_t per = u == MOE_UNIT_BF16 ? 2 : 1, ldo = OUT + OUT % 2, step;
			double near = u == MOE_UNIT_BF16 ? 0.02 : 1e-5;
			struct moe_gemm g = {.m = T, .n = OUT, .k = IN / per, .a = xr, .a_row = IN / per, .a_step = 1, .b = other, .b_step = OUT, .c = y, .c_row = OUT};
			use(v);
			moe_operand_rows(u, xr, IN, x, IN, T, IN);
			moe_operand_rows(u, wr, IN, w, IN, OUT, IN);
			moe_operand_rows(u, dyr, ldo, dy, OUT, T, OUT);
			moe_operand_columns(u, other, OUT, wr, IN, OUT, IN);
			moe_gemm_run(u, &g);
			g = (struct moe_gemm){.m = T, .n = IN, .k = (OUT + per - 1) / per, .a = dyr, .a_row = ldo / per, .a_step = 1, .c = dx, .c_row = IN};
			g.b = moe_operand_along_rows(u, other, wr, IN, OUT, IN, &g.b_step);
			moe_gemm_run(u, &g);
			g = (struct moe_gemm){.m = OUT, .n = IN, .k = (T + per - 1) / per, .a_row = 1, .c = dw, .c_row = IN};
			g.a = moe_operand_along_rows(u, along, dyr, ldo, T, OUT, &step);
			g.a_step = step;
			g.b = moe_operand_along_rows(u, other, xr, IN, T, IN, &g.b_step);
			moe_gemm_run(u, &g);
			for (size_t t = 0; t < T; t++)
				for (size_t o = 0; o < OUT; o++) {
					double s = 0;
					for (size_t i = 0; i < IN; i++)
						s += (double)x[t * IN + i] * (double)w[o * IN + i];
					assert_true(fabs((double)y[t * OUT + o] - s) < near * 4);
				}
			for (size_t i = 0; i < IN; i++) {
				for (size_t t = 0; t < T; t++) {
					double s = 0;
					for (size_t o = 0; o < OUT; o++)
						s += (double)dy[t * OUT + o] * (double)w[o * IN + i];
					assert_true(fabs((double)dx[t * IN + i] - s) < near * 4);
				}
				for (size_t o = 0; o < OUT; o++) {
					double s = 0;
					for (size_t t = 0; t < T; t++)
						s += (double)dy[t * OUT + o] * (double)x[t * IN + i];
					assert_true(fabs((double)dw[o * IN + i] - s) < near * 4);
				}
			}
		}
}

/* The best of several rounds. */
static double seconds_of(enum moe_unit unit, const struct moe_gemm *g)
{
	double best = 1e9;
	int repeat = 1 + (int)(2e8 / (2.0 * (double)(g->m * g->n * g->k)));

	for (int r = 0; r < 7; r++) {
		double start = moe_clock();
		for (int i = 0; i < repeat; i++)
			moe_gemm_run(unit, g);
		best = fmin(best, (moe_clock() - start) / repeat);
	}
	return best;
}

/* Operands along the rows of a if dw, else whole rows of a. */
static void bench_product(enum moe_unit unit, size_t m, size_t n, size_t k, bool dw, double peak)
{
	struct moe_gemm g = plain(m, n, k);
	uint32_t *a = aligned_alloc(64, (m * k + 15) / 16 * 64), *b = aligned_alloc(64, (n * k + 15) / 16 * 64);
	float *c = aligned_alloc(64, (m * n + 15) / 16 * 64);
	double rate;

	g.a = a;
	g.b = b;
	g.c = c;
	if (dw) {
		g.a_row = 1;
		g.a_step = m;
		g.add = true;
	}
	fill(a, m * k, unit);
	fill(b, k * n, unit);
	memset(c, 0, 4 * m * n);
	rate = 2 * (double)(m * n * k) * (unit == MOE_UNIT_BF16 ? 2 : 1) / seconds_of(unit, &g);
	printf("%-4s %5zu x %4zu x %4zu %8.1f GFLOP/s %5.1f %%\n", dw ? "a^T" : "a", m, n, k, rate / 1e9, 100 * rate / peak);
	free(a);
	free(b);
	free(c);
}

static double best_seconds(double best, double start, int repeat) { return fmin(best, (moe_clock() - start) / repeat); }

static void bench_operands(enum moe_unit u, size_t rows, size_t cols)
{
	enum { ROUNDS = 7, REPEAT = 50 };
	float *x = aligned_alloc(64, 4 * rows * cols), *to = aligned_alloc(64, 4 * rows * cols), *other = aligned_alloc(64, 4 * rows * cols);
	double made = 1e9, along = 1e9, columns = 1e9, n = (double)(rows * cols) / 1e9, start;
	size_t step;

	for (size_t i = 0; i < rows * cols; i++)
		x[i] = draw();
	memset(to, 0, 4 * rows * cols);
	memset(other, 0, 4 * rows * cols);
	for (int r = 0; r < ROUNDS; r++) {
		start = moe_clock();
		for (int i = 0; i < REPEAT; i++)
			moe_operand_rows(u, to, cols, x, cols, rows, cols);
		made = best_seconds(made, start, REPEAT);
		start = moe_clock();
		for (int i = 0; i < REPEAT; i++)
			moe_operand_along_rows(u, other, to, cols, rows, cols, &step);
		along = best_seconds(along, start, REPEAT);
		start = moe_clock();
		for (int i = 0; i < REPEAT; i++)
			moe_operand_columns(u, other, rows, to, cols, rows, cols);
		columns = best_seconds(columns, start, REPEAT);
	}
	printf("operands of %zu x %zu: rows %.2f, ", rows, cols, n / made);
	if (u == MOE_UNIT_BF16)
		printf("along rows %.2f, ", n / along);
	printf("columns %.2f numbers per ns\n", n / columns);
	free(x);
	free(to);
	free(other);
}

static void bench_unit(enum moe_unit u, double peak)
{
	static const size_t shape[][3] = {
		{16, 160, 80}, {64, 160, 80}, {256, 192, 80}, {1280, 192, 64}, {1280, 384, 64}, {1280, 384, 80}, {1280, 160, 96}, {2560, 576, 96},
		{2560, 192, 192}, {1280, 384, 256}, {640, 512, 640},
	}, dw[][3] = {{128, 128, 40}, {384, 160, 160}, {384, 192, 320}, {192, 384, 640}, {160, 576, 640}};

	for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
		bench_product(u, shape[i][0], shape[i][1], shape[i][2], false, peak);
	for (size_t i = 0; i < sizeof dw / sizeof *dw; i++)
		bench_product(u, dw[i][0], dw[i][1], dw[i][2], true, peak);
	bench_operands(u, 1280, 160);
	bench_operands(u, 1280, 384);
}

/* From the best instructions on. The share is of the quickest way to multiply numbers of the unit: where that is to widen bf16, VDPBF16PS cannot reach it. */
static int bench(void)
{
	struct moe_peaks peaks;

	for (int v = N_MASKS - 1; v > 0; v--) {
		use(v);
		if (moe_peaks_measure(&peaks, NULL, NULL))
			return 1;
		for (enum moe_unit u = 0; u <= MOE_UNIT_BF16; u++) {
			enum moe_peak p = u == MOE_UNIT_BF16 ? MOE_PEAK_BF16 : MOE_PEAK_F32;
			double peak = peaks.rate[p] > 0 ? peaks.rate[p] : peaks.rate[MOE_PEAK_F32];
			printf("%s: %s, peak %.1f GFLOP/s (%s)\n", u == MOE_UNIT_BF16 ? "bf16" : "f32", moe_gemm_name(u), peak / 1e9, peaks.how[p]);
			bench_unit(u, peak);
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shapes), cmocka_unit_test(test_random_shapes), cmocka_unit_test(test_nothing), cmocka_unit_test(test_rows_stand_alone),
		cmocka_unit_test(test_operands), cmocka_unit_test(test_operands_of_f32), cmocka_unit_test(test_orientations),
	};

	if (argc > 1 && !strcmp(argv[1], "--bench"))
		return bench();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
