/* A vector of 16 floats: one __m512, two __m256, or an array. Kernels are written once over it and compiled three times (variant_*.c),
 * so that every variant has the same order of operations by construction. FN marks every function with the variant's target. */
#ifndef MOE_KERNEL_V16_H
#define MOE_KERNEL_V16_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/dtype.h"

enum { LANES = 16 };

/* Before loops over the rows of a tile, so that their sums live in registers. */
#define UNROLL _Pragma("GCC unroll 8")

/* Keeps a pointer that a loop moves in a register of its own: compilers pair several into vectors, and unpack them at every step. */
#define KEEP(p) __asm__("" : "+r"(p))

/* A part is what one register holds: tiles of sums are accumulated part by part where a vector needs two. */
#if defined MOE_V_AVX512

#include <immintrin.h>
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma,f16c")))
#define FN static inline __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma,f16c"), always_inline))

typedef __m512 v16, vpart;

/* Lanes below n (n <= 16). */
FN __mmask16 v_lanes(size_t n) { return (__mmask16)((1u << n) - 1); }
FN v16 v_zero(void) { return _mm512_setzero_ps(); }
FN v16 v_set(float x) { return _mm512_set1_ps(x); }
FN v16 v_load(const float *p) { return _mm512_loadu_ps(p); }
FN v16 v_load_n(const float *p, size_t n) { return _mm512_maskz_loadu_ps(v_lanes(n), p); }
FN void v_store(float *p, v16 a) { _mm512_storeu_ps(p, a); }
FN void v_store_n(float *p, v16 a, size_t n) { _mm512_mask_storeu_ps(p, v_lanes(n), a); }
FN v16 v_fma(v16 a, v16 b, v16 c) { return _mm512_fmadd_ps(a, b, c); }
FN v16 v_add(v16 a, v16 b) { return _mm512_add_ps(a, b); }
FN v16 v_sub(v16 a, v16 b) { return _mm512_sub_ps(a, b); }
FN v16 v_mul(v16 a, v16 b) { return _mm512_mul_ps(a, b); }
FN v16 v_div(v16 a, v16 b) { return _mm512_div_ps(a, b); }
FN v16 v_sqrt(v16 a) { return _mm512_sqrt_ps(a); }
FN v16 v_max(v16 a, v16 b) { return _mm512_max_ps(a, b); }
FN v16 v_neg(v16 a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
FN v16 v_round(v16 a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
/* Lanes where a < b: x, else y (y where unordered). */
FN v16 v_if_less(v16 a, v16 b, v16 x, v16 y) { return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x); }
/* p · 2^n for whole n where the product is a normal number: exact, as is multiplying by 2^(n/2), rounded down, and then by the rest. */
FN v16 v_times_pow2(v16 p, v16 n) { return _mm512_scalef_ps(p, n); }
/* Lanes below `first` and from `limit` on become x. */
FN v16 v_outside(v16 a, size_t first, size_t limit, v16 x) { return _mm512_mask_blend_ps((__mmask16)(v_lanes(limit) & ~v_lanes(first)), x, a); }
FN v16 v_load_bf16(const void *p) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p)), 16)); }
FN v16 v_load_f16(const void *p) { return _mm512_cvtph_ps(_mm256_loadu_si256(p)); }
FN v16 v_load_int8(const void *p) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p))); }
FN __m256 v_fold(v16 a) { return _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1)); }
FN __m256 v_fold_largest(v16 a) { return _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1)); }
enum { PARTS = 1 };
FN vpart part_load(const float *p, size_t part) { return v_load(p + part * LANES); }
FN vpart part_load_n(const float *p, size_t n, size_t part) { return part ? v_zero() : v_load_n(p, n); }
FN vpart part_fma(vpart a, vpart b, vpart c) { return v_fma(a, b, c); }
FN vpart part_zero(void) { return v_zero(); }
FN vpart part_set(float x) { return v_set(x); }
FN vpart part_add(vpart a, vpart b) { return v_add(a, b); }
FN void part_store(float *p, vpart a) { v_store(p, a); }
FN void part_store_n(float *p, vpart a, size_t n) { v_store_n(p, a, n); }
/* The bf16 numbers in the halves of each lane, as floats. */
FN v16 v_low(v16 a) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(a), 16)); }
FN v16 v_high(v16 a) { return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(-65536))); }
FN v16 v_join(const vpart *a) { return a[0]; }
/* Lanes of two bf16 numbers. */
FN v16 v_pair_bf16(const void *low, const void *high)
{
	__m512i l = _mm512_cvtepu16_epi32(_mm256_loadu_si256(low)), h = _mm512_cvtepu16_epi32(_mm256_loadu_si256(high));

	return _mm512_castsi512_ps(_mm512_or_si512(l, _mm512_slli_epi32(h, 16)));
}
/* To the nearest, halves to even; subnormal numbers become zeros, NaNs quiet ones. */
FN void v_store_bf16(void *to, v16 a)
{
	__m512i u = _mm512_castps_si512(a), odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
	__m512i r = _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));

	r = _mm512_mask_or_epi32(r, _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), u, _mm512_set1_epi32(0x400000));
	r = _mm512_mask_and_epi32(r, _mm512_testn_epi32_mask(u, _mm512_set1_epi32(0x7f800000)), u, _mm512_set1_epi32(INT32_MIN));
	_mm256_storeu_si256(to, _mm512_cvtepi32_epi16(_mm512_srli_epi32(r, 16)));
}

/* Four floats of rows 0, 4, 8 and 12. */
FN v16 v_load_quarters(const float *p, size_t ld)
{
	v16 a = _mm512_castps128_ps512(_mm_loadu_ps(p));

	a = _mm512_insertf32x4(a, _mm_loadu_ps(p + 4 * ld), 1);
	a = _mm512_insertf32x4(a, _mm_loadu_ps(p + 8 * ld), 2);
	return _mm512_insertf32x4(a, _mm_loadu_ps(p + 12 * ld), 3);
}

/* The 16 columns of 16 rows. Blocks of 4 x 4 come to their places as they are loaded, for which the CPU has more room than for shuffles. */
FN void v_load_turned(v16 *r, const float *p, size_t ld)
{
	for (int i = 0; i < LANES; i += 4, p += 4) {
		v16 a = v_load_quarters(p, ld), b = v_load_quarters(p + ld, ld), c = v_load_quarters(p + 2 * ld, ld), d = v_load_quarters(p + 3 * ld, ld);
		__m512d ab = _mm512_castps_pd(_mm512_unpacklo_ps(a, b)), ba = _mm512_castps_pd(_mm512_unpackhi_ps(a, b));
		__m512d cd = _mm512_castps_pd(_mm512_unpacklo_ps(c, d)), dc = _mm512_castps_pd(_mm512_unpackhi_ps(c, d));
		r[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd));
		r[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd));
		r[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(ba, dc));
		r[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(ba, dc));
	}
}

/* Turns 16 rows of 16 into 16 columns: 128-bit blocks of 4 x 4 first, then the blocks. */
FN void v_turn(v16 *r)
{
	v16 t[LANES], u[LANES];

	for (int i = 0; i < LANES; i += 2) {
		t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
		t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
	}
	for (int i = 0; i < LANES; i += 4)
		for (int j = 0; j < 2; j++) {
			__m512d a = _mm512_castps_pd(t[i + j]), b = _mm512_castps_pd(t[i + j + 2]);
			u[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
			u[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
		}
	for (int j = 0; j < 4; j++) {
		v16 even_a = _mm512_shuffle_f32x4(u[j], u[4 + j], 0x88), odd_a = _mm512_shuffle_f32x4(u[j], u[4 + j], 0xdd);
		v16 even_b = _mm512_shuffle_f32x4(u[8 + j], u[12 + j], 0x88), odd_b = _mm512_shuffle_f32x4(u[8 + j], u[12 + j], 0xdd);
		r[j] = _mm512_shuffle_f32x4(even_a, even_b, 0x88);
		r[8 + j] = _mm512_shuffle_f32x4(even_a, even_b, 0xdd);
		r[4 + j] = _mm512_shuffle_f32x4(odd_a, odd_b, 0x88);
		r[12 + j] = _mm512_shuffle_f32x4(odd_a, odd_b, 0xdd);
	}
}

#elif defined MOE_V_AVX2

#include <immintrin.h>
#define TARGET __attribute__((target("avx2,fma,f16c")))
#define FN static inline __attribute__((target("avx2,fma,f16c"), always_inline))

typedef struct { __m256 a, b; } v16;
typedef __m256 vpart;

FN __m256i v_half_lanes(size_t n)
{
	return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
FN v16 v_pair(__m256 a, __m256 b) { return (v16){a, b}; }
FN v16 v_zero(void) { return v_pair(_mm256_setzero_ps(), _mm256_setzero_ps()); }
FN v16 v_set(float x) { return v_pair(_mm256_set1_ps(x), _mm256_set1_ps(x)); }
FN v16 v_load(const float *p) { return v_pair(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)); }
FN v16 v_load_n(const float *p, size_t n)
{
	return v_pair(_mm256_maskload_ps(p, v_half_lanes(n)), n > 8 ? _mm256_maskload_ps(p + 8, v_half_lanes(n - 8)) : _mm256_setzero_ps());
}
FN void v_store(float *p, v16 x)
{
	_mm256_storeu_ps(p, x.a);
	_mm256_storeu_ps(p + 8, x.b);
}
FN void v_store_n(float *p, v16 x, size_t n)
{
	_mm256_maskstore_ps(p, v_half_lanes(n), x.a);
	if (n > 8)
		_mm256_maskstore_ps(p + 8, v_half_lanes(n - 8), x.b);
}
FN v16 v_fma(v16 x, v16 y, v16 z) { return v_pair(_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)); }
FN v16 v_add(v16 x, v16 y) { return v_pair(_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)); }
FN v16 v_sub(v16 x, v16 y) { return v_pair(_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)); }
FN v16 v_mul(v16 x, v16 y) { return v_pair(_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)); }
FN v16 v_div(v16 x, v16 y) { return v_pair(_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)); }
FN v16 v_sqrt(v16 x) { return v_pair(_mm256_sqrt_ps(x.a), _mm256_sqrt_ps(x.b)); }
FN v16 v_max(v16 x, v16 y) { return v_pair(_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)); }
FN v16 v_neg(v16 x)
{
	__m256 s = _mm256_set1_ps(-0.0f);

	return v_pair(_mm256_xor_ps(x.a, s), _mm256_xor_ps(x.b, s));
}
FN v16 v_round(v16 x)
{
	return v_pair(_mm256_round_ps(x.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), _mm256_round_ps(x.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
FN v16 v_if_less(v16 a, v16 b, v16 x, v16 y)
{
	return v_pair(_mm256_blendv_ps(y.a, x.a, _mm256_cmp_ps(a.a, b.a, _CMP_LT_OQ)), _mm256_blendv_ps(y.b, x.b, _mm256_cmp_ps(a.b, b.b, _CMP_LT_OQ)));
}
/* 2^(n/2) rounded down and 2^n over that, for whole n in -252 to 254. */
FN void v_pow2_half(__m256 n, __m256 *first, __m256 *second)
{
	__m256i i = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(i, 1), bias = _mm256_set1_epi32(127);

	*first = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
	*second = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(i, half), bias), 23));
}
FN v16 v_times_pow2(v16 p, v16 n)
{
	v16 first, second;

	v_pow2_half(n.a, &first.a, &second.a);
	v_pow2_half(n.b, &first.b, &second.b);
	return v_mul(v_mul(p, first), second);
}
FN v16 v_outside(v16 x, size_t first, size_t limit, v16 y)
{
	__m256i low = _mm256_andnot_si256(v_half_lanes(first), v_half_lanes(limit));
	__m256i high = _mm256_andnot_si256(v_half_lanes(first > 8 ? first - 8 : 0), v_half_lanes(limit > 8 ? limit - 8 : 0));

	return v_pair(_mm256_blendv_ps(y.a, x.a, _mm256_castsi256_ps(low)), _mm256_blendv_ps(y.b, x.b, _mm256_castsi256_ps(high)));
}
FN __m256 v_half_bf16(const uint16_t *p) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)p)), 16)); }
FN v16 v_load_bf16(const void *p) { return v_pair(v_half_bf16(p), v_half_bf16((const uint16_t *)p + 8)); }
FN v16 v_load_f16(const void *p)
{
	return v_pair(_mm256_cvtph_ps(_mm_loadu_si128(p)), _mm256_cvtph_ps(_mm_loadu_si128((const void *)((const uint16_t *)p + 8))));
}
FN v16 v_load_int8(const void *p)
{
	__m128i b = _mm_loadu_si128(p);

	return v_pair(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(b)), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(b, 8))));
}
FN __m256 v_fold(v16 x) { return _mm256_add_ps(x.a, x.b); }
FN __m256 v_fold_largest(v16 x) { return _mm256_max_ps(x.a, x.b); }
enum { PARTS = 2 };
FN vpart part_load(const float *p, size_t part) { return _mm256_loadu_ps(p + 8 * part); }
FN vpart part_load_n(const float *p, size_t n, size_t part)
{
	return n > 8 * part ? _mm256_maskload_ps(p + 8 * part, v_half_lanes(n - 8 * part)) : _mm256_setzero_ps();
}
FN vpart part_fma(vpart x, vpart y, vpart z) { return _mm256_fmadd_ps(x, y, z); }
FN vpart part_zero(void) { return _mm256_setzero_ps(); }
FN vpart part_set(float x) { return _mm256_set1_ps(x); }
FN vpart part_add(vpart x, vpart y) { return _mm256_add_ps(x, y); }
FN void part_store(float *p, vpart x) { _mm256_storeu_ps(p, x); }
FN void part_store_n(float *p, vpart x, size_t n) { _mm256_maskstore_ps(p, v_half_lanes(n), x); }
FN __m256 v_half_low(__m256 x) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(x), 16)); }
FN v16 v_low(v16 x) { return v_pair(v_half_low(x.a), v_half_low(x.b)); }
FN v16 v_high(v16 x)
{
	__m256 mask = _mm256_castsi256_ps(_mm256_set1_epi32(-65536));

	return v_pair(_mm256_and_ps(x.a, mask), _mm256_and_ps(x.b, mask));
}
FN v16 v_join(const vpart *x) { return v_pair(x[0], x[1]); }
FN __m256 v_half_pair(const uint16_t *low, const uint16_t *high)
{
	__m256i l = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)low)), h = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)high));

	return _mm256_castsi256_ps(_mm256_or_si256(l, _mm256_slli_epi32(h, 16)));
}
FN v16 v_pair_bf16(const void *low, const void *high)
{
	return v_pair(v_half_pair(low, high), v_half_pair((const uint16_t *)low + 8, (const uint16_t *)high + 8));
}
/* The bf16 numbers in the low halves of the lanes. */
FN __m256i v_half_rounded(__m256 x)
{
	__m256i u = _mm256_castps_si256(x), odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1)), infinity = _mm256_set1_epi32(0x7f800000);
	__m256i r = _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
	__m256i small = _mm256_cmpeq_epi32(_mm256_and_si256(u, infinity), _mm256_setzero_si256());

	r = _mm256_blendv_epi8(r, _mm256_or_si256(u, _mm256_set1_epi32(0x400000)), _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)));
	r = _mm256_blendv_epi8(r, _mm256_and_si256(u, _mm256_set1_epi32(INT32_MIN)), small);
	return _mm256_srli_epi32(r, 16);
}
FN void v_store_bf16(void *to, v16 x)
{
	_mm256_storeu_si256(to, _mm256_permute4x64_epi64(_mm256_packus_epi32(v_half_rounded(x.a), v_half_rounded(x.b)), 0xd8));
}

/* Turns 8 rows of 8. */
FN void v_turn_eight(__m256 *r)
{
	__m256 t[8], u[8];

	for (int i = 0; i < 8; i += 2) {
		t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
		t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
	}
	for (int i = 0; i < 8; i += 4)
		for (int j = 0; j < 2; j++) {
			u[i + 2 * j] = _mm256_shuffle_ps(t[i + j], t[i + j + 2], 0x44);
			u[i + 2 * j + 1] = _mm256_shuffle_ps(t[i + j], t[i + j + 2], 0xee);
		}
	for (int j = 0; j < 4; j++) {
		r[j] = _mm256_permute2f128_ps(u[j], u[4 + j], 0x20);
		r[4 + j] = _mm256_permute2f128_ps(u[j], u[4 + j], 0x31);
	}
}
/* Turns 16 rows of 16 into 16 columns, by quarters. */
FN void v_turn(v16 *r)
{
	__m256 q[4][8];

	for (int i = 0; i < 8; i++) {
		q[0][i] = r[i].a;
		q[1][i] = r[i].b;
		q[2][i] = r[8 + i].a;
		q[3][i] = r[8 + i].b;
	}
	for (int i = 0; i < 4; i++)
		v_turn_eight(q[i]);
	for (int i = 0; i < 8; i++) {
		r[i] = v_pair(q[0][i], q[2][i]);
		r[8 + i] = v_pair(q[1][i], q[3][i]);
	}
}

#else

#define TARGET
#define FN static inline

typedef struct { float f[LANES]; } v16, vpart;

#define EACH(expr) \
	do { \
		v16 r; \
		for (int i = 0; i < LANES; i++) \
			r.f[i] = (expr); \
		return r; \
	} while (0)

FN v16 v_set(float x) { EACH(x); }
FN v16 v_zero(void) { return v_set(0); }
FN v16 v_load_n(const float *p, size_t n)
{
	v16 r = {{0}};

	memcpy(r.f, p, n * sizeof *p);
	return r;
}
FN v16 v_load(const float *p) { return v_load_n(p, LANES); }
FN void v_store_n(float *p, v16 a, size_t n) { memcpy(p, a.f, n * sizeof *p); }
FN void v_store(float *p, v16 a) { memcpy(p, a.f, sizeof a.f); }
FN v16 v_fma(v16 a, v16 b, v16 c) { EACH(fmaf(a.f[i], b.f[i], c.f[i])); }
FN v16 v_add(v16 a, v16 b) { EACH(a.f[i] + b.f[i]); }
FN v16 v_sub(v16 a, v16 b) { EACH(a.f[i] - b.f[i]); }
FN v16 v_mul(v16 a, v16 b) { EACH(a.f[i] * b.f[i]); }
FN v16 v_div(v16 a, v16 b) { EACH(a.f[i] / b.f[i]); }
FN v16 v_sqrt(v16 a) { EACH(sqrtf(a.f[i])); }
FN v16 v_max(v16 a, v16 b) { EACH(a.f[i] > b.f[i] ? a.f[i] : b.f[i]); } /* as the instruction: the second where unordered */
FN v16 v_neg(v16 a) { EACH(-a.f[i]); }
FN v16 v_round(v16 a) { EACH(rintf(a.f[i])); }
FN v16 v_if_less(v16 a, v16 b, v16 x, v16 y) { EACH(a.f[i] < b.f[i] ? x.f[i] : y.f[i]); }
FN float v_pow2(int n)
{
	uint32_t u = (uint32_t)(n + 127) << 23;
	float f;

	memcpy(&f, &u, sizeof f);
	return f;
}
/* What the instruction makes of a float that is no 32-bit integer. */
FN int v_int(float x) { return x >= -2147483648.0f && x < 2147483648.0f ? (int)x : INT32_MIN; }
FN v16 v_pow2_first(v16 n) { EACH(v_pow2(v_int(n.f[i]) >> 1)); }
FN v16 v_pow2_second(v16 n) { EACH(v_pow2(v_int(n.f[i]) - (v_int(n.f[i]) >> 1))); }
FN v16 v_times_pow2(v16 p, v16 n) { return v_mul(v_mul(p, v_pow2_first(n)), v_pow2_second(n)); }
FN v16 v_outside(v16 a, size_t first, size_t limit, v16 x) { EACH((size_t)i >= first && (size_t)i < limit ? a.f[i] : x.f[i]); }
FN v16 v_load_bf16(const void *p)
{
	uint16_t h[LANES];

	memcpy(h, p, sizeof h);
	EACH(moe_f32_from_bf16(h[i]));
}
FN v16 v_load_int8(const void *p)
{
	int8_t b[LANES];

	memcpy(b, p, sizeof b);
	EACH(b[i]);
}
FN v16 v_load_f16(const void *p)
{
	uint16_t h[LANES];

	memcpy(h, p, sizeof h);
	EACH(moe_f32_from_f16(h[i]));
}
enum { PARTS = 1 };
FN vpart part_load(const float *p, size_t part) { return v_load(p + part * LANES); }
FN vpart part_load_n(const float *p, size_t n, size_t part) { return v_load_n(p, part ? 0 : n); }
FN vpart part_fma(vpart a, vpart b, vpart c) { return v_fma(a, b, c); }
FN vpart part_zero(void) { return v_zero(); }
FN vpart part_set(float x) { return v_set(x); }
FN vpart part_add(vpart a, vpart b) { return v_add(a, b); }
FN void part_store(float *p, vpart a) { v_store(p, a); }
FN void part_store_n(float *p, vpart a, size_t n) { v_store_n(p, a, n); }
FN uint32_t v_bits(float x)
{
	uint32_t u;

	memcpy(&u, &x, sizeof u);
	return u;
}
FN v16 v_low(v16 a) { EACH(moe_f32_from_bf16((uint16_t)v_bits(a.f[i]))); }
FN v16 v_high(v16 a) { EACH(moe_f32_from_bf16((uint16_t)(v_bits(a.f[i]) >> 16))); }
FN v16 v_join(const vpart *a) { return a[0]; }
FN v16 v_pair_bf16(const void *low, const void *high)
{
	uint16_t l[LANES], h[LANES];
	uint32_t u[LANES];
	v16 r;

	memcpy(l, low, sizeof l);
	memcpy(h, high, sizeof h);
	for (int i = 0; i < LANES; i++)
		u[i] = l[i] | (uint32_t)h[i] << 16;
	memcpy(r.f, u, sizeof u);
	return r;
}
FN void v_store_bf16(void *to, v16 a)
{
	uint16_t h[LANES];

	for (int i = 0; i < LANES; i++)
		h[i] = moe_bf16_from_f32(v_bits(a.f[i]) & 0x7f800000 ? a.f[i] : copysignf(0, a.f[i]));
	memcpy(to, h, sizeof h);
}

/* Turns 16 rows of 16 into 16 columns. */
FN void v_turn(v16 *r)
{
	for (int i = 0; i < LANES; i++)
		for (int j = 0; j < i; j++) {
			float t = r[i].f[j];
			r[i].f[j] = r[j].f[i];
			r[j].f[i] = t;
		}
}

#endif

#if !defined MOE_V_AVX512
FN void v_load_turned(v16 *r, const float *p, size_t ld)
{
	for (size_t i = 0; i < LANES; i++)
		r[i] = v_load(p + i * ld);
	v_turn(r);
}
#endif

/* The tree: lanes j + 8, j + 4, j + 2, j + 1 are added. */
#if defined MOE_V_AVX512 || defined MOE_V_AVX2
FN float v_sum(v16 a)
{
	__m256 h = v_fold(a);
	__m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));

	q = _mm_add_ps(q, _mm_movehl_ps(q, q));
	return _mm_cvtss_f32(_mm_add_ss(q, _mm_shuffle_ps(q, q, 1)));
}
/* Sums of four vectors at once, by the same tree. */
FN void v_sum4(float *out, v16 a, v16 b, v16 c, v16 d)
{
	__m256 ha = v_fold(a), hb = v_fold(b), hc = v_fold(c), hd = v_fold(d);
	__m128 qa = _mm_add_ps(_mm256_castps256_ps128(ha), _mm256_extractf128_ps(ha, 1)), qb = _mm_add_ps(_mm256_castps256_ps128(hb), _mm256_extractf128_ps(hb, 1));
	__m128 qc = _mm_add_ps(_mm256_castps256_ps128(hc), _mm256_extractf128_ps(hc, 1)), qd = _mm_add_ps(_mm256_castps256_ps128(hd), _mm256_extractf128_ps(hd, 1));
	__m128 ab = _mm_add_ps(_mm_movelh_ps(qa, qb), _mm_movehl_ps(qb, qa)), cd = _mm_add_ps(_mm_movelh_ps(qc, qd), _mm_movehl_ps(qd, qc));

	_mm_storeu_ps(out, _mm_add_ps(_mm_shuffle_ps(ab, cd, 0x88), _mm_shuffle_ps(ab, cd, 0xdd)));
}
#else
FN float v_sum(v16 a)
{
	for (int n = LANES / 2; n; n /= 2)
		for (int i = 0; i < n; i++)
			a.f[i] += a.f[i + n];
	return a.f[0];
}
FN void v_sum4(float *out, v16 a, v16 b, v16 c, v16 d)
{
	out[0] = v_sum(a);
	out[1] = v_sum(b);
	out[2] = v_sum(c);
	out[3] = v_sum(d);
}
#endif

#if defined MOE_V_AVX512
/* Lanes j and j + 8, then j + 4, of four vectors; group g of four lanes of the result is vector g's. */
FN v16 v_quarters(v16 a, v16 b, v16 c, v16 d)
{
	v16 ab = v_add(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
	v16 cd = v_add(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xee));

	return v_add(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
}

/* Lanes j + 2 of each group of a and b: a's two, then b's. */
FN v16 v_halves(v16 a, v16 b)
{
	__m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);

	return v_add(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)), _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
}

/* Lanes j + 1 of each group of a and b: a's two sums, then b's. */
FN v16 v_pairs(v16 a, v16 b) { return v_add(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd)); }

/* The sums of m rows of four vectors, by the same tree: the vectors are added while they are transposed. */
FN void v_sum_rows(float *y, size_t ldy, const v16 (*s)[4], size_t m)
{
	size_t i = 0;

	UNROLL
	for (; i + 4 <= m; i += 4) {
		v16 u0 = v_quarters(s[i][0], s[i + 1][0], s[i + 2][0], s[i + 3][0]), u1 = v_quarters(s[i][1], s[i + 1][1], s[i + 2][1], s[i + 3][1]);
		v16 u2 = v_quarters(s[i][2], s[i + 1][2], s[i + 2][2], s[i + 3][2]), u3 = v_quarters(s[i][3], s[i + 1][3], s[i + 2][3], s[i + 3][3]);
		v16 sum = v_pairs(v_halves(u0, u1), v_halves(u2, u3));
		_mm_storeu_ps(y + i * ldy, _mm512_castps512_ps128(sum));
		_mm_storeu_ps(y + (i + 1) * ldy, _mm512_extractf32x4_ps(sum, 1));
		_mm_storeu_ps(y + (i + 2) * ldy, _mm512_extractf32x4_ps(sum, 2));
		_mm_storeu_ps(y + (i + 3) * ldy, _mm512_extractf32x4_ps(sum, 3));
	}
	if (i + 2 <= m) {
		v16 u0 = v_quarters(s[i][0], s[i][2], s[i + 1][0], s[i + 1][2]), u1 = v_quarters(s[i][1], s[i][3], s[i + 1][1], s[i + 1][3]);
		v16 h = v_halves(u0, u1), sum = v_pairs(h, h);  /* groups: sums 0 1, 2 3 of row i, 0 1, 2 3 of row i + 1 */
		__m256 low = _mm512_castps512_ps256(sum), high = _mm512_extractf32x8_ps(sum, 1);
		_mm_storeu_ps(y + i * ldy, _mm_movelh_ps(_mm256_castps256_ps128(low), _mm256_extractf128_ps(low, 1)));
		_mm_storeu_ps(y + (i + 1) * ldy, _mm_movelh_ps(_mm256_castps256_ps128(high), _mm256_extractf128_ps(high, 1)));
		i += 2;
	}
	if (i < m)
		v_sum4(y + i * ldy, s[i][0], s[i][1], s[i][2], s[i][3]);
}
#else
FN void v_sum_rows(float *y, size_t ldy, const v16 (*s)[4], size_t m)
{
	UNROLL
	for (size_t i = 0; i < m; i++)
		v_sum4(y + i * ldy, s[i][0], s[i][1], s[i][2], s[i][3]);
}
#endif

/* Largest lane; exact in any order. No lane may be NaN. */
#if defined MOE_V_AVX512 || defined MOE_V_AVX2
FN float v_largest(v16 a)
{
	__m256 h = v_fold_largest(a);
	__m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));

	q = _mm_max_ps(q, _mm_movehl_ps(q, q));
	return _mm_cvtss_f32(_mm_max_ss(q, _mm_shuffle_ps(q, q, 1)));
}
#else
FN float v_largest(v16 a)
{
	float top = a.f[0];

	for (int i = 1; i < LANES; i++)
		top = a.f[i] > top ? a.f[i] : top;
	return top;
}
#endif

FN size_t v_weight_nbytes(enum moe_dtype type) { return type == MOE_F32 ? 4 : type == MOE_I8 ? 1 : 2; }

/* n <= 16 weights of a type, widened; the rest zero. The type is a constant wherever this is inlined. */
FN v16 v_load_weights(const void *p, enum moe_dtype type, size_t n)
{
	uint16_t h[LANES] = {0};

	if (type == MOE_F32)
		return n == LANES ? v_load(p) : v_load_n(p, n);
	if (n < LANES) {
		memcpy(h, p, n * v_weight_nbytes(type));
		p = h;
	}
	return type == MOE_I8 ? v_load_int8(p) : type == MOE_BF16 ? v_load_bf16(p) : v_load_f16(p);
}

#endif
