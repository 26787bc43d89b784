/* BF16 with the tiles of AMX (TDPBF16PS). Two tiles of 16 rows by two of 16 outputs are summed at once, so that each operand is loaded once for two products.
 * Tiles are loaded from a and b where they lie as whole tiles, else from panels in scratch: [step][32 rows or 2 x 16 outputs][16 units], padded with
 * zeros. A step is 16 units of k. c is where sums wait while k is done in parts. */
#if defined __x86_64__
#define MOE_V_AVX512
#include "base/check.h"
#include "kernel/gemm_priv.h"
#include "kernel/tiles.h"
#include "kernel/v16.h"

/* A part of k has up to PART_STEPS steps; a block of rows and two tiles of outputs for a part lie in the nearest cache, all outputs of a block in the second. */
enum {
	STEP = 16, PAIR = 32, UNIT = 4, LINE = STEP * UNIT, PANEL_STEP = PAIR * LINE,
	PART_STEPS = 8, A_PANELS = 16, A_STEPS = 16, B_STEPS = 128,
	FEW_ROWS = 64,          /* up to so many b is read in place */
};

static _Thread_local _Alignas(64) struct {
	char a[A_STEPS * PANEL_STEP], b[B_STEPS * PANEL_STEP];
	float c[PAIR * PAIR];
} scratch;

/* Two tiles of an operand: bytes from line to line of a tile, to the other tile, and to the next step. */
struct panel {
	const char *at;
	size_t line, other, step;
};

static struct panel packed(const char *at) { return (struct panel){at, LINE, STEP * LINE, PANEL_STEP}; }

static struct panel panel_of_a(const struct moe_gemm *g, size_t i, size_t k)
{
	return (struct panel){(const char *)g->a + UNIT * (i * g->a_row + k), UNIT * g->a_row, UNIT * STEP * g->a_row, LINE};
}

static struct panel panel_of_b(const struct moe_gemm *g, size_t k, size_t j)
{
	return (struct panel){(const char *)g->b + UNIT * (k * g->b_step + j), UNIT * g->b_step, LINE, UNIT * STEP * g->b_step};
}

/* Tiles 0 to 3 are sums, 4 and 5 rows of a, 6 and 7 units of b. */
static const struct tile_config whole = {.palette = 1, .row_nbytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

#define DOT(c, a, b) __asm__ volatile("tdpbf16ps %tmm" #b ", %tmm" #a ", %tmm" #c)

/* Sums of 16 · rows by 16 · outputs go on from c, or from zero. */
FN void sum_tiles(float *c, size_t c_row, struct panel a, struct panel b, size_t steps, size_t rows, size_t outputs, bool go_on)
{
	float *low = c + STEP * c_row;
	size_t line = c_row * sizeof *c;

	if (go_on) {
		TILE_LOAD(0, c, line);
		if (outputs > 1)
			TILE_LOAD(1, c + STEP, line);
		if (rows > 1)
			TILE_LOAD(2, low, line);
		if (rows > 1 && outputs > 1)
			TILE_LOAD(3, low + STEP, line);
	} else {
		TILE_ZERO(0);
		TILE_ZERO(1);
		TILE_ZERO(2);
		TILE_ZERO(3);
	}
	for (; steps; steps--, a.at += a.step, b.at += b.step) {
		TILE_LOAD(6, b.at, b.line);
		TILE_LOAD(4, a.at, a.line);
		DOT(0, 4, 6);
		if (outputs > 1) {
			TILE_LOAD(7, b.at + b.other, b.line);
			DOT(1, 4, 7);
		}
		if (rows > 1) {
			TILE_LOAD(5, a.at + a.other, a.line);
			DOT(2, 5, 6);
		}
		if (rows > 1 && outputs > 1)
			DOT(3, 5, 7);
	}
	TILE_STORE(0, c, line);
	if (outputs > 1)
		TILE_STORE(1, c + STEP, line);
	if (rows > 1)
		TILE_STORE(2, low, line);
	if (rows > 1 && outputs > 1)
		TILE_STORE(3, low + STEP, line);
}

FN void sum_some_tiles(float *c, size_t c_row, struct panel a, struct panel b, size_t steps, size_t rows, size_t outputs, bool go_on)
{
	if (rows > STEP && outputs > STEP)
		sum_tiles(c, c_row, a, b, steps, 2, 2, go_on);
	else if (rows > STEP)
		sum_tiles(c, c_row, a, b, steps, 2, 1, go_on);
	else if (outputs > STEP)
		sum_tiles(c, c_row, a, b, steps, 1, 2, go_on);
	else
		sum_tiles(c, c_row, a, b, steps, 1, 1, go_on);
}

FN void copy_floats(float *to, size_t ld, const float *x, size_t ldx, size_t rows, size_t n)
{
	for (size_t i = 0; i < rows; i++)
		for (size_t j = 0; j < n; j += LANES)
			v_store_n(to + i * ld + j, v_load_n(x + i * ldx + j, moe_min(LANES, n - j)), moe_min(LANES, n - j));
}

/* Up to 32 rows by 32 outputs; what is no whole tiles by way of scratch. */
FN void sum_block(float *c, size_t c_row, struct panel a, struct panel b, size_t steps, size_t rows, size_t outputs, bool go_on)
{
	if (rows % STEP == 0 && outputs % STEP == 0) {
		sum_some_tiles(c, c_row, a, b, steps, rows, outputs, go_on);
		return;
	}
	if (go_on)
		copy_floats(scratch.c, PAIR, c, c_row, rows, outputs);
	sum_some_tiles(scratch.c, PAIR, a, b, steps, rows, outputs, go_on);
	copy_floats(c, c_row, scratch.c, PAIR, rows, outputs);
}

/* Lanes 16 · i and on of n. */
FN size_t lanes_at(size_t n, size_t i) { return n > i ? moe_min(LANES, n - i) : 0; }

/* k units of up to 32 rows whose units lie together. */
FN void pack_rows(char *to, const float *a, size_t a_row, size_t rows, size_t k)
{
	for (size_t i = 0; i < PAIR; i++)
		for (size_t s = 0; s * STEP < k; s++)
			v_store((float *)(to + s * PANEL_STEP + i * LINE), i < rows ? v_load_n(a + i * a_row + s * STEP, lanes_at(k, s * STEP)) : v_zero());
}

/* Those of up to 32 rows that lie together. */
FN void pack_turned(char *to, const float *a, size_t a_step, size_t rows, size_t k)
{
	v16 v[LANES];

	for (size_t s = 0; s < k; s += STEP, to += PANEL_STEP)
		for (size_t i = 0; i < PAIR; i += LANES) {
			size_t n = lanes_at(rows, i);
			for (size_t j = 0; j < STEP; j++)
				v[j] = s + j < k && n ? v_load_n(a + (s + j) * a_step + i, n) : v_zero();
			v_turn(v);
			for (size_t j = 0; j < LANES; j++)
				v_store((float *)(to + (i + j) * LINE), v[j]);
		}
}

static void pack_scattered(char *to, const float *a, size_t a_row, size_t a_step, size_t rows, size_t k)
{
	memset(to, 0, moe_round_up(k, STEP) / STEP * PANEL_STEP);
	for (size_t i = 0; i < rows; i++)
		for (size_t s = 0; s < k; s++)
			memcpy(to + s / STEP * PANEL_STEP + i * LINE + s % STEP * UNIT, a + i * a_row + s * a_step, UNIT);
}

FN void pack_a(char *to, const struct moe_gemm *g, size_t i, size_t rows, size_t k, size_t nk)
{
	const float *a = (const float *)g->a + i * g->a_row + k * g->a_step;

	if (g->a_step == 1)
		pack_rows(to, a, g->a_row, rows, nk);
	else if (g->a_row == 1)
		pack_turned(to, a, g->a_step, rows, nk);
	else
		pack_scattered(to, a, g->a_row, g->a_step, rows, nk);
}

/* nk units of n outputs: a panel for every 32 of them. */
FN void pack_b(char *to, const struct moe_gemm *g, size_t k, size_t nk, size_t j, size_t n)
{
	size_t steps = (nk + STEP - 1) / STEP;

	for (size_t s = 0; s < steps * STEP; s++) {
		char *line = to + s / STEP * PANEL_STEP + s % STEP * LINE;
		const float *b = (const float *)g->b + (k + s) * g->b_step + j;
		for (size_t i = 0; i < moe_round_up(n, PAIR); i += LANES)
			v_store((float *)(line + i / PAIR * steps * PANEL_STEP + i / LANES % 2 * STEP * LINE), s < nk ? v_load_n(b + i, lanes_at(n, i)) : v_zero());
	}
}

/* A block: units [k, k + nk) and outputs [j, j + n), with b packed or in place. */
struct block {
	size_t k, nk, j, n;
	bool go_on, in_place;
};

/* `rows` rows from i on, whose panels of a are `a` [.. of 32 rows]. */
FN void run_rows(const struct moe_gemm *g, const struct block *k, const struct panel *a, size_t i, size_t rows)
{
	size_t steps = (k->nk + STEP - 1) / STEP;

	for (size_t j = 0; j < k->n; j += PAIR) {
		struct panel b = k->in_place ? panel_of_b(g, k->k, k->j + j) : packed(scratch.b + j / PAIR * steps * PANEL_STEP);
		for (size_t r = 0; r < rows; r += PAIR)
			sum_block(g->c + (i + r) * g->c_row + k->j + j, g->c_row, a[r / PAIR], b, steps, moe_min(PAIR, rows - r), moe_min(PAIR, k->n - j), k->go_on);
	}
}

FN void run_block(const struct moe_gemm *g, const struct block *k)
{
	size_t steps = (k->nk + STEP - 1) / STEP, most = moe_min(A_PANELS, A_STEPS / steps) * PAIR;
	bool whole_a = g->a_step == 1 && k->nk % STEP == 0;

	if (!k->in_place)
		pack_b(scratch.b, g, k->k, k->nk, k->j, k->n);
	for (size_t i = 0, rows; i < g->m; i += rows) {
		struct panel a[A_PANELS];
		rows = moe_min(most, g->m - i);
		for (size_t r = 0; r < rows; r += PAIR) {
			size_t n = moe_min(PAIR, rows - r);
			char *to = scratch.a + r / PAIR * steps * PANEL_STEP;
			a[r / PAIR] = packed(to);
			if (whole_a && n % STEP == 0)
				a[r / PAIR] = panel_of_a(g, i + r, k->k);
			else
				pack_a(to, g, i + r, n, k->k, k->nk);
		}
		run_rows(g, k, a, i, rows);
	}
}

/* Parts of k are whole steps of about one length. */
static __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma,f16c"))) void run(const struct moe_gemm *g)
{
	size_t steps = (g->k + STEP - 1) / STEP, parts = (steps + PART_STEPS - 1) / PART_STEPS;

	if (!g->k && !g->add)
		for (size_t i = 0; i < g->m; i++)
			memset(g->c + i * g->c_row, 0, g->n * sizeof *g->c);
	TILE_CONFIG(whole);
	for (size_t p = 0; p < parts; p++) {
		size_t first = steps * p / parts, n_steps = steps * (p + 1) / parts - first, most = B_STEPS / n_steps * PAIR;
		struct block b = {.k = first * STEP, .go_on = g->add || p};
		b.nk = moe_min(n_steps * STEP, g->k - b.k);
		for (; b.j < g->n; b.j += b.n) {
			b.n = moe_min(most, g->n - b.j);
			b.in_place = g->m <= FEW_ROWS && b.n % STEP == 0 && b.nk % STEP == 0;
			run_block(g, &b);
		}
	}
	TILE_RELEASE();
}

const struct moe_gemm_variant moe_gemm_bf16_tiles = {"amx", run, moe_gemm_round_row};
#endif
