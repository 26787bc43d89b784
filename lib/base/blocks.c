#include "base/blocks.h"

enum { SUPER = 256 };           /* elements of a block with scales of its parts */

/* The sixteen values of IQ4_NL and IQ4_XS, and those of MXFP4, doubled (OCP microscaling formats 1.0, table of E2M1). */
static const int8_t uneven[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
static const int8_t e2m1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static inline float half(const uint8_t *p)
{
	uint16_t h;

	memcpy(&h, p, 2);
	return moe_f32_from_f16(h);
}

/* Numbers of `bits` bits from n bytes: each group of bytes gives first its lowest bits, one number a byte, then the next ones. */
static inline void unpack(uint8_t *to, const uint8_t *from, unsigned n, unsigned group, unsigned bits)
{
	for (; n; n -= group, from += group)
		for (unsigned shift = 0; shift < 8; shift += bits, to += group)
			for (unsigned i = 0; i < group; i++)
				to[i] = (uint8_t)(from[i] >> shift & ((1 << bits) - 1));
}

/* Eight scales and eight minimums of 6 bits in 12 bytes: those of the first four parts in the low bits of bytes 0 to 3 and 4 to 7; of the others
 * 4 bits in bytes 8 to 11 and the rest above the former. */
static void unpack_scales(uint8_t scale[8], uint8_t min[8], const uint8_t *b)
{
	for (unsigned i = 0; i < 4; i++) {
		scale[i] = b[i] & 63;
		min[i] = b[4 + i] & 63;
		scale[4 + i] = (uint8_t)((b[8 + i] & 15) | b[i] >> 6 << 4);
		min[4 + i] = (uint8_t)(b[8 + i] >> 4 | b[4 + i] >> 6 << 4);
	}
}

/* d · (q - 8), q of 4 bits. */
static void widen_q4_0(float *to, const uint8_t *b)
{
	uint8_t q[32];
	float d = half(b);

	unpack(q, b + 2, 16, 16, 4);
	for (int i = 0; i < 32; i++)
		to[i] = d * (float)(q[i] - 8);
}

/* d · q + m. */
static void widen_q4_1(float *to, const uint8_t *b)
{
	uint8_t q[32];
	float d = half(b), m = half(b + 2);

	unpack(q, b + 4, 16, 16, 4);
	for (int i = 0; i < 32; i++)
		to[i] = d * (float)q[i] + m;
}

/* d · (q - 16), the fifth bits in a word of their own. */
static void widen_q5_0(float *to, const uint8_t *b)
{
	uint8_t q[32], h[32];
	float d = half(b);

	unpack(h, b + 2, 4, 1, 1);
	unpack(q, b + 6, 16, 16, 4);
	for (int i = 0; i < 32; i++)
		to[i] = d * (float)((q[i] | h[i] << 4) - 16);
}

static void widen_q5_1(float *to, const uint8_t *b)
{
	uint8_t q[32], h[32];
	float d = half(b), m = half(b + 2);

	unpack(h, b + 4, 4, 1, 1);
	unpack(q, b + 8, 16, 16, 4);
	for (int i = 0; i < 32; i++)
		to[i] = d * (float)(q[i] | h[i] << 4) + m;
}

/* d · q, q of 8 bits. */
static void widen_q8_0(float *to, const uint8_t *b)
{
	float d = half(b);

	for (int i = 0; i < 32; i++)
		to[i] = d * (float)(int8_t)b[2 + i];
}

/* d · scale · q - dmin · min, q of 2 bits, scale and min of 4, for parts of 16. */
static void widen_q2_k(float *to, const uint8_t *b)
{
	uint8_t q[SUPER];
	float d = half(b + 80), dmin = half(b + 82);

	unpack(q, b + 16, 64, 32, 2);
	for (int part = 0; part < 16; part++) {
		float s = d * (float)(b[part] & 15), m = dmin * (float)(b[part] >> 4);
		for (int i = 16 * part; i < 16 * part + 16; i++)
			to[i] = s * (float)q[i] - m;
	}
}

/* d · (scale - 32) · (q - 4), q of 3 bits, the highest in a mask, scale of 6 for parts of 16: four bits in bytes 0 to 7, two in 8 to 11. */
static void widen_q3_k(float *to, const uint8_t *b)
{
	const uint8_t *scale = b + 96;
	uint8_t q[SUPER], h[SUPER], low[16], high[16];
	float d = half(b + 108);

	unpack(h, b, 32, 32, 1);
	unpack(q, b + 32, 64, 32, 2);
	unpack(low, scale, 8, 8, 4);
	unpack(high, scale + 8, 4, 4, 2);
	for (int part = 0; part < 16; part++) {
		float s = d * (float)((low[part] | high[part] << 4) - 32);
		for (int i = 16 * part; i < 16 * part + 16; i++)
			to[i] = s * (float)((q[i] | h[i] << 2) - 4);
	}
}

/* d · scale · q - dmin · min, for parts of 32. */
static inline void widen_parts(float *to, const uint8_t *b, const uint8_t q[SUPER])
{
	uint8_t scale[8], min[8];
	float d = half(b), dmin = half(b + 2);

	unpack_scales(scale, min, b + 4);
	for (int part = 0; part < 8; part++) {
		float s = d * (float)scale[part], m = dmin * (float)min[part];
		for (int i = 32 * part; i < 32 * part + 32; i++)
			to[i] = s * (float)q[i] - m;
	}
}

static void widen_q4_k(float *to, const uint8_t *b)
{
	uint8_t q[SUPER];

	unpack(q, b + 16, 128, 32, 4);
	widen_parts(to, b, q);
}

static void widen_q5_k(float *to, const uint8_t *b)
{
	uint8_t q[SUPER], h[SUPER];

	unpack(h, b + 16, 32, 32, 1);
	unpack(q, b + 48, 128, 32, 4);
	for (int i = 0; i < SUPER; i++)
		q[i] |= (uint8_t)(h[i] << 4);
	widen_parts(to, b, q);
}

/* d · scale · (q - 32), q of 6 bits, scale of 8 for parts of 16. */
static void widen_q6_k(float *to, const uint8_t *b)
{
	uint8_t q[SUPER], h[SUPER];
	float d = half(b + 208);

	unpack(q, b, 128, 64, 4);
	unpack(h, b + 128, 64, 32, 2);
	for (int part = 0; part < 16; part++) {
		float s = d * (float)(int8_t)b[192 + part];
		for (int i = 16 * part; i < 16 * part + 16; i++)
			to[i] = s * (float)((q[i] | h[i] << 4) - 32);
	}
}

/* d · value, values unevenly spaced. */
static void widen_iq4_nl(float *to, const uint8_t *b)
{
	uint8_t q[32];
	float d = half(b);

	unpack(q, b + 2, 16, 16, 4);
	for (int i = 0; i < 32; i++)
		to[i] = d * (float)uneven[q[i]];
}

/* d · (scale - 32) · value, scale of 6 bits for parts of 32: two of each in bytes 2 and 3, four in bytes 4 to 7. */
static void widen_iq4_xs(float *to, const uint8_t *b)
{
	uint8_t q[SUPER], low[8], high[8];
	float d = half(b);

	unpack(high, b + 2, 2, 1, 2);
	unpack(low, b + 4, 4, 1, 4);
	unpack(q, b + 8, 128, 16, 4);
	for (int part = 0; part < 8; part++) {
		float s = d * (float)((low[part] | high[part] << 4) - 32);
		for (int i = 32 * part; i < 32 * part + 32; i++)
			to[i] = s * (float)uneven[q[i]];
	}
}

/* 2^(e - 128) · doubled value: half of what the exponent says (OCP microscaling formats 1.0), subnormal for e < 2. */
static void widen_mxfp4(float *to, const uint8_t *b)
{
	uint32_t bits = b[0] < 2 ? 0x200000u << b[0] : (b[0] - 1u) << 23;
	uint8_t q[32];
	float d;

	memcpy(&d, &bits, sizeof d);
	unpack(q, b + 1, 16, 16, 4);
	for (int i = 0; i < 32; i++)
		to[i] = d * (float)e2m1[q[i]];
}

bool moe_blocks_widen(float *to, const void *from, size_t n, enum moe_dtype t)
{
	static void (*const widen[])(float *to, const uint8_t *block) = {
		[MOE_Q4_0 - MOE_N_DTYPES] = widen_q4_0, [MOE_Q4_1 - MOE_N_DTYPES] = widen_q4_1, [MOE_Q5_0 - MOE_N_DTYPES] = widen_q5_0,
		[MOE_Q5_1 - MOE_N_DTYPES] = widen_q5_1, [MOE_Q8_0 - MOE_N_DTYPES] = widen_q8_0, [MOE_Q2_K - MOE_N_DTYPES] = widen_q2_k,
		[MOE_Q3_K - MOE_N_DTYPES] = widen_q3_k, [MOE_Q4_K - MOE_N_DTYPES] = widen_q4_k, [MOE_Q5_K - MOE_N_DTYPES] = widen_q5_k,
		[MOE_Q6_K - MOE_N_DTYPES] = widen_q6_k, [MOE_IQ4_NL - MOE_N_DTYPES] = widen_iq4_nl, [MOE_IQ4_XS - MOE_N_DTYPES] = widen_iq4_xs,
		[MOE_MXFP4 - MOE_N_DTYPES] = widen_mxfp4,
	};
	const uint8_t *b = from;
	size_t elements, nbytes;

	if (t < MOE_N_DTYPES || t >= MOE_N_TYPES)
		return false;
	elements = moe_dtype_block(t);
	nbytes = moe_dtype_nbytes(t, elements);
	for (size_t i = 0; i < n; i += elements, b += nbytes)
		widen[t - MOE_N_DTYPES](to + i, b);
	return true;
}
