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

static size_t row_nbytes(size_t cols) { return cols / BLOCK * fast()->block_nbytes; }

size_t moe_rows_nbytes(size_t m, const struct moe_mat *w) { return m * row_nbytes(w->cols); }

struct quantising {
	const float *x;
	uint8_t *to;
	size_t ldx, m, cols, row_nbytes;
};

enum { QUANTISED_ROWS = 16 };

static void run_quantising(void *arg, size_t i)
{
	const struct quantising *q = arg;
	size_t end = moe_min(q->m, (i + 1) * QUANTISED_ROWS);

	for (size_t r = i * QUANTISED_ROWS; r < end; r++)
		fast()->quantise(q->to + r * q->row_nbytes, q->x + r * q->ldx, q->cols / BLOCK);
}

void moe_rows_quantise(struct moe_rows *r, void *memory, const float *x, size_t ldx, size_t m, const struct moe_mat *w, struct moe_pool *pool)
{
	struct quantising q = {x, memory, ldx, m, w->cols, row_nbytes(w->cols)};

	*r = (struct moe_rows){.data = memory, .rows = m, .cols = w->cols, .row_nbytes = q.row_nbytes, .kind = kind_of(w)};
	moe_pool_run(pool, 8.0 * (double)m * (double)w->cols, (m + QUANTISED_ROWS - 1) / QUANTISED_ROWS, run_quantising, &q);
}

/* A unit is what one pass of sums makes: two groups of a matrix, or one of gate and one of up. */
struct product {
	float *y;
	const struct moe_rows *r;
	const struct moe_mat *w, *up;
	size_t ldy, group_nbytes, units, row_chunks, unit_chunks;
};

/* Sums of 32 outputs, or of 16 of gate and of up, to y. */
static void store(const struct product *p, float (*sum)[32], size_t row, size_t rows, size_t unit)
{
	size_t width = p->up ? 16 : 32, first = unit * width, n = moe_min(width, p->w->rows - first);

	for (size_t i = 0; i < rows; i++) {
		if (p->up)
			moe_silu_mul(sum[i], sum[i] + 16, 16);
		memcpy(p->y + (row + i) * p->ldy + first, sum[i], n * sizeof(float));
	}
}

static void run_unit(const struct product *p, size_t row, size_t rows, size_t unit)
{
	struct fast_scratch *s = &scratch;
	struct fast_job j = {
		.packing = moe_packing(p->w->type), .x = (const uint8_t *)p->r->data + row * p->r->row_nbytes, .n_groups = 2, .n = rows,
		.row_nbytes = p->r->row_nbytes, .cols = p->w->cols,
	};

	if (p->up) {
		j.group[0] = (const uint8_t *)p->w->packed + unit * p->group_nbytes;
		j.group[1] = (const uint8_t *)p->up->packed + unit * p->group_nbytes;
	} else {
		j.group[0] = (const uint8_t *)p->w->packed + 2 * unit * p->group_nbytes;
		j.group[1] = j.group[0] + p->group_nbytes;
		if (32 * unit + 16 >= p->w->rows)
			j.n_groups = 1;
	}
	fast()->sums(s, &j);
	store(p, s->sum, row, rows, unit);
}

static void run_product(void *arg, size_t i)
{
	const struct product *p = arg;
	size_t c = i % p->unit_chunks, r = i / p->unit_chunks, m = p->r->rows;
	size_t row = m * r / p->row_chunks, rows = m * (r + 1) / p->row_chunks - row;

	for (size_t u = p->units * c / p->unit_chunks; u < p->units * (c + 1) / p->unit_chunks; u++)
		run_unit(p, row, rows, u);
}

/* Rows are divided first, since each division of them reads the weights again. */
static void share_out(struct product *p, struct moe_pool *pool)
{
	size_t m = p->r->rows, n = p->w->rows, threads = moe_pool_threads(pool);

	if (!m || !n)
		return;
	p->group_nbytes = group_nbytes(moe_packing(p->w->type), p->w->cols);
	p->units = (n + (p->up ? 15 : 31)) / (p->up ? 16 : 32);
	p->row_chunks = (m + FAST_ROWS - 1) / FAST_ROWS;
	p->unit_chunks = threads > 1 ? moe_min(p->units, 4 * threads) : 1;
	moe_pool_run(pool, (p->up ? 4.0 : 2.0) * (double)m * (double)n * (double)p->w->cols, p->row_chunks * p->unit_chunks, run_product, p);
}

void moe_matmul_rows(float *y, size_t ldy, const struct moe_rows *r, const struct moe_mat *w, struct moe_pool *pool)
{
	struct product p = {.y = y, .ldy = ldy, .r = r, .w = w};

	share_out(&p, pool);
}

void moe_gate_up(float *y, size_t ldy, const struct moe_rows *r, const struct moe_mat *gate, const struct moe_mat *up, struct moe_pool *pool)
{
	struct product p = {.y = y, .ldy = ldy, .r = r, .w = gate, .up = up};

	share_out(&p, pool);
}

void moe_matmul_packed(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const struct moe_mat *w, void *memory, size_t nbytes,
		       struct moe_pool *pool)
{
	size_t most = nbytes / moe_rows_nbytes(1, w);
	struct moe_rows r;

	for (size_t row = 0, n; row < m; row += n) {
		n = moe_min(most, m - row);
		moe_rows_quantise(&r, memory, x + row * ldx, ldx, n, w, pool);
		moe_matmul_rows(y + row * ldy, ldy, &r, w, pool);
	}
}
