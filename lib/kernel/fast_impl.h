/* Products of quantised weights, written once over a part, the outputs of one register (all 16 of a group, or 8 with AVX2), and compiled for each
 * instruction set (fast_*.c). The weights + 128 are the unsigned operand, so no instruction that saturates is needed where there is a dot product of
 * bytes (MOE_F_DOT); elsewhere bytes become 16 bits, even and odd ones apart, and x lies so already. */
#include "base/check.h"
#include "kernel/fast_priv.h"
#include "kernel/v16.h"

/* 32 quantised inputs. */
#if defined MOE_V_AVX512 || defined MOE_V_AVX2
typedef __m256i qblock;

/* Sums of the first 16 and of the last 16; pairs of them, at most 2 · 127, do not saturate. */
static inline __attribute__((target("avx2"), always_inline)) void sum_halves(int32_t *sum, qblock q)
{
	__m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), q), four = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
	__m128i two = _mm_hadd_epi32(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1));

	two = _mm_hadd_epi32(two, two);
	sum[0] = _mm_cvtsi128_si32(two);
	sum[1] = _mm_extract_epi32(two, 1);
}
static inline __attribute__((target("avx2"), always_inline)) qblock zero_block(void) { return _mm256_setzero_si256(); }
#else
typedef struct { int8_t b[32]; } qblock;

static inline void sum_halves(int32_t *sum, qblock q)
{
	for (int i = 0; i < 16; i++) {
		sum[0] += q.b[i];
		sum[1] += q.b[16 + i];
	}
}
static inline qblock zero_block(void) { return (qblock){{0}}; }
#endif

#if defined MOE_V_AVX512
#if defined MOE_F_TILES
#define F_TARGET target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,f16c,amx-tile,amx-int8")
enum { MOST_M = 16 };
#elif defined MOE_F_DOT
#define F_TARGET target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,f16c")
enum { MOST_M = 6 };
#else
#define F_TARGET target("avx512f,avx512bw,avx512dq,avx512vl,fma,f16c")
enum { MOST_M = 4 };
#endif
#define F_FN static inline __attribute__((F_TARGET, always_inline))
#define F_STATIC __attribute__((F_TARGET)) static
typedef __m512i ipart, vbytes;
enum { PART = 16, BYTES = 64 };

F_FN vpart f_load(const float *p) { return _mm512_load_ps(p); }
F_FN void f_store(float *p, vpart a) { _mm512_store_ps(p, a); }
F_FN vpart f_set(float x) { return _mm512_set1_ps(x); }
F_FN vpart f_sub(vpart a, vpart b) { return _mm512_sub_ps(a, b); }
F_FN vpart f_mul(vpart a, vpart b) { return _mm512_mul_ps(a, b); }
F_FN vpart f_part(v16 a, size_t part) { return part ? _mm512_setzero_ps() : a; }
F_FN ipart i_set(int32_t x) { return _mm512_set1_epi32(x); }
F_FN vpart i_as_float(ipart a) { return _mm512_castsi512_ps(a); }
F_FN ipart i_load(const void *p) { return _mm512_load_si512(p); }
F_FN ipart i_even(ipart a) { return _mm512_and_si512(a, _mm512_set1_epi16(255)); }
F_FN ipart i_odd(ipart a) { return _mm512_srli_epi16(a, 8); }
F_FN ipart i_madd(ipart s, ipart a, ipart b) { return _mm512_add_epi32(s, _mm512_madd_epi16(a, b)); }
#if defined MOE_F_DOT
F_FN ipart i_dot(ipart s, ipart a, ipart b) { return _mm512_dpbusd_epi32(s, a, b); }
#endif
F_FN vbytes b_load(const void *p) { return _mm512_load_si512(p); }
F_FN void b_store(void *p, vbytes a) { _mm512_store_si512(p, a); }
F_FN vbytes b_set(uint8_t x) { return _mm512_set1_epi8((char)x); }
F_FN vbytes b_and(vbytes a, vbytes b) { return _mm512_and_si512(a, b); }
F_FN vbytes b_or(vbytes a, vbytes b) { return _mm512_or_si512(a, b); }
F_FN vbytes b_add(vbytes a, vbytes b) { return _mm512_add_epi8(a, b); }
F_FN vbytes b_left(vbytes a, int n) { return _mm512_slli_epi16(a, (unsigned)n); }
F_FN vbytes b_right(vbytes a, int n) { return _mm512_srli_epi16(a, (unsigned)n); }
F_FN vbytes b_table(const uint8_t *t, vbytes code) { return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128((const void *)t)), code); }
F_FN ipart b_as_ints(vbytes a) { return a; }
F_FN v16 v_from_bytes(const uint8_t *p) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)p))); }
F_FN v16 v_from_signed(const uint8_t *p) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)p))); }

/* Largest bits without the sign, of 32 floats: above those of infinity are NaN's. */
F_FN uint32_t largest_bits(const float *x)
{
	__m512i most = _mm512_set1_epi32(0x7fffffff);

	return _mm512_reduce_max_epu32(_mm512_max_epu32(_mm512_and_si512(_mm512_loadu_si512(x), most), _mm512_and_si512(_mm512_loadu_si512(x + 16), most)));
}
F_FN __m128i sixteen_rounded(const float *x, float by) { return _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x), _mm512_set1_ps(by)))); }
F_FN qblock round_to_bytes(const float *x, float by) { return _mm256_set_m128i(sixteen_rounded(x + 16, by), sixteen_rounded(x, by)); }

#elif defined MOE_V_AVX2
#if defined MOE_F_DOT
#define F_TARGET target("avx2,fma,f16c,avxvnni")
enum { MOST_M = 4 };
#else
#define F_TARGET target("avx2,fma,f16c")
enum { MOST_M = 3 };
#endif
#define F_FN static inline __attribute__((F_TARGET, always_inline))
#define F_STATIC __attribute__((F_TARGET)) static
typedef __m256i ipart, vbytes;
enum { PART = 8, BYTES = 32 };

F_FN vpart f_load(const float *p) { return _mm256_load_ps(p); }
F_FN void f_store(float *p, vpart a) { _mm256_store_ps(p, a); }
F_FN vpart f_set(float x) { return _mm256_set1_ps(x); }
F_FN vpart f_sub(vpart a, vpart b) { return _mm256_sub_ps(a, b); }
F_FN vpart f_mul(vpart a, vpart b) { return _mm256_mul_ps(a, b); }
F_FN vpart f_part(v16 a, size_t part) { return part ? a.b : a.a; }
F_FN ipart i_set(int32_t x) { return _mm256_set1_epi32(x); }
F_FN vpart i_as_float(ipart a) { return _mm256_castsi256_ps(a); }
F_FN ipart i_load(const void *p) { return _mm256_load_si256(p); }
F_FN ipart i_even(ipart a) { return _mm256_and_si256(a, _mm256_set1_epi16(255)); }
F_FN ipart i_odd(ipart a) { return _mm256_srli_epi16(a, 8); }
F_FN ipart i_madd(ipart s, ipart a, ipart b) { return _mm256_add_epi32(s, _mm256_madd_epi16(a, b)); }
#if defined MOE_F_DOT
F_FN ipart i_dot(ipart s, ipart a, ipart b) { return _mm256_dpbusd_avx_epi32(s, a, b); }
#endif
F_FN vbytes b_load(const void *p) { return _mm256_load_si256(p); }
F_FN void b_store(void *p, vbytes a) { _mm256_store_si256(p, a); }
F_FN vbytes b_set(uint8_t x) { return _mm256_set1_epi8((char)x); }
F_FN vbytes b_and(vbytes a, vbytes b) { return _mm256_and_si256(a, b); }
F_FN vbytes b_or(vbytes a, vbytes b) { return _mm256_or_si256(a, b); }
F_FN vbytes b_add(vbytes a, vbytes b) { return _mm256_add_epi8(a, b); }
F_FN vbytes b_left(vbytes a, int n) { return _mm256_slli_epi16(a, n); }
F_FN vbytes b_right(vbytes a, int n) { return _mm256_srli_epi16(a, n); }
F_FN vbytes b_table(const uint8_t *t, vbytes code) { return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)t)), code); }
F_FN ipart b_as_ints(vbytes a) { return a; }
F_FN __m256 eight_from(__m256i i) { return _mm256_cvtepi32_ps(i); }
F_FN v16 v_from_bytes(const uint8_t *p)
{
	__m128i b = _mm_loadu_si128((const void *)p);

	return v_pair(eight_from(_mm256_cvtepu8_epi32(b)), eight_from(_mm256_cvtepu8_epi32(_mm_srli_si128(b, 8))));
}
F_FN v16 v_from_signed(const uint8_t *p)
{
	__m128i b = _mm_loadu_si128((const void *)p);

	return v_pair(eight_from(_mm256_cvtepi8_epi32(b)), eight_from(_mm256_cvtepi8_epi32(_mm_srli_si128(b, 8))));
}

F_FN uint32_t largest_bits(const float *x)
{
	__m256i most = _mm256_set1_epi32(0x7fffffff), a = _mm256_setzero_si256();
	__m128i h;

	for (int i = 0; i < 32; i += 8)
		a = _mm256_max_epu32(a, _mm256_and_si256(_mm256_loadu_si256((const void *)(x + i)), most));
	h = _mm_max_epu32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
	h = _mm_max_epu32(h, _mm_shuffle_epi32(h, 0x4e));
	return (uint32_t)_mm_cvtsi128_si32(_mm_max_epu32(h, _mm_shuffle_epi32(h, 0xb1)));
}
F_FN __m256i eight_rounded(const float *x, float by) { return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), _mm256_set1_ps(by))); }
F_FN qblock round_to_bytes(const float *x, float by)
{
	__m256i a = _mm256_packs_epi32(eight_rounded(x, by), eight_rounded(x + 8, by)), b = _mm256_packs_epi32(eight_rounded(x + 16, by), eight_rounded(x + 24, by));

	/* Groups of four lie as 0 4 1 5 of each half now. */
	return _mm256_permutevar8x32_epi32(_mm256_packs_epi16(a, b), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

#else
#define F_FN static inline
#define F_STATIC static
#define MOE_F_DOT
typedef struct { int32_t i[LANES]; } ipart;
typedef struct { uint8_t b[64]; } vbytes;
enum { MOST_M = 2, PART = 16, BYTES = 64 };

F_FN vpart f_load(const float *p) { return v_load(p); }
F_FN void f_store(float *p, vpart a) { v_store(p, a); }
F_FN vpart f_set(float x) { return v_set(x); }
F_FN vpart f_sub(vpart a, vpart b) { return v_sub(a, b); }
F_FN vpart f_mul(vpart a, vpart b) { return v_mul(a, b); }
F_FN vpart f_part(v16 a, size_t part) { return part ? v_zero() : a; }
F_FN ipart i_set(int32_t x)
{
	ipart r;

	for (int i = 0; i < LANES; i++)
		r.i[i] = x;
	return r;
}
F_FN ipart i_load(const void *p)
{
	ipart r;

	memcpy(&r, p, sizeof r);
	return r;
}
F_FN vpart i_as_float(ipart a)
{
	vpart r;

	memcpy(&r, &a, sizeof r);
	return r;
}
F_FN ipart i_dot(ipart s, ipart a, ipart b)
{
	const uint8_t *w = (const uint8_t *)a.i;
	const int8_t *x = (const int8_t *)b.i;

	for (int i = 0; i < LANES; i++)
		s.i[i] += w[4 * i] * x[0] + w[4 * i + 1] * x[1] + w[4 * i + 2] * x[2] + w[4 * i + 3] * x[3];
	return s;
}

#define EACH_BYTE(expr) \
	do { \
		vbytes r; \
		for (int i = 0; i < BYTES; i++) \
			r.b[i] = (uint8_t)(expr); \
		return r; \
	} while (0)

F_FN vbytes b_load(const uint8_t *p) { EACH_BYTE(p[i]); }
F_FN void b_store(void *p, vbytes a) { memcpy(p, a.b, sizeof a.b); }
F_FN vbytes b_set(uint8_t x) { EACH_BYTE(x); }
F_FN vbytes b_and(vbytes a, vbytes b) { EACH_BYTE(a.b[i] & b.b[i]); }
F_FN vbytes b_or(vbytes a, vbytes b) { EACH_BYTE(a.b[i] | b.b[i]); }
F_FN vbytes b_add(vbytes a, vbytes b) { EACH_BYTE(a.b[i] + b.b[i]); }
F_FN vbytes b_left(vbytes a, int n) { EACH_BYTE(a.b[i] << n); }
F_FN vbytes b_right(vbytes a, int n) { EACH_BYTE(a.b[i] >> n); }
F_FN vbytes b_table(const uint8_t *t, vbytes code) { EACH_BYTE(t[code.b[i]]); }
F_FN ipart b_as_ints(vbytes a) { return i_load(a.b); }
F_FN v16 v_from_bytes(const uint8_t *p) { EACH((float)p[i]); }
F_FN v16 v_from_signed(const uint8_t *p) { EACH((float)(int8_t)p[i]); }

F_FN uint32_t largest_bits(const float *x)
{
	uint32_t most = 0, u;

	for (int i = 0; i < 32; i++) {
		memcpy(&u, x + i, 4);
		u &= 0x7fffffff;
		most = u > most ? u : most;
	}
	return most;
}
F_FN qblock round_to_bytes(const float *x, float by)
{
	qblock q;

	for (int i = 0; i < 32; i++)
		q.b[i] = (int8_t)rintf(x[i] * by);
	return q;
}
#endif

/* A step of weights of one part, and the four inputs of it. */
#if defined MOE_F_DOT
typedef ipart wstep, xstep;
enum { X_NBYTES = 32 };

F_FN wstep step_of_weights(ipart all) { return all; }
F_FN xstep step_of_x(const uint8_t *x, size_t step)
{
	int32_t four;

	memcpy(&four, x + 4 * step, 4);
	return i_set(four);
}
F_FN ipart step_product(ipart s, wstep w, xstep x) { return i_dot(s, w, x); }
F_FN void place_x(uint8_t *to, qblock q) { memcpy(to, &q, 32); }
#else
typedef struct { ipart even, odd; } wstep, xstep;
enum { X_NBYTES = 64 };

F_FN wstep step_of_weights(ipart all) { return (wstep){i_even(all), i_odd(all)}; }
F_FN xstep step_of_x(const uint8_t *x, size_t step)
{
	int32_t two[2];

	memcpy(two, x + 8 * step, 8);
	return (xstep){i_set(two[0]), i_set(two[1])};
}
F_FN ipart step_product(ipart s, wstep w, xstep x) { return i_madd(i_madd(s, w.even, x.even), w.odd, x.odd); }
/* Of four inputs the even ones, then the odd ones, in 16 bits each. */
F_FN void place_x(uint8_t *to, qblock bytes)
{
	int16_t wide[32];
	int8_t q[32];

	memcpy(q, &bytes, 32);
	for (int i = 0; i < 32; i++)
		wide[i / 4 * 4 + i % 2 * 2 + i % 4 / 2] = q[i];
	memcpy(to, wide, sizeof wide);
}
#endif

enum { X_BLOCK = X_NBYTES + sizeof(struct fast_block) };

F_STATIC void quantise(uint8_t *to, const float *x, size_t cols)
{
	for (size_t b = 0; b < cols / BLOCK; b++, x += BLOCK, to += MOST_M * X_BLOCK) {
		qblock q = zero_block();
		struct fast_block *f = (struct fast_block *)(to + X_NBYTES);
		uint32_t bits = largest_bits(x);
		int32_t sum[3] = {0};
		float most;

		memcpy(&most, &bits, 4);
		f->d = bits >= 0x7f800000 ? NAN : most >= 0x1p-100f ? most / 127.0f : 0;
		if (f->d > 0)
			q = round_to_bytes(x, 127.0f / most);
		sum_halves(sum + 1, q);
		sum[0] = sum[1] + sum[2];
		for (int i = 0; i < 3; i++) {
			f->dsum[i] = f->d * (float)sum[i];
			f->init[i] = FAST_MAGIC - 128 * sum[i];
		}
		place_x(to, q);
	}
}

F_FN size_t scales_of(enum sums s) { return s == SUMS_2 || s == SUMS_2_LEAST ? 2 : 1; }
F_FN size_t floats_of(enum sums s) { return scales_of(s) * (s == SUMS_1_LEAST || s == SUMS_2_LEAST ? 48 : 32); }

#if defined MOE_F_TILES
enum { CODE_FLIP = 128 };       /* makes codes + bias signed */
#include "kernel/fast_tiles.h"
#else
enum { CODE_FLIP = 0 };

F_FN void use_tiles(void) {}
F_FN void forget_tiles(void) {}

/* Adds the products of `blocks` blocks of m rows with so many parts, whose codes and scales q and scale point to. sum [m][32] begins with part 0. */
F_FN void tile(float *sum, const uint8_t *x, size_t m, const uint8_t *const *q, const float *const *scale, size_t parts, size_t blocks, enum sums sums)
{
	vpart s[MOST_M][2];
	size_t scales = scales_of(sums), width = floats_of(sums) / scales;

	UNROLL
	for (size_t i = 0; i < m; i++)
		UNROLL
		for (size_t p = 0; p < parts; p++)
			s[i][p] = f_load(sum + i * 32 + p * PART);
	for (size_t b = 0; b < blocks; b++, x += MOST_M * X_BLOCK)
		UNROLL
		for (size_t h = 0; h < scales; h++) {
			size_t which = scales == 1 ? 0 : 1 + h;
			ipart acc[MOST_M][2];
			UNROLL
			for (size_t i = 0; i < m; i++)
				UNROLL
				for (size_t p = 0; p < parts; p++)
					acc[i][p] = i_set(((const struct fast_block *)(x + i * X_BLOCK + X_NBYTES))->init[which]);
			UNROLL
			for (size_t step = h * STEPS / scales; step < (h + 1) * STEPS / scales; step++) {
				wstep w[2];
				UNROLL
				for (size_t p = 0; p < parts; p++)
					w[p] = step_of_weights(i_load(q[p] + b * BLOCK_NBYTES + step * STEP_NBYTES));
				UNROLL
				for (size_t i = 0; i < m; i++) {
					xstep xs = step_of_x(x + i * X_BLOCK, step);
					UNROLL
					for (size_t p = 0; p < parts; p++)
						acc[i][p] = step_product(acc[i][p], w[p], xs);
				}
			}
			UNROLL
			for (size_t i = 0; i < m; i++) {
				const struct fast_block *f = (const struct fast_block *)(x + i * X_BLOCK + X_NBYTES);
				UNROLL
				for (size_t p = 0; p < parts; p++) {
					const float *e = scale[p] + (b * scales + h) * width;
					vpart t = part_fma(i_as_float(acc[i][p]), f_load(e), f_load(e + 16));
					s[i][p] = part_fma(t, f_set(f->d), s[i][p]);
					if (sums == SUMS_1_LEAST || sums == SUMS_2_LEAST)
						s[i][p] = part_fma(f_load(e + 32), f_set(f->dsum[which]), s[i][p]);
				}
			}
		}
	UNROLL
	for (size_t i = 0; i < m; i++)
		UNROLL
		for (size_t p = 0; p < parts; p++)
			f_store(sum + i * 32 + p * PART, s[i][p]);
}

/* All rows, tile by tile; m <= MOST_M as a constant, so that the sums stay in registers. */
F_FN void panel(float *sum, const uint8_t *x, size_t tile_nbytes, size_t rows, const uint8_t *const *q, const float *const *scale, size_t parts,
		size_t blocks, enum sums sums)
{
	for (; rows >= MOST_M; rows -= MOST_M, sum += MOST_M * 32, x += tile_nbytes)
		tile(sum, x, MOST_M, q, scale, parts, blocks, sums);
	switch (rows) {
	case 1: tile(sum, x, 1, q, scale, parts, blocks, sums); break;
	case 2: tile(sum, x, 2, q, scale, parts, blocks, sums); break;
	case 3: tile(sum, x, 3 < MOST_M ? 3 : MOST_M, q, scale, parts, blocks, sums); break;
	case 4: tile(sum, x, 4 < MOST_M ? 4 : MOST_M, q, scale, parts, blocks, sums); break;
	case 5: tile(sum, x, 5 < MOST_M ? 5 : MOST_M, q, scale, parts, blocks, sums); break;
	}
}
#endif

F_STATIC void panel_1(float *sum, const uint8_t *x, size_t ld, size_t rows, const uint8_t *const *q, const float *const *e, size_t parts, size_t blocks)
{
	parts == 1 ? panel(sum, x, ld, rows, q, e, 1, blocks, SUMS_1) : panel(sum, x, ld, rows, q, e, 2, blocks, SUMS_1);
}

F_STATIC void panel_1_least(float *sum, const uint8_t *x, size_t ld, size_t rows, const uint8_t *const *q, const float *const *e, size_t parts, size_t blocks)
{
	parts == 1 ? panel(sum, x, ld, rows, q, e, 1, blocks, SUMS_1_LEAST) : panel(sum, x, ld, rows, q, e, 2, blocks, SUMS_1_LEAST);
}

#if !defined MOE_F_TILES
F_STATIC void panel_2(float *sum, const uint8_t *x, size_t ld, size_t rows, const uint8_t *const *q, const float *const *e, size_t parts, size_t blocks)
{
	parts == 1 ? panel(sum, x, ld, rows, q, e, 1, blocks, SUMS_2) : panel(sum, x, ld, rows, q, e, 2, blocks, SUMS_2);
}

F_STATIC void panel_2_least(float *sum, const uint8_t *x, size_t ld, size_t rows, const uint8_t *const *q, const float *const *e, size_t parts, size_t blocks)
{
	parts == 1 ? panel(sum, x, ld, rows, q, e, 1, blocks, SUMS_2_LEAST) : panel(sum, x, ld, rows, q, e, 2, blocks, SUMS_2_LEAST);
}

#endif

/* The bits of `mask` of each byte, moved from bit `from` to bit `to`; mask is in place at `to`. */
F_FN vbytes b_move(vbytes a, int from, int to, uint8_t mask)
{
	return b_and(to > from ? b_left(a, to - from) : from > to ? b_right(a, from - to) : a, b_set(mask));
}

/* Codes + bias of a step from byte `at` on, a byte each, from the planes of a block. */
F_FN vbytes step_codes(const uint8_t *from, size_t at, int step, enum planes planes, const struct packing *k)
{
	const uint8_t *more = from + (planes == PLANE_2 || planes == PLANE_2_1 ? 0 : 4 * STEP_NBYTES), *last = from + 2 * STEP_NBYTES;
	vbytes c = b_set(0);

	if (planes == PLANE_BYTES)
		return b_load(from + step * STEP_NBYTES + at);
	if (planes != PLANE_2 && planes != PLANE_2_1)
		c = b_move(b_load(from + step % 4 * STEP_NBYTES + at), step / 4 * 4, 0, 15);
	if (planes == PLANE_NIBBLES_1)
		c = b_or(c, b_move(b_load(more + at), step, 4, 16));
	if (planes == PLANE_NIBBLES_2)
		c = b_or(c, b_move(b_load(more + step % 2 * STEP_NBYTES + at), step / 2 * 2, 4, 48));
	if (planes == PLANE_2 || planes == PLANE_2_1)
		c = b_move(b_load(more + step % 2 * STEP_NBYTES + at), step / 2 * 2, 0, 3);
	if (planes == PLANE_2_1)
		c = b_or(c, b_move(b_load(last + at), step, 2, 4));
	return planes == PLANE_TABLE ? b_table(k->table, c) : b_add(c, b_set(k->bias));
}

F_FN void unpack_block(uint8_t *to, const uint8_t *from, enum planes planes, const struct packing *k)
{
	for (size_t at = 0; at < STEP_NBYTES; at += BYTES)
		UNROLL
		for (int step = 0; step < STEPS; step++)
			b_store(to + step * STEP_NBYTES + at, b_add(step_codes(from, at, step, planes, k), b_set(CODE_FLIP)));
}

F_FN void unpack_planes(uint8_t *to, const uint8_t *from, size_t blocks, enum planes planes, size_t nbytes, const struct packing *k)
{
	for (size_t b = 0; b < blocks; b++)
		unpack_block(to + b * BLOCK_NBYTES, from + b * nbytes, planes, k);
}

F_STATIC void unpack_codes(uint8_t *to, const uint8_t *from, size_t blocks, const struct packing *k)
{
	switch (k->planes) {
	case PLANE_BYTES: unpack_planes(to, from, blocks, PLANE_BYTES, 512, k); break;
	case PLANE_NIBBLES: unpack_planes(to, from, blocks, PLANE_NIBBLES, 256, k); break;
	case PLANE_NIBBLES_1: unpack_planes(to, from, blocks, PLANE_NIBBLES_1, 320, k); break;
	case PLANE_NIBBLES_2: unpack_planes(to, from, blocks, PLANE_NIBBLES_2, 384, k); break;
	case PLANE_2: unpack_planes(to, from, blocks, PLANE_2, 128, k); break;
	case PLANE_2_1: unpack_planes(to, from, blocks, PLANE_2_1, 192, k); break;
	case PLANE_TABLE: unpack_planes(to, from, blocks, PLANE_TABLE, 256, k); break;
	}
}

F_FN v16 low_bits(const uint8_t *p, int shift)
{
	uint8_t b[16];

	for (int i = 0; i < 16; i++)
		b[i] = p[i] >> shift & 15;
	return v_from_bytes(b);
}

/* Of 32 inputs, or of the first and the last 16. */
struct block_scales {
	v16 scale[2], least[2];
};

F_FN size_t scales_in(enum scales s) { return s == SCALE_K16 || s == SCALE_K16_LEAST ? 2 : 1; }
F_FN bool has_least(enum scales s) { return s == SCALE_F16_LEAST || s == SCALE_K_LEAST || s == SCALE_K16_LEAST; }

/* Those of block b: p are the bytes of a group's. */
F_FN struct block_scales read_scales(const uint8_t *p, size_t b, enum scales scales)
{
	v16 d, least, minus = v_set(-1.0f);
	struct block_scales s;

	switch (scales) {
	case SCALE_F16: s.scale[0] = v_load_f16(p + b * 32); break;
	case SCALE_BF16: s.scale[0] = v_load_bf16(p + b * 32); break;
	case SCALE_F16_LEAST:
		s.scale[0] = v_load_f16(p + b * 64);
		s.least[0] = v_load_f16(p + b * 64 + 32);
		break;
	case SCALE_K_LEAST:
		p += b / SUPER * 320;
		s.scale[0] = v_mul(v_load_f16(p), v_from_bytes(p + 64 + b % SUPER * 16));
		s.least[0] = v_mul(v_mul(v_load_f16(p + 32), minus), v_from_bytes(p + 192 + b % SUPER * 16));
		break;
	case SCALE_K16_LEAST:
		p += b / SUPER * 320;
		d = v_load_f16(p);
		least = v_mul(v_load_f16(p + 32), minus);
		p += 64 + b % SUPER * 32;
		for (int h = 0; h < 2; h++, p += 16) {
			s.scale[h] = v_mul(d, low_bits(p, 0));
			s.least[h] = v_mul(least, low_bits(p, 4));
		}
		break;
	case SCALE_K16:
		p += b / SUPER * 288;
		d = v_load_f16(p);
		p += 32 + b % SUPER * 32;
		s.scale[0] = v_mul(d, v_from_signed(p));
		s.scale[1] = v_mul(d, v_from_signed(p + 16));
		break;
	case SCALE_K:
		p += b / SUPER * 160;
		s.scale[0] = v_mul(v_load_f16(p), v_from_signed(p + 32 + b % SUPER * 16));
	}
	return s;
}

F_FN float *put_scales(float *to, const struct block_scales *s, enum scales scales)
{
	for (size_t h = 0; h < scales_in(scales); h++, to += 32) {
		v_store(to, s->scale[h]);
		v_store(to + 16, v_mul(s->scale[h], v_set(-FAST_MAGIC_FLOAT)));
		if (has_least(scales)) {
			v_store(to + 32, s->least[h]);
			to += 16;
		}
	}
	return to;
}

F_STATIC void unpack_scales(float *to, const uint8_t *p, size_t b0, size_t blocks, const struct packing *k)
{
	for (size_t b = b0; b < b0 + blocks; b++) {
		struct block_scales s = read_scales(p, b, k->scales);
		to = put_scales(to, &s, k->scales);
	}
}

/* A chunk of a group: where its codes lie as bytes, and its scales. */
F_STATIC const uint8_t *unpack_chunk(struct fast_scratch *s, size_t which, const uint8_t *group, size_t cols, size_t b0, size_t blocks, const struct packing *k)
{
	const uint8_t *codes = group + scales_nbytes(k, cols / BLOCK) + b0 * block_nbytes(k);

	unpack_scales(s->scales[which], group, b0, blocks, k);
	if (k->planes == PLANE_BYTES && !CODE_FLIP)
		return codes;
	unpack_codes(s->codes[which], codes, blocks, k);
	return s->codes[which];
}

/* The next chunk of weights, or what lies behind the last one, is on its way while this one is multiplied. */
F_FN void ask_ahead(const uint8_t *p, size_t nbytes)
{
	for (size_t at = 0; at < nbytes; at += 64)
		__builtin_prefetch(p + at, 0, 2);
}

F_STATIC void chunk_sums(struct fast_scratch *s, const struct fast_job *j, size_t b0, size_t blocks)
{
	static void (*const panels[])(float *, const uint8_t *, size_t, size_t, const uint8_t *const *, const float *const *, size_t, size_t) = {
		panel_1, panel_1_least,
#if !defined MOE_F_TILES
		panel_2, panel_2_least,
#endif
	};
	const uint8_t *q[4];
	const float *scale[4];
	size_t parts = j->n_groups * (16 / PART);

	for (size_t g = 0, p = 0; g < j->n_groups; g++) {
		const uint8_t *codes = unpack_chunk(s, g, j->group[g], j->cols, b0, blocks, j->packing);
		for (size_t at = 0; at < 16; at += PART, p++) {
			q[p] = codes + 4 * at;
			scale[p] = s->scales[g] + at;
		}
	}
	for (size_t g = 0; g < j->n_groups; g++)
		ask_ahead(j->group[g] + scales_nbytes(j->packing, j->cols / BLOCK) + (b0 + blocks) * block_nbytes(j->packing), blocks * block_nbytes(j->packing));
	for (size_t p = 0; p < parts; p += 2)
		panels[j->packing->sums](s->sum[0] + p * PART, j->x + b0 * MOST_M * X_BLOCK, j->cols / BLOCK * MOST_M * X_BLOCK, j->n, q + p, scale + p, moe_min(2, parts - p), blocks);
}

#include "kernel/fast_row.h"

F_STATIC void sums(struct fast_scratch *s, const struct fast_job *j)
{
	size_t blocks = j->cols / BLOCK;

	if (j->n == 1 && !CODE_FLIP) {
		sums_of_row(s->sum[0], j);
		return;
	}

	memset(s->sum, 0, moe_round_up(j->n, MOST_M) * sizeof s->sum[0]);
	use_tiles();
	for (size_t b = 0; b < blocks; b += FAST_BLOCKS)
		chunk_sums(s, j, b, moe_min(FAST_BLOCKS, blocks - b));
	forget_tiles();
}

const struct moe_fast F_VARIANT = {.name = F_NAME, .tile_rows = MOST_M, .whole_tiles = CODE_FLIP != 0, .block_nbytes = X_BLOCK, .quantise = quantise, .sums = sums};
