#include "bench/products.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "kernel/pack.h"
#include "kernel/rows.h"
#include "sys/clock.h"

enum { SAMPLES = 7, HUGE_PAGE = 2 << 20, CHUNK_ROWS = 256 };

static const double SAMPLE_SECONDS = 0.02;

bool moe_bench_has_type(enum moe_dtype t) { return t == MOE_F32 || t == MOE_F16 || t == MOE_BF16 || (t >= MOE_N_DTYPES && t < MOE_N_TYPES); }

enum moe_dtype moe_bench_find_type(const char *name)
{
	int t = 0;

	while (t < MOE_N_TYPES && (!moe_bench_has_type((enum moe_dtype)t) || strcasecmp(moe_dtype_name((enum moe_dtype)t), name)))
		t++;
	return (enum moe_dtype)t;
}

/* Where the F16 scales of a block lie; -1: no more of them. */
static void find_scales(enum moe_dtype t, int at[2])
{
	at[0] = t == MOE_MXFP4 ? -1 : t == MOE_Q2_K ? 80 : t == MOE_Q3_K ? 108 : t == MOE_Q6_K ? 208 : 0;
	at[1] = t == MOE_Q2_K ? 82 : t == MOE_Q4_1 || t == MOE_Q5_1 || t == MOE_Q4_K || t == MOE_Q5_K ? 2 : -1;
}

/* Random blocks whose scales are small positive numbers. */
static void fill_blocks(uint8_t *p, size_t nbytes, enum moe_dtype t)
{
	size_t size = moe_dtype_nbytes(t, moe_dtype_block(t));
	int at[2];

	find_scales(t, at);
	for (size_t i = 0; i < nbytes; i++)
		p[i] = (uint8_t)(moe_random_u64(1, (uint64_t)t, i / 8) >> i % 8 * 8);
	for (uint8_t *b = p; b < p + nbytes; b += size) {
		if (t == MOE_MXFP4)
			b[0] = 120;
		for (int i = 0; i < 2; i++)
			if (at[i] >= 0)
				b[at[i] + 1] = 0x10;
	}
}

static void fill_floats(float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = (float)(2 * moe_random_unit(1, 1, i) - 1);
}

/* A matrix's own rows; to be freed. */
static void *make_rows(enum moe_dtype t, size_t n)
{
	size_t nbytes = moe_dtype_nbytes(t, n);
	void *p = malloc(nbytes);
	float *x = t < MOE_N_DTYPES ? malloc(n * sizeof *x) : NULL;

	if (p && x) {
		fill_floats(x, n);
		moe_narrow(p, x, n, t);
	} else if (p && t >= MOE_N_DTYPES) {
		fill_blocks(p, nbytes, t);
	} else {
		free(p);
		p = NULL;
	}
	free(x);
	return p;
}

/* The matrices: one that is packed or copied, and copies of it. */
struct copying {
	struct moe_mat first;
	char *to;
	size_t stride, nbytes, chunks;
	bool fast;
};

static void pack_rows(void *arg, size_t i)
{
	const struct copying *c = arg;

	moe_pack(c->to, &c->first, i * CHUNK_ROWS, moe_min(c->first.rows, (i + 1) * CHUNK_ROWS));
}

static void copy_matrix(void *arg, size_t i)
{
	const struct copying *c = arg;

	memcpy(c->to + (i + 1) * c->stride, c->to, c->nbytes);
}

static void place_matrices(struct moe_bench_weights *w, struct copying *c, struct moe_pool *pool)
{
	if (c->fast)
		moe_pool_run(pool, 8.0 * (double)c->nbytes, (c->first.rows + CHUNK_ROWS - 1) / CHUNK_ROWS, pack_rows, c);
	else
		memcpy(c->to, c->first.data, c->nbytes);
	moe_pool_run(pool, (double)w->map_nbytes, w->n - 1, copy_matrix, c);
	for (size_t i = 0; i < w->n; i++) {
		w->mat[i] = c->first;
		w->mat[i].data = c->to + i * c->stride;
		w->mat[i].packed = c->fast ? w->mat[i].data : NULL;
	}
}

enum moe_err moe_bench_weights_init(struct moe_bench_weights *w, enum moe_dtype t, size_t rows, size_t cols, bool fast, struct moe_pool *pool, struct moe_diag *d)
{
	struct copying c = {.first = {.type = t, .rows = rows, .cols = cols, .stride = cols, .data = make_rows(t, rows * cols)}};
	size_t packed = fast && moe_rows_known(&c.first) ? moe_pack_nbytes(&c.first) : 0;

	c.fast = packed != 0;
	c.nbytes = packed ? packed : moe_dtype_nbytes(t, rows * cols);
	c.stride = moe_round_up(c.nbytes, 64);
	*w = (struct moe_bench_weights){.fast = c.fast, .nbytes = c.nbytes, .n = MOE_BENCH_NBYTES / c.nbytes + 1};
	w->mat = calloc(w->n, sizeof *w->mat);
	w->map_nbytes = moe_round_up(w->n * c.stride, HUGE_PAGE);
	w->map = mmap(NULL, w->map_nbytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (w->map == MAP_FAILED)
		w->map = NULL;
	if (!w->mat || !w->map || !c.first.data) {
		free((void *)(uintptr_t)c.first.data);
		moe_bench_weights_free(w);
		return moe_fail(d, MOE_ENOMEM, "out of memory for weights to multiply by");
	}
	madvise(w->map, w->map_nbytes, MADV_HUGEPAGE);
	c.to = w->map;
	place_matrices(w, &c, pool);
	free((void *)(uintptr_t)c.first.data);
	return MOE_OK;
}

void moe_bench_weights_free(struct moe_bench_weights *w)
{
	if (w->map)
		munmap(w->map, w->map_nbytes);
	free(w->mat);
	*w = (struct moe_bench_weights){0};
}

/* The seconds of one product: products with the matrices in turn, from *next on, for some time. */
static double sample(const struct moe_bench_weights *w, float *y, const float *x, size_t m, size_t *next, struct moe_pool *pool)
{
	double start = moe_clock(), now;
	size_t n = 0;

	do {
		const struct moe_mat *mat = &w->mat[(*next)++ % w->n];
		moe_matmul(y, mat->rows, x, mat->cols, m, mat, pool);
		n++;
		now = moe_clock();
	} while (now - start < SAMPLE_SECONDS);
	return (now - start) / (double)n;
}

enum moe_err moe_bench_product(struct moe_product *out, const struct moe_bench_weights *w, size_t m, struct moe_pool *pool, struct moe_diag *d)
{
	const struct moe_mat *mat = &w->mat[0];
	float *x = moe_calloc(m * mat->cols, sizeof *x), *y = moe_calloc(m * mat->rows, sizeof *y);
	double seconds[SAMPLES];
	size_t next = 0;
	bool ok = x && y;

	if (ok) {
		fill_floats(x, m * mat->cols);
		sample(w, y, x, m, &next, pool);
		for (int i = 0; i < SAMPLES; i++)
			seconds[i] = sample(w, y, x, m, &next, pool);
		*out = (struct moe_product){
			.seconds = moe_spread_of(seconds, SAMPLES), .flops = 2.0 * (double)m * (double)mat->rows * (double)mat->cols, .nbytes = (double)w->nbytes,
			.peak = !w->fast ? MOE_PEAK_F32 : mat->type == MOE_BF16 ? MOE_PEAK_BF16 : MOE_PEAK_INT8,
		};
	}
	free(x);
	free(y);
	return ok ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory for %zu rows", m);
}
