/* The body of a variant of products and operand makers: gemm_c.c, gemm_avx2.c and gemm_avx512.c define MOE_V_... and include this. A tile of rows and
 * outputs keeps its sums in registers for the whole of k. */
#include <assert.h>

#include "base/check.h"
#include "kernel/gemm_priv.h"
#include "kernel/v16.h"

/* Sums of a tile, operands and all, fill the registers: 6 x 4 of AVX-512's 32, 6 x 2 of AVX2's 16. Masked loads cost AVX-512 nothing. */
#if defined MOE_V_AVX512
enum { TILE_N = 4, ALWAYS_MASKED = true };
#elif defined MOE_V_AVX2
enum { TILE_N = 2, ALWAYS_MASKED = false };
#else
enum { TILE_N = 1, ALWAYS_MASKED = false };
#endif

enum { TILE_M = 6, PART = LANES / PARTS };

/* What a sum starts from, and what becomes of it: c = s from zero, c = s from c, c = c + s from zero. */
enum begin { FROM_ZERO, FROM_C, ADDED };

/* A tile: `rows` rows and `parts` vectors of outputs, of the last of which `last` lanes are used unless it is whole. */
struct tile {
	const float *a;
	size_t a_row, a_step;
	const float *b;
	size_t b_step, k;
	float *c;
	size_t c_row, last;
	enum begin begin;
};

FN vpart load_some(const struct tile *t, const float *p, bool masked) { return masked ? part_load_n(p, t->last, 0) : part_load(p, 0); }

FN void store_some(const struct tile *t, float *p, vpart s, bool masked)
{
	if (masked)
		part_store_n(p, s, t->last);
	else
		part_store(p, s);
}

FN float unit_of_a(const float *a)
{
	float f;

	memcpy(&f, a, sizeof f);
	return f;
}

FN void run_tile(const struct tile *t, size_t rows, size_t parts, bool whole)
{
	vpart s[TILE_M][TILE_N], v[TILE_N];
	const float *a = t->a, *b = t->b;

	UNROLL
	for (size_t i = 0; i < rows; i++)
		UNROLL
		for (size_t j = 0; j < parts; j++)
			s[i][j] = t->begin == FROM_C ? load_some(t, t->c + i * t->c_row + j * PART, !whole && j + 1 == parts) : part_zero();
	for (size_t k = 0; k < t->k; k++, a += t->a_step, b += t->b_step) {
		UNROLL
		for (size_t j = 0; j < parts; j++)
			v[j] = load_some(t, b + j * PART, !whole && j + 1 == parts);
		UNROLL
		for (size_t i = 0; i < rows; i++) {
			vpart u = part_set(unit_of_a(a + i * t->a_row));
			UNROLL
			for (size_t j = 0; j < parts; j++)
				s[i][j] = part_fma(u, v[j], s[i][j]);
		}
	}
	UNROLL
	for (size_t i = 0; i < rows; i++)
		UNROLL
		for (size_t j = 0; j < parts; j++) {
			bool masked = !whole && j + 1 == parts;
			float *c = t->c + i * t->c_row + j * PART;
			store_some(t, c, t->begin == ADDED ? part_add(load_some(t, c, masked), s[i][j]) : s[i][j], masked);
		}
}

/* All rows of so many vectors of outputs. */
FN void panel(struct tile t, size_t m, size_t parts, bool whole)
{
	for (; m >= TILE_M; m -= TILE_M, t.a += TILE_M * t.a_row, t.c += TILE_M * t.c_row)
		run_tile(&t, TILE_M, parts, whole);
	if (m & 4) {
		run_tile(&t, 4, parts, whole);
		t.a += 4 * t.a_row;
		t.c += 4 * t.c_row;
	}
	if (m & 2) {
		run_tile(&t, 2, parts, whole);
		t.a += 2 * t.a_row;
		t.c += 2 * t.c_row;
	}
	if (m & 1)
		run_tile(&t, 1, parts, whole);
}

FN void panels(const struct tile *t, size_t m, size_t parts)
{
	if (ALWAYS_MASKED || t->last < PART)
		panel(*t, m, parts, false);
	else
		panel(*t, m, parts, true);
}

/* Outputs are shared out evenly over panels of up to TILE_N vectors; in each the number of vectors is a constant, so that sums stay in registers. */
static TARGET void run_floats(const struct moe_gemm *g, enum begin begin)
{
	struct tile t = {.a = g->a, .a_row = g->a_row, .a_step = g->a_step, .b_step = g->b_step, .k = g->k, .c_row = g->c_row, .begin = begin};
	size_t left = (g->n + PART - 1) / PART;

	for (size_t j = 0, parts; left; left -= parts, j += parts * PART) {
		size_t n_panels = (left + TILE_N - 1) / TILE_N;
		parts = (left + n_panels - 1) / n_panels;
		t.b = (const float *)g->b + j;
		t.c = g->c + j;
		t.last = parts < left ? PART : g->n - j - (parts - 1) * PART;
		switch (parts) {
		case 1: panels(&t, g->m, 1); break;
		case 2: panels(&t, g->m, moe_min(2, TILE_N)); break;
		case 3: panels(&t, g->m, moe_min(3, TILE_N)); break;
		case 4: panels(&t, g->m, moe_min(4, TILE_N)); break;
		}
	}
}

static void run_f32(const struct moe_gemm *g) { run_floats(g, g->add ? ADDED : FROM_ZERO); }

/* bf16: blocks of a and b are widened, for each unit a line of the high halves and one of the low ones, and are multiplied as floats. */
enum { WIDE_M = 96, WIDE_N = 128, WIDE_K = 32 };

struct wide {
	float a[2 * WIDE_K][WIDE_M], b[2 * WIDE_K][WIDE_N], c[WIDE_M][WIDE_N];
};
static_assert(sizeof(struct wide) <= sizeof moe_gemm_scratch, "");

FN void store_halves(float *to, size_t ld, v16 units)
{
	v_store(to, v_high(units));
	v_store(to + ld, v_low(units));
}

/* Lines of n units. */
FN void widen_lines(float *to, size_t ld, const float *x, size_t step, size_t n, size_t k)
{
	for (size_t i = 0; i < k; i++, to += 2 * ld, x += step) {
		size_t j = 0;
		for (; j + LANES <= n; j += LANES)
			store_halves(to + j, ld, v_load(x + j));
		if (j < n)
			store_halves(to + j, ld, v_load_n(x + j, n - j));
	}
}

/* Rows of k units become lines. */
FN void widen_turned(float *to, size_t ld, const float *x, size_t row, size_t rows, size_t k)
{
	v16 v[LANES];

	for (size_t i = 0; i < rows; i += LANES)
		for (size_t s = 0; s < k; s += LANES) {
			const float *at = x + i * row + s;
			size_t n = moe_min(LANES, k - s);
			if (i + LANES <= rows && n == LANES) {
				v_load_turned(v, at, row);
			} else {
				for (size_t j = 0; j < LANES; j++)
					v[j] = i + j < rows ? v_load_n(at + j * row, n) : v_zero();
				v_turn(v);
			}
			for (size_t j = 0; j < n; j++)
				store_halves(to + 2 * (s + j) * ld + i, ld, v[j]);
		}
}

FN void widen_scattered(float *to, size_t ld, const float *x, size_t row, size_t step, size_t rows, size_t k)
{
	for (size_t s = 0; s < k; s++)
		for (size_t i = 0; i < rows; i += LANES) {
			float line[LANES] = {0};
			for (size_t j = 0; j < moe_min(LANES, rows - i); j++)
				line[j] = unit_of_a(x + (i + j) * row + s * step);
			store_halves(to + 2 * s * ld + i, ld, v_load(line));
		}
}

FN void widen_a(struct wide *w, const struct moe_gemm *g, size_t i, size_t rows, size_t k, size_t nk)
{
	const float *a = (const float *)g->a + i * g->a_row + k * g->a_step;

	if (g->a_row == 1)
		widen_lines(w->a[0], WIDE_M, a, g->a_step, rows, nk);
	else if (g->a_step == 1)
		widen_turned(w->a[0], WIDE_M, a, g->a_row, rows, nk);
	else
		widen_scattered(w->a[0], WIDE_M, a, g->a_row, g->a_step, rows, nk);
}

FN void add_rows(float *c, size_t c_row, const float *sum, size_t rows, size_t n)
{
	for (size_t i = 0; i < rows; i++)
		for (size_t j = 0; j < n; j += LANES) {
			float *to = c + i * c_row + j;
			size_t some = moe_min(LANES, n - j);
			v_store_n(to, v_add(v_load_n(to, some), v_load(sum + i * WIDE_N + j)), some);
		}
}

/* A block of c, whose sums wait in it, or in scratch if they are to be added to it. */
FN void run_wide(struct wide *w, const struct moe_gemm *g, size_t i, size_t rows, size_t j, size_t n)
{
	float *c = g->c + i * g->c_row + j;
	struct moe_gemm f = {.m = rows, .n = n, .a = w->a, .a_row = 1, .a_step = WIDE_M, .b = w->b, .b_step = WIDE_N, .c = c, .c_row = g->c_row};
	bool once = g->k <= WIDE_K;
	size_t k = 0, nk;

	if (g->add && !once) {
		f.c = w->c[0];
		f.c_row = WIDE_N;
	}
	do {
		nk = moe_min(WIDE_K, g->k - k);
		f.k = 2 * nk;
		widen_a(w, g, i, rows, k, nk);
		widen_lines(w->b[0], WIDE_N, (const float *)g->b + k * g->b_step + j, g->b_step, n, nk);
		run_floats(&f, k ? FROM_C : g->add && once ? ADDED : FROM_ZERO);
		k += nk;
	} while (k < g->k);
	if (g->add && !once)
		add_rows(c, g->c_row, w->c[0], rows, n);
}

static TARGET void run_bf16(const struct moe_gemm *g)
{
	struct wide *w = (struct wide *)moe_gemm_scratch;

	for (size_t j = 0; j < g->n; j += WIDE_N)
		for (size_t i = 0; i < g->m; i += WIDE_M)
			run_wide(w, g, i, moe_min(WIDE_M, g->m - i), j, moe_min(WIDE_N, g->n - j));
}

static void copy_row(void *to, const float *x, size_t n) { memcpy(to, x, n * sizeof *x); }

static TARGET void round_row(void *to, const float *x, size_t n)
{
	uint16_t *h = to, rest[LANES];
	size_t i = 0;

	for (; i + LANES <= n; i += LANES)
		v_store_bf16(h + i, v_load(x + i));
	if (i == n)
		return;
	v_store_bf16(rest, v_load_n(x + i, n - i));
	memcpy(h + i, rest, moe_round_up(n - i, 2) * sizeof *h);
}

/* As v_pair_bf16, of n < LANES numbers. */
FN void pair_rest(float *to, const uint16_t *low, const uint16_t *high, size_t n)
{
	uint16_t l[LANES] = {0}, h[LANES] = {0};

	memcpy(l, low, n * sizeof *l);
	if (high)
		memcpy(h, high, n * sizeof *h);
	v_store_n(to, v_pair_bf16(l, h), n);
}

static TARGET void pair_rows(void *to, const void *low, const void *high, size_t n)
{
	static const uint16_t zeros[LANES];
	const uint16_t *l = low, *h = high;
	float *units = to;
	size_t i = 0;

	for (; i + LANES <= n; i += LANES)
		v_store(units + i, v_pair_bf16(l + i, h ? h + i : zeros));
	if (i < n)
		pair_rest(units + i, l + i, h ? h + i : NULL, n - i);
}

/* 16 x 16 units, or fewer. */
FN void turn_block(float *to, size_t ld, const float *x, size_t ldx, size_t rows, size_t cols)
{
	v16 v[LANES];

	if (rows == LANES && cols == LANES) {
		v_load_turned(v, x, ldx);
		for (size_t i = 0; i < LANES; i++)
			v_store(to + i * ld, v[i]);
		return;
	}
	for (size_t i = 0; i < LANES; i++)
		v[i] = i < rows ? v_load_n(x + i * ldx, cols) : v_zero();
	v_turn(v);
	for (size_t i = 0; i < cols; i++)
		v_store_n(to + i * ld, v[i], rows);
}

static TARGET void turn(void *to, size_t ld, const void *x, size_t ldx, size_t rows, size_t cols)
{
	for (size_t j = 0; j < cols; j += LANES)
		for (size_t i = 0; i < rows; i += LANES)
			turn_block((float *)to + j * ld + i, ld, (const float *)x + i * ldx + j, ldx, moe_min(LANES, rows - i), moe_min(LANES, cols - j));
}

const struct moe_gemm_variant VARIANT(f32) = {VARIANT_NAME, run_f32, copy_row}, VARIANT(bf16) = {VARIANT_NAME, run_bf16, round_row};
const struct moe_operand_variant OPERANDS = {.pair = pair_rows, .turn = turn};
