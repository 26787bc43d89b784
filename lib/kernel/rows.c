/* Chooses the variant of the arithmetic `fast`, and shares products out: rows and groups of outputs are divided, sums never. */
#include "kernel/rows.h"

#include <stdatomic.h>
#include <string.h>

#include "base/check.h"
#include "kernel/fast_priv.h"
#include "kernel/kernel_priv.h"
#include "sys/cpu.h"

enum { FEW_ROWS = 6 };          /* up to so many the variant for few is quicker */

static _Thread_local struct fast_scratch scratch;

/* The best variants of this CPU; of one kind all give the same bits. Those for BF16 are NULL where there is none. */
static struct {
	const struct moe_fast *_Atomic few, *_Atomic many;
} bytes, bf16;

static void choose(const struct moe_fast *_Atomic *to, const struct moe_fast *f) { atomic_store_explicit(to, f, memory_order_relaxed); }

void moe_fast_select(void)
{
	const struct moe_fast *few = &moe_fast_c;

#if defined __x86_64__
	unsigned flags = moe_cpu_flags();
	bool tiles = flags & MOE_CPU_AMX;

	if (flags & MOE_CPU_AVX2)
		few = flags & MOE_CPU_AVX_VNNI ? &moe_fast_avx_vnni : &moe_fast_avx2;
	if (flags & MOE_CPU_AVX512 && (flags & MOE_CPU_VNNI || !(flags & MOE_CPU_AVX_VNNI)))
		few = flags & MOE_CPU_VNNI ? &moe_fast_vnni : &moe_fast_avx512;
	choose(&bf16.few, tiles ? &moe_bf16_tiles_one : flags & MOE_CPU_BF16 ? &moe_bf16_dot : NULL);
	choose(&bf16.many, tiles ? &moe_bf16_tiles : flags & MOE_CPU_BF16 ? &moe_bf16_dot : NULL);
	choose(&bytes.many, tiles ? &moe_fast_amx : few);
#else
	choose(&bytes.many, few);
#endif
	choose(&bytes.few, few);
}

/* The best variant for products of `together` rows with weights like w. The tiles of AMX are the slower way for two scales in a block. */
static const struct moe_fast *fast_for(size_t together, const struct moe_mat *w)
{
	const struct packing *p = moe_packing(w->type);
	bool few = together <= FEW_ROWS || (p && p->sums >= SUMS_2);

	if (!atomic_load_explicit(&bytes.few, memory_order_relaxed))
		moe_fast_select();
	if (!p)
		return atomic_load_explicit(few ? &bf16.few : &bf16.many, memory_order_relaxed);
	return atomic_load_explicit(few ? &bytes.few : &bytes.many, memory_order_relaxed);
}

const char *moe_fast_name(void) { return fast_for(SIZE_MAX, &(struct moe_mat){.type = MOE_Q8_0})->name; }

bool moe_rows_known(const struct moe_mat *w) { return moe_packing(w->type) || (w->type == MOE_BF16 && fast_for(1, w)); }

static size_t blocks_of(size_t cols) { return (cols + BLOCK - 1) / BLOCK; }
static size_t tile_nbytes(const struct moe_fast *f, size_t cols) { return f->tile_rows * blocks_of(cols) * f->block_nbytes; }

static const struct moe_fast *fast_for_groups(const struct moe_group *group, size_t n_groups)
{
	size_t rows = 0;

	for (size_t i = 0; i < n_groups; i++)
		rows += group[i].n;
	return fast_for(rows / n_groups, group->w);
}

static size_t tiles_of(const struct moe_fast *f, size_t rows) { return (rows + f->tile_rows - 1) / f->tile_rows; }

size_t moe_rows_nbytes(const struct moe_group *group, size_t n_groups)
{
	const struct moe_fast *f = fast_for_groups(group, n_groups);
	size_t tiles = 0;

	for (size_t i = 0; i < n_groups; i++)
		tiles += tiles_of(f, group[i].n);
	return tiles * tile_nbytes(f, group->w->cols);
}

struct quantising {
	const struct moe_rows *r;
	const float *const *x;
	const struct moe_group *group;
	size_t parts;           /* of a group, QUANTISED_ROWS rows each */
};

enum { QUANTISED_ROWS = 48 };   /* whole tiles */

/* Row i of a group, or the place behind its last one in a tile. */
static void quantise_row(const struct quantising *q, const struct moe_group *g, size_t i)
{
	const struct moe_fast *f = q->r->fast;
	size_t step = f->tile_rows * f->block_nbytes;
	uint8_t *to = q->r->data + (g->tile + i / f->tile_rows) * tile_nbytes(f, q->r->cols) + i % f->tile_rows * f->block_nbytes;

	if (i < g->n)
		f->quantise(to, q->x[g->first + i], q->r->cols);
	else if (f->whole_tiles)
		for (size_t b = 0; b < blocks_of(q->r->cols); b++)
			memset(to + b * step, 0, f->block_nbytes);
}

static void run_quantising(void *arg, size_t unit)
{
	const struct quantising *q = arg;
	const struct moe_group *g = &q->group[unit / q->parts];
	size_t first = unit % q->parts * QUANTISED_ROWS, end = moe_min(first + QUANTISED_ROWS, moe_round_up(g->n, q->r->fast->tile_rows));

	for (size_t i = first; i < end; i++)
		quantise_row(q, g, i);
}

void moe_rows_quantise(struct moe_rows *r, void *memory, const float *const *x, struct moe_group *group, size_t n_groups, struct moe_pool *pool)
{
	struct quantising q = {.r = r, .x = x, .group = group};
	size_t tiles = 0, most = 0, rows = 0;

	*r = (struct moe_rows){.fast = fast_for_groups(group, n_groups), .data = memory, .cols = group->w->cols};
	for (size_t i = 0; i < n_groups; i++) {
		group[i].tile = tiles;
		tiles += tiles_of(r->fast, group[i].n);
		most = moe_max(most, group[i].n);
		rows += group[i].n;
	}
	q.parts = (most + QUANTISED_ROWS - 1) / QUANTISED_ROWS;
	moe_pool_run(pool, 8.0 * (double)rows * (double)r->cols, n_groups * q.parts, run_quantising, &q);
}

/* A unit is what one pass of sums makes: two groups of outputs of a matrix, or one of gate and one of up. */
struct product {
	float *y;
	const struct moe_rows *r;
	const struct moe_group *group;
	size_t ldy, packed_nbytes, units, unit_chunks;
};

/* The scales of outputs [first, first + n) of I8 weights. */
static void scale_sums(float *sum, const struct moe_group *g, size_t first, size_t n)
{
	for (size_t k = 0; k < n; k++) {
		sum[k] *= g->w->scale[first + k];
		if (g->up)
			sum[16 + k] *= g->up->scale[first + k];
	}
}

/* Sums of 32 outputs, or of 16 of gate and of up, to y. */
static void store(const struct product *p, const struct moe_group *g, float (*sum)[32], size_t row, size_t rows, size_t unit)
{
	size_t width = g->up ? 16 : 32, first = unit * width, n = moe_min(width, g->w->rows - first);

	for (size_t i = 0; i < rows; i++) {
		if (g->w->type == MOE_I8)
			scale_sums(sum[i], g, first, n);
		if (g->up)
			moe_silu_mul(sum[i], sum[i] + 16, 16);
		memcpy(p->y + (row + i) * p->ldy + first, sum[i], n * sizeof(float));
	}
}

/* Rows [row, row + rows) of a group, `row` being the first of a tile. */
static void run_unit(const struct product *p, const struct moe_group *g, size_t row, size_t rows, size_t unit)
{
	struct fast_scratch *s = &scratch;
	const struct moe_fast *f = p->r->fast;
	struct fast_job j = {
		.packing = moe_packing(g->w->type), .x = p->r->data + (g->tile + row / f->tile_rows) * tile_nbytes(f, p->r->cols), .n_groups = 2,
		.n = rows, .cols = p->r->cols,
	};

	if (g->up) {
		j.group[0] = (const uint8_t *)g->w->packed + unit * p->packed_nbytes;
		j.group[1] = (const uint8_t *)g->up->packed + unit * p->packed_nbytes;
	} else {
		j.group[0] = (const uint8_t *)g->w->packed + 2 * unit * p->packed_nbytes;
		j.group[1] = j.group[0] + p->packed_nbytes;
		if (32 * unit + 16 >= g->w->rows)
			j.n_groups = 1;
	}
	f->sums(s, &j);
	store(p, g, s->sum, g->first + row, rows, unit);
}

static void run_product(void *arg, size_t i)
{
	const struct product *p = arg;
	const struct moe_group *g = &p->group[i / p->unit_chunks];
	size_t c = i % p->unit_chunks, last = p->units * (c + 1) / p->unit_chunks;

	for (size_t row = 0, n; row < g->n; row += n) {
		n = moe_min(FAST_ROWS, g->n - row);
		for (size_t u = p->units * c / p->unit_chunks; u < last; u++)
			run_unit(p, g, row, n, u);
	}
}

/* Outputs are divided as far as groups alone would not keep all threads busy. */
void moe_matmul_groups(float *y, size_t ldy, const struct moe_rows *r, const struct moe_group *group, size_t n_groups, struct moe_pool *pool)
{
	struct product p = {.y = y, .r = r, .group = group, .ldy = ldy};
	size_t outputs = n_groups ? group->w->rows : 0, width = n_groups && group->up ? 16 : 32, share = 4 * moe_pool_threads(pool);
	double rows = 0;

	if (!outputs)
		return;
	for (size_t i = 0; i < n_groups; i++)
		rows += (double)group[i].n;
	p.packed_nbytes = moe_packed_group_nbytes(group->w);
	p.units = (outputs + width - 1) / width;
	p.unit_chunks = moe_pool_threads(pool) == 1 ? 1 : moe_min(p.units, (share + n_groups - 1) / n_groups);
	moe_pool_run(pool, (group->up ? 4.0 : 2.0) * rows * (double)outputs * (double)r->cols, n_groups * p.unit_chunks, run_product, &p);
}

void moe_matmul_packed(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const struct moe_mat *w, void *memory, size_t nbytes,
		       struct moe_pool *pool)
{
	enum { MOST = 512 };
	const float *row[MOST];
	struct moe_rows r;

	for (size_t first = 0, n; first < m; first += n) {
		struct moe_group g = {.n = n = moe_min(MOST, m - first), .w = w};
		while (moe_rows_nbytes(&g, 1) > nbytes)
			n = g.n = g.n / 2;
		for (size_t i = 0; i < n; i++)
			row[i] = x + (first + i) * ldx;
		moe_rows_quantise(&r, memory, row, &g, 1, pool);
		moe_matmul_groups(y + first * ldy, ldy, &r, &g, 1, pool);
	}
}
