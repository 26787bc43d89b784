/* BF16 with the dot products of AVX-512 (VDPBF16PS), and operands rounded by its conversion. A tile is 6 rows by 64 outputs: 24 sums, 4 vectors
 * of b, a unit of a. */
#if defined __x86_64__
#include <immintrin.h>
#include <string.h>

#include "base/check.h"
#include "kernel/gemm_priv.h"

#define BF16 target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")
#define FN static inline __attribute__((BF16, always_inline))
#define STATIC __attribute__((BF16)) static
#define UNROLL _Pragma("GCC unroll 8")

enum { TILE_M = 6, TILE_N = 4, LANES = 16 };

/* `parts` vectors of outputs, of the last of which those of a mask are used. */
struct tile {
	const uint32_t *a;
	size_t a_row, a_step;
	const uint32_t *b;
	size_t b_step, k;
	float *c;
	size_t c_row;
	__mmask16 last;
};

/* The lanes of part j. */
FN __mmask16 lanes(const struct tile *t, size_t j, size_t parts) { return j + 1 == parts ? t->last : 0xffff; }

FN __m512bh unit_of_a(const uint32_t *a)
{
	int32_t two;

	memcpy(&two, a, sizeof two);
	return (__m512bh)_mm512_set1_epi32(two);
}

FN void store(const struct tile *t, __m512 (*s)[TILE_N], size_t rows, size_t parts, bool add)
{
	UNROLL
	for (size_t i = 0; i < rows; i++)
		UNROLL
		for (size_t j = 0; j < parts; j++) {
			float *c = t->c + i * t->c_row + j * LANES;
			__mmask16 m = lanes(t, j, parts);
			_mm512_mask_storeu_ps(c, m, add ? _mm512_add_ps(_mm512_maskz_loadu_ps(m, c), s[i][j]) : s[i][j]);
		}
}

FN void run_tile(const struct tile *t, size_t rows, size_t parts, bool add)
{
	__m512 s[TILE_M][TILE_N];
	const uint32_t *a = t->a, *b = t->b;

	UNROLL
	for (size_t i = 0; i < rows; i++)
		UNROLL
		for (size_t j = 0; j < parts; j++)
			s[i][j] = _mm512_setzero_ps();
	for (size_t k = 0; k < t->k; k++, a += t->a_step, b += t->b_step) {
		__m512bh v[TILE_N];
		UNROLL
		for (size_t j = 0; j < parts; j++)
			v[j] = (__m512bh)_mm512_maskz_loadu_epi32(lanes(t, j, parts), b + j * LANES);
		UNROLL
		for (size_t i = 0; i < rows; i++) {
			__m512bh u = unit_of_a(a + i * t->a_row);
			UNROLL
			for (size_t j = 0; j < parts; j++)
				s[i][j] = _mm512_dpbf16_ps(s[i][j], u, v[j]);
		}
	}
	store(t, s, rows, parts, add);
}

/* All rows of so many vectors of outputs. */
FN void panel(struct tile t, size_t m, size_t parts, bool add)
{
	for (; m >= TILE_M; m -= TILE_M, t.a += TILE_M * t.a_row, t.c += TILE_M * t.c_row)
		run_tile(&t, TILE_M, parts, add);
	if (m & 4) {
		run_tile(&t, 4, parts, add);
		t.a += 4 * t.a_row;
		t.c += 4 * t.c_row;
	}
	if (m & 2) {
		run_tile(&t, 2, parts, add);
		t.a += 2 * t.a_row;
		t.c += 2 * t.c_row;
	}
	if (m & 1)
		run_tile(&t, 1, parts, add);
}

/* Outputs are shared out evenly over panels of up to TILE_N vectors; in each the number of vectors is a constant, so that sums stay in registers. */
STATIC void run(const struct moe_gemm *g)
{
	struct tile t = {.a = g->a, .a_row = g->a_row, .a_step = g->a_step, .b_step = g->b_step, .k = g->k, .c_row = g->c_row};
	size_t left = (g->n + LANES - 1) / LANES;

	for (size_t j = 0, parts; left; left -= parts, j += parts * LANES) {
		size_t n_panels = (left + TILE_N - 1) / TILE_N;
		parts = (left + n_panels - 1) / n_panels;
		t.b = (const uint32_t *)g->b + j;
		t.c = g->c + j;
		t.last = (__mmask16)(0xffff >> (parts < left ? 0 : (LANES - g->n % LANES) % LANES));
		switch (parts) {
		case 1: panel(t, g->m, 1, g->add); break;
		case 2: panel(t, g->m, 2, g->add); break;
		case 3: panel(t, g->m, 3, g->add); break;
		case 4: panel(t, g->m, 4, g->add); break;
		}
	}
}

/* The conversion rounds to the nearest, halves to even, takes subnormal numbers for zeros, and makes NaNs quiet (Intel SDM, volume 2, VCVTNE2PS2BF16). */
__attribute__((BF16)) void moe_gemm_round_row(void *to, const float *x, size_t n)
{
	char *h = to;
	size_t i = 0;

	for (; i + 2 * LANES <= n; i += 2 * LANES)
		_mm512_storeu_si512(h + 2 * i, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + i + LANES), _mm512_loadu_ps(x + i)));
	for (; i < n; i += LANES) {
		size_t rest = moe_min(LANES, n - i);
		__m256bh v = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps((__mmask16)(0xffff >> (LANES - rest)), x + i));
		_mm256_mask_storeu_epi16(h + 2 * i, (__mmask16)(0xffff >> (LANES - moe_round_up(rest, 2))), (__m256i)v);
	}
}

const struct moe_gemm_variant moe_gemm_bf16_dot = {"avx512-bf16", run, moe_gemm_round_row};
#endif
