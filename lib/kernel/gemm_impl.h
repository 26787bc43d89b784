/* The body of a variant of products and operand makers: gemm_c.c, gemm_avx2.c and gemm_avx512.c define MOE_V_... and include this. A tile of rows and
 * outputs keeps its sums in registers for the whole of k. */
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

/* What a product takes of a unit: the float, or one of the halves as a float. */
enum take { WHOLE, HIGH, LOW };

FN vpart taken(vpart unit, enum take t) { return t == WHOLE ? unit : t == HIGH ? part_high(unit) : part_low(unit); }

FN vpart unit_of_a(const char *a)
{
	float f;

	memcpy(&f, a, sizeof f);
	return part_set(f);
}

/* A tile: `rows` rows and `parts` vectors of outputs, of the last of which `last` lanes are used unless it is whole. */
struct tile {
	const char *a;          /* bytes; steps, too */
	size_t a_row, a_step;
	const float *b;
	size_t b_step, k;
	float *c;
	size_t c_row, last;
};

FN vpart load_b(const struct tile *t, const float *b, bool masked) { return masked ? part_load_n(b, t->last, 0) : part_load(b, 0); }

FN void add_products(vpart (*s)[TILE_N], const struct tile *t, const char *a, const float *b, size_t rows, size_t parts, bool whole, enum take half)
{
	vpart v[TILE_N];

	UNROLL
	for (size_t j = 0; j < parts; j++)
		v[j] = taken(load_b(t, b + j * PART, !whole && j + 1 == parts), half);
	UNROLL
	for (size_t i = 0; i < rows; i++) {
		vpart u = taken(unit_of_a(a + i * t->a_row), half);
		UNROLL
		for (size_t j = 0; j < parts; j++)
			s[i][j] = part_fma(u, v[j], s[i][j]);
	}
}

FN void store_part(float *c, vpart s, bool add, bool masked, size_t last)
{
	if (masked) {
		part_store_n(c, add ? part_add(part_load_n(c, last, 0), s) : s, last);
		return;
	}
	part_store(c, add ? part_add(part_load(c, 0), s) : s);
}

FN void run_tile(enum moe_unit unit, const struct tile *t, size_t rows, size_t parts, bool whole, bool add)
{
	vpart s[TILE_M][TILE_N];
	const char *a = t->a;
	const float *b = t->b;

	UNROLL
	for (size_t i = 0; i < rows; i++)
		UNROLL
		for (size_t j = 0; j < parts; j++)
			s[i][j] = part_zero();
	for (size_t k = 0; k < t->k; k++, a += t->a_step, b += t->b_step) {
		if (unit == MOE_UNIT_F32) {
			add_products(s, t, a, b, rows, parts, whole, WHOLE);
		} else {
			add_products(s, t, a, b, rows, parts, whole, HIGH);
			add_products(s, t, a, b, rows, parts, whole, LOW);
		}
	}
	UNROLL
	for (size_t i = 0; i < rows; i++)
		UNROLL
		for (size_t j = 0; j < parts; j++)
			store_part(t->c + i * t->c_row + j * PART, s[i][j], add, !whole && j + 1 == parts, t->last);
}

/* All rows of so many vectors of outputs. */
FN void panel(enum moe_unit unit, struct tile t, size_t m, size_t parts, bool whole, bool add)
{
	for (; m >= TILE_M; m -= TILE_M, t.a += TILE_M * t.a_row, t.c += TILE_M * t.c_row)
		run_tile(unit, &t, TILE_M, parts, whole, add);
	if (m & 4) {
		run_tile(unit, &t, 4, parts, whole, add);
		t.a += 4 * t.a_row;
		t.c += 4 * t.c_row;
	}
	if (m & 2) {
		run_tile(unit, &t, 2, parts, whole, add);
		t.a += 2 * t.a_row;
		t.c += 2 * t.c_row;
	}
	if (m & 1)
		run_tile(unit, &t, 1, parts, whole, add);
}

FN void panels(enum moe_unit unit, const struct tile *t, size_t m, size_t parts, bool add)
{
	if (ALWAYS_MASKED || t->last < PART)
		panel(unit, *t, m, parts, false, add);
	else
		panel(unit, *t, m, parts, true, add);
}

/* Outputs are shared out evenly over panels of up to TILE_N vectors; in each the number of vectors is a constant, so that sums stay in registers. */
FN void run(enum moe_unit unit, const struct moe_gemm *g)
{
	struct tile t = {.a = g->a, .a_row = 4 * g->a_row, .a_step = 4 * g->a_step, .b_step = g->b_step, .k = g->k, .c_row = g->c_row};
	size_t left = (g->n + PART - 1) / PART;

	for (size_t j = 0, parts; left; left -= parts, j += parts * PART) {
		size_t n_panels = (left + TILE_N - 1) / TILE_N;
		parts = (left + n_panels - 1) / n_panels;
		t.b = (const float *)g->b + j;
		t.c = g->c + j;
		t.last = parts < left ? PART : g->n - j - (parts - 1) * PART;
		switch (parts) {
		case 1: panels(unit, &t, g->m, 1, g->add); break;
		case 2: panels(unit, &t, g->m, moe_min(2, TILE_N), g->add); break;
		case 3: panels(unit, &t, g->m, moe_min(3, TILE_N), g->add); break;
		case 4: panels(unit, &t, g->m, moe_min(4, TILE_N), g->add); break;
		}
	}
}

static TARGET void run_f32(const struct moe_gemm *g) { run(MOE_UNIT_F32, g); }
static TARGET void run_bf16(const struct moe_gemm *g) { run(MOE_UNIT_BF16, g); }

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
