/* Chooses the variant, and shares large jobs out over a pool: rows and outputs are divided, sums never. */
#include "kernel/kernel.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "base/check.h"
#include "kernel/kernel_priv.h"
#include "sys/cpu.h"

enum { CHUNK_ROWS = 96, CHUNK_OUTPUTS = 64, ATTEND_FEW = 24, ATTEND_MANY = 96 };

static const struct moe_kernels *_Atomic chosen;

static const struct moe_kernels *choose(void)
{
	const struct moe_kernels *k = &moe_kernels_c;

#if defined __x86_64__
	if (moe_cpu_flags() & MOE_CPU_AVX2)
		k = &moe_kernels_avx2;
	if (moe_cpu_flags() & MOE_CPU_AVX512)
		k = &moe_kernels_avx512;
#endif
	atomic_store_explicit(&chosen, k, memory_order_relaxed);
	return k;
}

const struct moe_kernels *moe_kernels_now(void)
{
	const struct moe_kernels *k = atomic_load_explicit(&chosen, memory_order_relaxed);

	return k ? k : choose();
}

const char *moe_kernel_select(void)
{
	moe_fast_select();
	moe_gemm_select();
	return choose()->name;
}

/* Weights that do not lie as the kernels read them are turned or scaled into a buffer, so many floats at a time: a megabyte, which the second cache
 * holds, so that of [in][out] weights long runs of outputs are read from each input. */
enum { UNPACKED = MOE_MOST_UNPACKED, FEW_ROWS = 9 };
static _Thread_local _Alignas(64) float unpacked[UNPACKED];

static void widen_f8(float *to, const uint8_t *from, const float *scale, size_t n)
{
	for (size_t k = 0; k < n; k++)
		to[k] = moe_f32_from_f8[from[k]] * scale[k / MOE_SCALE_BLOCK];
}

static void widen_int8(float *to, const int8_t *from, float scale, size_t n)
{
	for (size_t k = 0; k < n; k++)
		to[k] = (float)from[k] * scale;
}

void moe_mat_row(float *to, const struct moe_mat *w, size_t n)
{
	const uint8_t *from = (const uint8_t *)w->data + moe_dtype_nbytes(w->type, n * w->stride);

	if (w->type == MOE_F8_E4M3)
		widen_f8(to, from, w->scale + n / MOE_SCALE_BLOCK * ((w->cols + MOE_SCALE_BLOCK - 1) / MOE_SCALE_BLOCK), w->cols);
	else if (w->type == MOE_I8)
		widen_int8(to, (const int8_t *)from, w->scale[n], w->cols);
	else
		moe_widen(to, from, w->cols, w->type);
}

static void widen_rows(float *to, size_t ld, const struct moe_mat *w, size_t n0, size_t n)
{
	for (size_t j = 0; j < n; j++)
		moe_mat_row(to + j * ld, w, n0 + j);
}

static void matmul_unpacked(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const struct moe_mat *w, size_t n0, size_t n1)
{
	const struct moe_kernels *k = moe_kernels_now();
	float *rows = unpacked;
	size_t ld = moe_round_up(w->cols, 16), most = UNPACKED / ld < 16 ? UNPACKED / ld : UNPACKED / ld / 16 * 16;

	for (size_t n = n0, wide; n < n1; n += wide) {
		struct moe_mat part = {.data = rows, .type = MOE_F32, .cols = w->cols, .stride = ld};
		wide = part.rows = moe_min(most, n1 - n);
		if (w->scale || w->type >= MOE_N_DTYPES)
			widen_rows(rows, ld, w, n, wide);
		else
			k->turn_rows(rows, ld, w, n, wide);
		k->matmul_f32(y + n, ldy, x, ldx, m, &part, 0, wide);
	}
}

static moe_matmul_fn *choose_product(const struct moe_mat *w, size_t m)
{
	const struct moe_kernels *k = moe_kernels_now();

	if (w->type == MOE_I8 && w->step < 2)
		return k->matmul_int8;
	if (w->scale || w->type >= MOE_N_DTYPES)
		return matmul_unpacked;
	if (w->step > 1)
		return m <= FEW_ROWS || w->cols > UNPACKED ? k->matmul_inputs_first : matmul_unpacked;
	return w->type == MOE_F32 ? k->matmul_f32 : w->type == MOE_BF16 ? k->matmul_bf16 : k->matmul_f16;
}

struct product {
	moe_matmul_fn *fn;
	float *y;
	const float *x;
	const struct moe_mat *w;
	size_t ldy, ldx, m, row_chunks, output_chunks;
};

static void run_product(void *arg, size_t i)
{
	const struct product *p = arg;
	size_t r = i / p->output_chunks, c = i % p->output_chunks, r0 = r * CHUNK_ROWS, r1 = moe_min(p->m, r0 + CHUNK_ROWS);
	size_t n0 = p->w->rows * c / p->output_chunks / 4 * 4, n1 = c + 1 == p->output_chunks ? p->w->rows : p->w->rows * (c + 1) / p->output_chunks / 4 * 4;

	p->fn(p->y + r0 * p->ldy, p->ldy, p->x + r0 * p->ldx, p->ldx, r1 - r0, p->w, n0, n1);
}

void moe_matmul(float *y, size_t ldy, const float *x, size_t ldx, size_t m, const struct moe_mat *w, struct moe_pool *pool)
{
	struct product p = {choose_product(w, m), y, x, w, ldy, ldx, m, 0, 1};

	if (!m || !w->rows)
		return;
	if (w->packed) {
		moe_matmul_packed(y, ldy, x, ldx, m, w, unpacked, sizeof unpacked, pool);
		return;
	}
	p.row_chunks = (m + CHUNK_ROWS - 1) / CHUNK_ROWS;
	if (pool && p.row_chunks < 2 * moe_pool_threads(pool))
		p.output_chunks = moe_max(1, moe_min(w->rows / CHUNK_OUTPUTS, 4 * moe_pool_threads(pool)));
	moe_pool_run(pool, 2.0 * (double)m * (double)w->rows * (double)w->cols, p.row_chunks * p.output_chunks, run_product, &p);
}

struct attention {
	void (*fn)(const struct moe_attention *a, size_t row0, size_t row1, size_t head);
	const struct moe_attention *a;
	size_t rows;            /* of a job, which reads the blocks once for all of them */
};

static void run_attention(void *arg, size_t i)
{
	const struct attention *j = arg;
	size_t r0 = i / j->a->heads * j->rows;

	j->fn(j->a, r0, moe_min(j->a->rows, r0 + j->rows), i % j->a->heads);
}

void moe_attend_rows(const struct moe_attention *a, struct moe_pool *pool)
{
	struct attention j = {moe_kernels_now()->attend, a, ATTEND_MANY};
	double work = 0;

	for (size_t r = 0; r < a->rows; r++)
		work += 4.0 * (a->limit[r] - a->first[r]) * (double)(a->heads * a->dim);
	while (pool && j.rows > ATTEND_FEW && a->rows * a->heads < 8 * moe_pool_threads(pool) * j.rows)
		j.rows /= 2;
	moe_pool_run(pool, work, (a->rows + j.rows - 1) / j.rows * a->heads, run_attention, &j);
}

float moe_dot(const float *x, const float *y, size_t n) { return moe_kernels_now()->dot(x, y, n); }

void moe_rms_norm(float *out, size_t ldo, const float *x, size_t ldx, const float *weight, size_t rows, size_t n, float eps)
{
	moe_kernels_now()->rms_norm(out, ldo, x, ldx, weight, rows, n, eps);
}

void moe_layer_norm(float *out, size_t ldo, const float *x, size_t ldx, const float *weight, const float *bias, size_t rows, size_t n, float eps)
{
	moe_kernels_now()->layer_norm(out, ldo, x, ldx, weight, bias, rows, n, eps);
}

void moe_axpy(float *y, float a, const float *x, size_t n) { moe_kernels_now()->axpy(y, a, x, n); }
void moe_add(float *y, const float *x, size_t n) { moe_kernels_now()->add(y, x, n); }
void moe_silu(float *y, const float *x, size_t n) { moe_kernels_now()->silu(y, x, n); }
void moe_gelu(float *y, const float *x, size_t n) { moe_kernels_now()->gelu(y, x, n); }
void moe_gelu_tanh(float *y, const float *x, size_t n) { moe_kernels_now()->gelu_tanh(y, x, n); }
void moe_silu_mul(float *gate, const float *up, size_t n) { moe_kernels_now()->silu_mul(gate, up, n); }
float moe_exp_sum(float *y, const float *x, size_t n) { return moe_kernels_now()->exp_sum(y, x, n); }
float moe_exp(float x) { return moe_kernels_now()->exp_one(x); }
void moe_sin_cos(float angle, float *sine, float *cosine) { moe_kernels_now()->sin_cos(angle, sine, cosine); }

void moe_rope(float *x, size_t heads, size_t dim, size_t n_pairs, const float *cosine, const float *sine)
{
	moe_kernels_now()->rope(x, heads, dim, n_pairs, cosine, sine);
}

/* log x = e ln 2 + 2 atanh((m - 1) / (m + 1)) with x = m · 2^e and m in [√½, √2): the series' remainder is below 1e-17. */
double moe_log(double x)
{
	int e;
	double m = frexp(x, &e), f, q, sum = 0;

	if (!(x > 0) || x == INFINITY)
		return x > 0 ? x : x == 0 ? -INFINITY : NAN;
	if (m < 0.70710678118654752440) {
		m *= 2;
		e--;
	}
	f = (m - 1) / (m + 1);
	q = f * f;
	for (int n = 21; n > 1; n -= 2)
		sum = fma(sum, q, 1.0 / n);
	sum = fma(sum * q, f, f);
	return fma(e, 6.93147180369123816490e-1, fma(e, 1.90821492927058770002e-10, 2 * sum));
}

/* exp(y log x); exp by halving the range to |r| <= ln 2 / 2 and a Taylor polynomial of degree 13. */
double moe_pow(double x, double y)
{
	double t = y * moe_log(x), n = rint(t * 1.44269504088896338700), r = fma(-n, 1.90821492927058770002e-10, fma(-n, 6.93147180369123816490e-1, t)), p = 0;
	static const double inverse[] = {1, 1, 1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320, 1.0 / 362880, 1.0 / 3628800,
					 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800};

	for (int i = 13; i >= 0; i--)
		p = fma(p, r, inverse[i]);
	return ldexp(p, n > 2000 ? 2000 : n < -2000 ? -2000 : (int)n);
}

/* A row of the kernel's window that lies inside the picture, for the usual widths without a call. */
static void copy_window(float *out, const float *row, size_t kw)
{
	switch (kw) {
	case 3: memcpy(out, row, 3 * sizeof *out); break;
	case 5: memcpy(out, row, 5 * sizeof *out); break;
	default: memcpy(out, row, kw * sizeof *out);
	}
}

static void fill_row(float *out, const float *in, size_t channels, size_t h, size_t w, size_t kh, size_t kw, ptrdiff_t top, ptrdiff_t left)
{
	bool inside = left >= 0 && (size_t)left + kw <= w;

	for (size_t c = 0; c < channels; c++)
		for (size_t i = 0; i < kh; i++, out += kw) {
			ptrdiff_t y = top + (ptrdiff_t)i;
			const float *row = in + (c * h + (size_t)(y < 0 ? 0 : y)) * w;
			if (y < 0 || y >= (ptrdiff_t)h)
				memset(out, 0, kw * sizeof *out);
			else if (inside)
				copy_window(out, row + left, kw);
			else
				for (size_t j = 0; j < kw; j++) {
					ptrdiff_t x = left + (ptrdiff_t)j;
					out[j] = x < 0 || x >= (ptrdiff_t)w ? 0.0f : row[x];
				}
		}
}

void moe_im2col(float *out, size_t ldo, const float *in, size_t channels, size_t h, size_t w, size_t kh, size_t kw, size_t stride,
		size_t pad, size_t oh, size_t ow)
{
	for (size_t y = 0; y < oh; y++)
		for (size_t x = 0; x < ow; x++)
			fill_row(out + (y * ow + x) * ldo, in, channels, h, w, kh, kw, (ptrdiff_t)(stride * y) - (ptrdiff_t)pad,
				 (ptrdiff_t)(stride * x) - (ptrdiff_t)pad);
}
