/* Block types from f32. */
#include <math.h>

#include "base/blocks.h"

enum { SUPER = 256 };           /* elements of a block with scales of its parts */

/* Four lanes, which every CPU has or the compiler takes apart: sums have one order everywhere. */
typedef float v4 __attribute__((vector_size(16)));
typedef int32_t m4 __attribute__((vector_size(16)));

static inline v4 load(const float *p)
{
	v4 v;

	memcpy(&v, p, sizeof v);
	return v;
}

static inline v4 choose(m4 mask, v4 a, v4 b) { return (v4)((mask & (m4)a) | (~mask & (m4)b)); }
static inline float sum(v4 v) { return (v[0] + v[2]) + (v[1] + v[3]); }

/* To the nearest whole number from lo to hi, of two equally near ones the even; |lo| and |hi| < 2^22. */
static inline v4 whole(v4 x, float lo, float hi)
{
	v4 least = {lo, lo, lo, lo}, most = {hi, hi, hi, hi};

	x = choose(x < least, least, x);
	x = choose(x > most, most, x);
	return (x + 0x1.8p23f) - 0x1.8p23f;
}

static inline float whole1(float x, float lo, float hi)
{
	x = x < lo ? lo : x;
	x = x > hi ? hi : x;
	return (x + 0x1.8p23f) - 0x1.8p23f;
}

static inline void put_whole(uint8_t *to, v4 x)
{
	m4 i = __builtin_convertvector(x, m4);

	for (int l = 0; l < 4; l++)
		to[l] = (uint8_t)i[l];
}

/* 1 / x, and 0 where that is not finite. */
static inline float inverse(float x)
{
	float r = 1 / x;

	return isfinite(r) ? r : 0;
}

/* Puts d into the block as F16; returns what was put. */
static float put_half(uint8_t *to, float d)
{
	uint16_t h = moe_f16_from_f32(d);

	memcpy(to, &h, 2);
	return moe_f32_from_f16(h);
}

/* The inverse of `unpack` (blocks.c) for 4 bits: of each 2 · group numbers the first half are the low ones. */
static void pack4(uint8_t *to, const uint8_t *q, unsigned n, unsigned group)
{
	for (; n; n -= 2 * group, q += 2 * group, to += group)
		for (unsigned i = 0; i < group; i++)
			to[i] = (uint8_t)((q[i] & 15) | q[group + i] << 4);
}

/* The value with the largest magnitude, the first of several. */
static float largest(const float *x, int n)
{
	float most = x[0];

	for (int i = 1; i < n; i++)
		if (fabsf(x[i]) > fabsf(most))
			most = x[i];
	return most;
}

/* Scale: the largest magnitude / 127. */
static void quantise_q8_0(uint8_t *to, const float *x)
{
	float d = fabsf(largest(x, 32)) / 127, inv = inverse(d);

	put_half(to, d);
	for (int i = 0; i < 32; i++)
		to[2 + i] = (uint8_t)(int8_t)roundf(x[i] * inv);
}

/* Scale: such that the value with the largest magnitude becomes -8. */
static void quantise_q4_0(uint8_t *to, const float *x)
{
	float d = largest(x, 32) / -8, inv = inverse(d);
	uint8_t q[32];

	put_half(to, d);
	for (int i = 0; i < 32; i++)    /* the order of roundings is gguf-py's */
		q[i] = (uint8_t)fminf((float)((double)x[i] * (double)inv + 8.5), 15);
	pack4(to + 2, q, 32, 16);
}

/* ---- Q6_K: x = d · scale · q ---- */

enum { PART6 = 16, TRIES6 = 19 };

/* Scale of a part by least squares: the value with the largest magnitude becomes about -32, by 32 first and then by factors around it; for each,
 * s = Σqx / Σq² is the best scale for these q, and (Σqx)² / Σq² what it takes off the error. Rounding alone does not let a later one win. */
static float scale_q6_k(const float *x)
{
	float most = largest(x, PART6), inv = inverse(most), best = 0, gain = 0;

	for (int try = 0; try < TRIES6 && inv != 0; try++) {
		int step = (try + 1) / 2 * (try % 2 ? -1 : 1);
		float f = -(32 + 0.1f * (float)step) * inv, qx, qq;
		v4 sqx = {0}, sqq = {0};
		for (int i = 0; i < PART6; i += 4) {
			v4 v = load(x + i), q = whole(v * f, -32, 31);
			sqx += q * v;
			sqq += q * q;
		}
		qx = sum(sqx);
		qq = sum(sqq);
		if (qx * qx > 1.000001f * gain * qq) {
			gain = qx * qx / qq;
			best = qx / qq;
		}
	}
	return best;
}

/* Quantises a part with scale s into q, 0 to 63; returns the sum of squared errors. */
static float round_q6_k(uint8_t *to, const float *x, float s)
{
	float inv = inverse(s);
	v4 error = {0};

	for (int i = 0; i < PART6; i += 4) {
		v4 v = load(x + i), q = whole(v * inv, -32, 31), e = s * q - v;
		put_whole(to + i, q + 32);
		error += e * e;
	}
	return sum(error);
}

/* Of the scales next to the wanted one, which are d times a whole number, takes the best. */
static int8_t choose_q6_k(uint8_t *to, const float *x, float d, float wanted)
{
	float middle = whole1(wanted * inverse(d), -128, 127), best = middle, least = round_q6_k(to, x, d * middle);
	uint8_t q[PART6];

	for (int step = -1; step <= 1; step += 2) {
		float scale = whole1(middle + (float)step, -128, 127), error = round_q6_k(q, x, d * scale);
		if (error < least) {
			least = error;
			best = scale;
			memcpy(to, q, sizeof q);
		}
	}
	return (int8_t)best;
}

static void quantise_q6_k(uint8_t *to, const float *x)
{
	float wanted[16], d;
	uint8_t q[SUPER];

	for (int part = 0; part < 16; part++)
		wanted[part] = scale_q6_k(x + PART6 * part);
	d = put_half(to + 208, largest(wanted, 16) / -128);
	for (int part = 0; part < 16; part++)
		to[192 + part] = (uint8_t)choose_q6_k(q + PART6 * part, x + PART6 * part, d, wanted[part]);
	pack4(to, q, SUPER, 64);
	for (int half = 0; half < 2; half++)
		for (int i = 0; i < 32; i++) {
			const uint8_t *p = q + 128 * half + i;
			to[128 + 32 * half + i] = (uint8_t)(p[0] >> 4 | p[32] >> 4 << 2 | p[64] >> 4 << 4 | p[96] >> 4 << 6);
		}
}

/* ---- Q4_K: x = d · scale · q - dmin · min ---- */

enum { PART4 = 32, TRIES4 = 21 };

struct line { float scale, min; };

/* Scale and minimum of a part by least squares: the range, and several a little narrower or wider, are cut into 15 steps; for each, s and b with the least
 * Σ(s·q + b - x)² for these q; b must not be positive. What a line takes off the error is s · Σqx + b · Σx. */
static struct line line_q4_k(const float *x)
{
	float lo = 0, hi = x[0], sx = 0, inv;
	struct line best;
	double gain = -1;

	for (int i = 0; i < PART4; i++) {
		lo = x[i] < lo ? x[i] : lo;
		hi = x[i] > hi ? x[i] : hi;
		sx += x[i];
	}
	inv = inverse(hi - lo);
	best = (struct line){0, -lo};
	for (int step = 0; step < TRIES4 && inv != 0; step++) {
		float f = (14 + 0.1f * (float)step) * inv;
		v4 vq = {0}, vqq = {0}, vqx = {0};
		double sq, sqq, sqx, s, b, cut;
		for (int i = 0; i < PART4; i += 4) {
			v4 v = load(x + i), q = whole((v - lo) * f, 0, 15);
			vq += q;
			vqq += q * q;
			vqx += q * v;
		}
		sq = sum(vq);
		sqq = sum(vqq);
		sqx = sum(vqx);
		cut = PART4 * sqq - sq * sq;
		s = cut > 0 ? (PART4 * sqx - sq * sx) / cut : 0;
		b = cut > 0 ? (sqq * sx - sq * sqx) / cut : 1;
		if (b > 0) {            /* or all q are the same */
			b = 0;
			s = sqq > 0 ? sqx / sqq : 0;
		}
		if (s > 0 && s * sqx + b * sx > gain) {
			gain = s * sqx + b * sx;
			best = (struct line){(float)s, (float)-b};
		}
	}
	return best;
}

static float round_q4_k(uint8_t *to, const float *x, float s, float m)
{
	float inv = inverse(s);
	v4 error = {0};

	for (int i = 0; i < PART4; i += 4) {
		v4 v = load(x + i), q = whole((v + m) * inv, 0, 15), e = s * q - m - v;
		put_whole(to + i, q);
		error += e * e;
	}
	return sum(error);
}

/* Of the scales and minimums next to the wanted ones takes the best pair. */
static void choose_q4_k(uint8_t *to, uint8_t *scale, uint8_t *min, const float *x, float d, float dmin, struct line wanted)
{
	float s0 = whole1(wanted.scale * inverse(d), 0, 63), m0 = whole1(wanted.min * inverse(dmin), 0, 63);
	float least = round_q4_k(to, x, d * s0, dmin * m0);
	uint8_t q[PART4];

	*scale = (uint8_t)s0;
	*min = (uint8_t)m0;
	for (int i = 0; i < 9; i++) {
		float s = whole1(s0 + (float)(i % 3 - 1), 0, 63), m = whole1(m0 + (float)(i / 3 - 1), 0, 63), error = round_q4_k(q, x, d * s, dmin * m);
		if (error < least) {
			least = error;
			*scale = (uint8_t)s;
			*min = (uint8_t)m;
			memcpy(to, q, sizeof q);
		}
	}
}

/* The inverse of `unpack_scales` (blocks.c). */
static void pack_scales(uint8_t *to, const uint8_t scale[8], const uint8_t min[8])
{
	for (int i = 0; i < 4; i++) {
		to[i] = (uint8_t)(scale[i] | scale[4 + i] >> 4 << 6);
		to[4 + i] = (uint8_t)(min[i] | min[4 + i] >> 4 << 6);
		to[8 + i] = (uint8_t)((scale[4 + i] & 15) | (min[4 + i] & 15) << 4);
	}
}

static void quantise_q4_k(uint8_t *to, const float *x)
{
	float most = 0, deepest = 0, d, dmin;
	uint8_t q[SUPER], scale[8], min[8];
	struct line wanted[8];

	for (int part = 0; part < 8; part++) {
		wanted[part] = line_q4_k(x + PART4 * part);
		most = wanted[part].scale > most ? wanted[part].scale : most;
		deepest = wanted[part].min > deepest ? wanted[part].min : deepest;
	}
	d = put_half(to, most / 63);
	dmin = put_half(to + 2, deepest / 63);
	for (int part = 0; part < 8; part++)
		choose_q4_k(q + PART4 * part, &scale[part], &min[part], x + PART4 * part, d, dmin, wanted[part]);
	pack_scales(to + 4, scale, min);
	pack4(to + 16, q, SUPER, 32);
}

bool moe_blocks_quantise(void *to, const float *from, size_t n, enum moe_dtype t)
{
	void (*quantise)(uint8_t *block, const float *x);
	size_t elements, nbytes;
	uint8_t *b = to;

	switch (t) {
	case MOE_Q8_0: quantise = quantise_q8_0; break;
	case MOE_Q4_0: quantise = quantise_q4_0; break;
	case MOE_Q4_K: quantise = quantise_q4_k; break;
	case MOE_Q6_K: quantise = quantise_q6_k; break;
	default: return false;
	}
	elements = moe_dtype_block(t);
	nbytes = moe_dtype_nbytes(t, elements);
	for (size_t i = 0; i < n; i += elements, b += nbytes)
		quantise(b, from + i);
	return true;
}
