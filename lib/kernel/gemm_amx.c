/* BF16 with the tiles of AMX (TDPBF16PS). A step is 16 units of k; tiles of 16 rows by a step and of a step by 16 outputs are multiplied two by two, so that
 * each is loaded once for two products. They are loaded from a and b where they lie as whole tiles, else from panels in scratch, [step][2 tiles][16][16 units],
 * padded with zeros. k is done in parts, between which the sums wait in c. */
#if defined __x86_64__
#define MOE_V_AVX512
#include <assert.h>

#include "base/check.h"
#include "kernel/gemm_priv.h"
#include "kernel/tiles.h"
#include "kernel/v16.h"

/* A part of k has up to PART_STEPS steps. Rows of a are taken A_STEPS panels' steps at a time, which lie in the nearest cache
 * for all outputs. */
enum { STEP = 16, PAIR = 32, UNIT = 4, LINE = STEP * UNIT, TILE = STEP * LINE, PANEL_STEP = 2 * TILE, PART_STEPS = 8, A_STEPS = 16, OUTPUTS = 1024 };

struct panels {
	char a[A_STEPS * PANEL_STEP], edge[PART_STEPS * PANEL_STEP], last[OUTPUTS / PAIR * PANEL_STEP];
	float c[PAIR * PAIR];
};
static_assert(sizeof(struct panels) <= sizeof moe_gemm_scratch, "");

static inline struct panels *scratch(void) { return (struct panels *)moe_gemm_scratch; }

/* Two tiles of an operand: bytes from line to line of a tile, to the other tile, and to the next step. */
struct panel {
	const char *at;
	size_t line, other, step;
};

static struct panel packed(const char *at) { return (struct panel){at, LINE, TILE, PANEL_STEP}; }

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

FN void add_step(const struct panel *a, const struct panel *b, size_t rows, size_t outputs)
{
	TILE_LOAD(6, b->at, b->line);
	TILE_LOAD(4, a->at, a->line);
	DOT(0, 4, 6);
	if (outputs > 1) {
		TILE_LOAD(7, b->at + b->other, b->line);
		DOT(1, 4, 7);
	}
	if (rows > 1) {
		TILE_LOAD(5, a->at + a->other, a->line);
		DOT(2, 5, 6);
	}
	if (rows > 1 && outputs > 1)
		DOT(3, 5, 7);
}

/* The operands of a block: `steps` steps of a and b, then, if b has another one, that of a with it. */
struct operands {
	struct panel a, b, b_last;
	size_t steps;
	bool last;
};

/* Sums of 16 · rows by 16 · outputs go on from c, or from zero. */
FN void sum_tiles(float *c, size_t c_row, const struct operands *o, size_t rows, size_t outputs, bool go_on)
{
	struct panel a = o->a, b = o->b;
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
	for (size_t s = 0; s < o->steps; s++, a.at += a.step, b.at += b.step)
		add_step(&a, &b, rows, outputs);
	if (o->last)
		add_step(&a, &o->b_last, rows, outputs);
	TILE_STORE(0, c, line);
	if (outputs > 1)
		TILE_STORE(1, c + STEP, line);
	if (rows > 1)
		TILE_STORE(2, low, line);
	if (rows > 1 && outputs > 1)
		TILE_STORE(3, low + STEP, line);
}

FN void sum_some_tiles(float *c, size_t c_row, const struct operands *o, size_t rows, size_t outputs, bool go_on)
{
	if (rows > STEP && outputs > STEP)
		sum_tiles(c, c_row, o, 2, 2, go_on);
	else if (rows > STEP)
		sum_tiles(c, c_row, o, 2, 1, go_on);
	else if (outputs > STEP)
		sum_tiles(c, c_row, o, 1, 2, go_on);
	else
		sum_tiles(c, c_row, o, 1, 1, go_on);
}

FN void copy_floats(float *to, size_t ld, const float *x, size_t ldx, size_t rows, size_t n)
{
	for (size_t i = 0; i < rows; i++)
		for (size_t j = 0; j < n; j += LANES)
			v_store_n(to + i * ld + j, v_load_n(x + i * ldx + j, moe_min(LANES, n - j)), moe_min(LANES, n - j));
}

/* Up to 32 rows by 32 outputs; what is no whole tiles by way of scratch()-> */
FN void sum_block(float *c, size_t c_row, const struct operands *o, size_t rows, size_t outputs, bool go_on)
{
	if (rows % STEP == 0 && outputs % STEP == 0) {
		sum_some_tiles(c, c_row, o, rows, outputs, go_on);
		return;
	}
	if (go_on)
		copy_floats(scratch()->c, PAIR, c, c_row, rows, outputs);
	sum_some_tiles(scratch()->c, PAIR, o, rows, outputs, go_on);
	copy_floats(c, c_row, scratch()->c, PAIR, rows, outputs);
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
			if (n == LANES && s + STEP <= k) {
				v_load_turned(v, a + s * a_step + i, a_step);
			} else {
				for (size_t j = 0; j < STEP; j++)
					v[j] = s + j < k && n ? v_load_n(a + (s + j) * a_step + i, n) : v_zero();
				v_turn(v);
			}
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

/* Units [k, k + nk) and outputs [j, j + n): a block of b, of which the last step of units and the last outputs are packed where they are no whole tiles. */
struct block {
	size_t k, nk, j, n, steps;
	bool go_on;
};

FN void pack_edges(const struct moe_gemm *g, const struct block *k)
{
	size_t pairs = k->n / PAIR * PAIR;

	if (k->nk % STEP)
		pack_b(scratch()->last, g, k->k + k->steps * STEP, k->nk % STEP, k->j, k->n);
	if (k->n % STEP)
		pack_b(scratch()->edge, g, k->k, k->nk, k->j + pairs, k->n - pairs);
}

/* `rows` rows from i on, the panels of a being for 32 rows each. */
FN void run_rows(const struct moe_gemm *g, const struct block *k, const struct panel *a, size_t i, size_t rows)
{
	for (size_t j = 0; j < k->n; j += PAIR) {
		size_t n = moe_min(PAIR, k->n - j);
		struct operands o = {.b = panel_of_b(g, k->k, k->j + j), .b_last = packed(scratch()->last + j / PAIR * PANEL_STEP), .steps = k->steps, .last = k->nk % STEP};
		if (n % STEP)
			o.b = packed(scratch()->edge);
		for (size_t r = 0; r < rows; r += PAIR) {
			o.a = a[r / PAIR];
			sum_block(g->c + (i + r) * g->c_row + k->j + j, g->c_row, &o, moe_min(PAIR, rows - r), n, k->go_on);
		}
	}
}

FN void run_block(const struct moe_gemm *g, const struct block *k)
{
	size_t steps = (k->nk + STEP - 1) / STEP, most = A_STEPS / steps * PAIR;
	bool whole_steps = g->a_step == 1 && k->nk % STEP == 0;

	pack_edges(g, k);
	for (size_t i = 0, rows; i < g->m; i += rows) {
		struct panel a[A_STEPS];
		rows = moe_min(most, g->m - i);
		for (size_t r = 0; r < rows; r += PAIR) {
			size_t n = moe_min(PAIR, rows - r);
			char *to = scratch()->a + r / PAIR * steps * PANEL_STEP;
			a[r / PAIR] = packed(to);
			if (whole_steps && n % STEP == 0)
				a[r / PAIR] = panel_of_a(g, i + r, k->k);
			else
				pack_a(to, g, i + r, n, k->k, k->nk);
		}
		run_rows(g, k, a, i, rows);
	}
}

/* Parts of k are whole steps of about one length. */
static TARGET void run(const struct moe_gemm *g)
{
	size_t steps = (g->k + STEP - 1) / STEP, parts = (steps + PART_STEPS - 1) / PART_STEPS;

	if (!g->k && !g->add)
		for (size_t i = 0; i < g->m; i++)
			memset(g->c + i * g->c_row, 0, g->n * sizeof *g->c);
	TILE_CONFIG(whole);
	for (size_t p = 0; p < parts; p++) {
		size_t first = steps * p / parts * STEP, end = moe_min(steps * (p + 1) / parts * STEP, g->k);
		struct block b = {.k = first, .nk = end - first, .steps = (end - first) / STEP, .go_on = g->add || p};
		for (; b.j < g->n; b.j += b.n) {
			b.n = moe_min(OUTPUTS, g->n - b.j);
			run_block(g, &b);
		}
	}
	TILE_RELEASE();
}

const struct moe_gemm_variant moe_gemm_bf16_tiles = {"amx", run, moe_gemm_round_row};
#endif
