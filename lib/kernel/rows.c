/* Chooses the variant of the arithmetic `fast`, and shares products out: rows and groups of outputs are divided, sums never. */
#include "kernel/rows.h"

#include <stdatomic.h>
#include <string.h>

#include "base/check.h"
#include "kernel/fast_priv.h"
#include "kernel/kernel_priv.h"
#include "sys/cpu.h"

static const struct moe_fast *_Atomic chosen;
static _Thread_local struct fast_scratch scratch;

void moe_fast_select(void)
{
	const struct moe_fast *f = &moe_fast_c;

#if defined __x86_64__
	unsigned flags = moe_cpu_flags();

	if (flags & MOE_CPU_AVX2)
		f = flags & MOE_CPU_AVX_VNNI ? &moe_fast_avx_vnni : &moe_fast_avx2;
	if (flags & MOE_CPU_AVX512 && (flags & MOE_CPU_VNNI || !(flags & MOE_CPU_AVX_VNNI)))
		f = flags & MOE_CPU_VNNI ? &moe_fast_vnni : &moe_fast_avx512;
#endif
	atomic_store_explicit(&chosen, f, memory_order_relaxed);
}

static const struct moe_fast *fast(void)
{
	if (!atomic_load_explicit(&chosen, memory_order_relaxed))
		moe_fast_select();
	return atomic_load_explicit(&chosen, memory_order_relaxed);
}

const char *moe_fast_name(void) { return fast()->name; }

enum kind { KIND_BYTES = 1 };

static int kind_of(const struct moe_mat *w) { return moe_packing(w->type) ? KIND_BYTES : 0; }

bool moe_rows_fit(const struct moe_rows *r, const struct moe_mat *w) { return w->packed && r->kind == kind_of(w) && r->cols == w->cols; }

/* The best variant for products of so many rows. */
static const struct moe_fast *fast_for(size_t together)
{
	(void)together;
	return fast();
}

static size_t tile_nbytes(const struct moe_fast *f, size_t cols) { return f->tile_rows * (cols / BLOCK) * f->block_nbytes; }

size_t moe_rows_tile(size_t together, const struct moe_mat *w)
{
	(void)w;
	return fast_for(together)->tile_rows;
}

size_t moe_rows_nbytes(size_t m, size_t together, const struct moe_mat *w)
{
	const struct moe_fast *f = fast_for(together);

	return (m + f->tile_rows - 1) / f->tile_rows * tile_nbytes(f, w->cols);
}

struct quantising {
	const struct moe_rows *r;
	const float *const *x;
};

enum { QUANTISED_ROWS = 16 };

static void run_quantising(void *arg, size_t i)
{
	const struct quantising *q = arg;
	const struct moe_fast *f = q->r->fast;
	size_t end = moe_min(q->r->rows, (i + 1) * QUANTISED_ROWS);

	for (size_t r = i * QUANTISED_ROWS; r < end; r++)
		if (q->x[r])
			f->quantise(q->r->data + r / f->tile_rows * tile_nbytes(f, q->r->cols) + r % f->tile_rows * f->block_nbytes, q->x[r], q->r->cols / BLOCK);
}

void moe_rows_quantise(struct moe_rows *r, void *memory, const float *const *x, size_t m, size_t together, const struct moe_mat *w, struct moe_pool *pool)
{
	struct quantising q = {r, x};

	*r = (struct moe_rows){.fast = fast_for(together), .data = memory, .rows = m, .cols = w->cols, .kind = kind_of(w)};
	moe_pool_run(pool, 8.0 * (double)m * (double)w->cols, (m + QUANTISED_ROWS - 1) / QUANTISED_ROWS, run_quantising, &q);
}

/* A unit is what one pass of sums makes: two groups of outputs of a matrix, or one of gate and one of up. */
struct product {
	float *y;
	const struct moe_rows *r;
	const struct moe_group *group;
	size_t ldy, packed_nbytes, units, unit_chunks;
};

/* Sums of 32 outputs, or of 16 of gate and of up, to y. */
static void store(const struct product *p, const struct moe_group *g, float (*sum)[32], size_t row, size_t rows, size_t unit)
{
	size_t width = g->up ? 16 : 32, first = unit * width, n = moe_min(width, g->w->rows - first);

	for (size_t i = 0; i < rows; i++) {
		if (g->up)
			moe_silu_mul(sum[i], sum[i] + 16, 16);
		memcpy(p->y + (row + i) * p->ldy + first, sum[i], n * sizeof(float));
	}
}

static void run_unit(const struct product *p, const struct moe_group *g, size_t row, size_t rows, size_t unit)
{
	struct fast_scratch *s = &scratch;
	struct fast_job j = {
		.packing = moe_packing(g->w->type), .x = p->r->data + row / p->r->fast->tile_rows * tile_nbytes(p->r->fast, g->w->cols), .n_groups = 2,
		.n = rows, .cols = g->w->cols,
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
	p->r->fast->sums(s, &j);
	store(p, g, s->sum, row, rows, unit);
}

static void run_product(void *arg, size_t i)
{
	const struct product *p = arg;
	const struct moe_group *g = &p->group[i / p->unit_chunks];
	size_t c = i % p->unit_chunks, last = p->units * (c + 1) / p->unit_chunks;

	for (size_t row = g->first, n; row < g->first + g->n; row += n) {
		n = moe_min(FAST_ROWS, g->first + g->n - row);
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
	p.packed_nbytes = group_nbytes(moe_packing(group->w->type), r->cols);
	p.units = (outputs + width - 1) / width;
	p.unit_chunks = moe_pool_threads(pool) == 1 ? 1 : moe_min(p.units, (share + n_groups - 1) / n_groups);
	moe_pool_run(pool, (group->up ? 4.0 : 2.0) * rows * (double)outputs * (double)r->cols, n_groups * p.unit_chunks, run_product, &p);
}

void moe_matmul_rows(float *y, size_t ldy, const struct moe_rows *r, const struct moe_mat *w, struct moe_pool *pool)
{
	moe_matmul_groups(y, ldy, r, &(struct moe_group){0, r->rows, w, NULL}, r->rows != 0, pool);
}

void moe_matmul_packed(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const struct moe_mat *w, void *memory, size_t nbytes,
		       struct moe_pool *pool)
{
	enum { MOST = 512 };
	size_t tile = moe_rows_tile(m, w), most = moe_min(MOST / tile, nbytes / moe_rows_nbytes(tile, m, w)) * tile;
	const float *row[MOST];
	struct moe_rows r;

	for (size_t first = 0, n; first < m; first += n) {
		n = moe_min(most, m - first);
		for (size_t i = 0; i < n; i++)
			row[i] = x + (first + i) * ldx;
		moe_rows_quantise(&r, memory, row, n, m, w, pool);
		moe_matmul_rows(y + first * ldy, ldy, &r, w, pool);
	}
}
