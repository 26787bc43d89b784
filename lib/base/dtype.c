#include "base/dtype.h"

#include <math.h>

#include "base/blocks.h"

#define TYPE(name) {name, sizeof(name) - 1}

static const struct { const char *name; size_t name_nbytes; } types[MOE_N_TYPES] = {
	[MOE_BOOL] = TYPE("BOOL"), [MOE_F4] = TYPE("F4"), [MOE_F6_E2M3] = TYPE("F6_E2M3"), [MOE_F6_E3M2] = TYPE("F6_E3M2"),
	[MOE_U8] = TYPE("U8"), [MOE_I8] = TYPE("I8"), [MOE_F8_E5M2] = TYPE("F8_E5M2"), [MOE_F8_E4M3] = TYPE("F8_E4M3"),
	[MOE_F8_E8M0] = TYPE("F8_E8M0"), [MOE_F8_E4M3FNUZ] = TYPE("F8_E4M3FNUZ"), [MOE_F8_E5M2FNUZ] = TYPE("F8_E5M2FNUZ"),
	[MOE_I16] = TYPE("I16"), [MOE_U16] = TYPE("U16"), [MOE_F16] = TYPE("F16"), [MOE_BF16] = TYPE("BF16"),
	[MOE_I32] = TYPE("I32"), [MOE_U32] = TYPE("U32"), [MOE_F32] = TYPE("F32"), [MOE_C64] = TYPE("C64"),
	[MOE_F64] = TYPE("F64"), [MOE_I64] = TYPE("I64"), [MOE_U64] = TYPE("U64"),
	[MOE_Q4_0] = TYPE("Q4_0"), [MOE_Q4_1] = TYPE("Q4_1"), [MOE_Q5_0] = TYPE("Q5_0"), [MOE_Q5_1] = TYPE("Q5_1"), [MOE_Q8_0] = TYPE("Q8_0"),
	[MOE_Q2_K] = TYPE("Q2_K"), [MOE_Q3_K] = TYPE("Q3_K"), [MOE_Q4_K] = TYPE("Q4_K"), [MOE_Q5_K] = TYPE("Q5_K"), [MOE_Q6_K] = TYPE("Q6_K"),
	[MOE_IQ4_NL] = TYPE("IQ4_NL"), [MOE_IQ4_XS] = TYPE("IQ4_XS"), [MOE_MXFP4] = TYPE("MXFP4"),
};

/* Elements and bytes of a block. */
static const struct { uint16_t elements, nbytes; } blocks[MOE_N_TYPES - MOE_N_DTYPES] = {
	[MOE_Q4_0 - MOE_N_DTYPES] = {32, 18}, [MOE_Q4_1 - MOE_N_DTYPES] = {32, 20}, [MOE_Q5_0 - MOE_N_DTYPES] = {32, 22}, [MOE_Q5_1 - MOE_N_DTYPES] = {32, 24},
	[MOE_Q8_0 - MOE_N_DTYPES] = {32, 34}, [MOE_Q2_K - MOE_N_DTYPES] = {256, 84}, [MOE_Q3_K - MOE_N_DTYPES] = {256, 110},
	[MOE_Q4_K - MOE_N_DTYPES] = {256, 144}, [MOE_Q5_K - MOE_N_DTYPES] = {256, 176}, [MOE_Q6_K - MOE_N_DTYPES] = {256, 210},
	[MOE_IQ4_NL - MOE_N_DTYPES] = {32, 18}, [MOE_IQ4_XS - MOE_N_DTYPES] = {256, 136}, [MOE_MXFP4 - MOE_N_DTYPES] = {32, 17},
};

const uint8_t moe_dtype_bits[MOE_N_DTYPES] = {
	[MOE_BOOL] = 8, [MOE_F4] = 4, [MOE_F6_E2M3] = 6, [MOE_F6_E3M2] = 6, [MOE_U8] = 8, [MOE_I8] = 8, [MOE_F8_E5M2] = 8,
	[MOE_F8_E4M3] = 8, [MOE_F8_E8M0] = 8, [MOE_F8_E4M3FNUZ] = 8, [MOE_F8_E5M2FNUZ] = 8, [MOE_I16] = 16, [MOE_U16] = 16,
	[MOE_F16] = 16, [MOE_BF16] = 16, [MOE_I32] = 32, [MOE_U32] = 32, [MOE_F32] = 32, [MOE_C64] = 64, [MOE_F64] = 64, [MOE_I64] = 64,
	[MOE_U64] = 64,
};

const char *moe_dtype_name(enum moe_dtype t) { return types[t].name; }

size_t moe_dtype_block(enum moe_dtype t) { return t < MOE_N_DTYPES ? 1 : blocks[t - MOE_N_DTYPES].elements; }

size_t moe_dtype_nbytes(enum moe_dtype t, size_t n)
{
	return t < MOE_N_DTYPES ? n * moe_dtype_bits[t] / 8 : n / blocks[t - MOE_N_DTYPES].elements * blocks[t - MOE_N_DTYPES].nbytes;
}

enum moe_dtype moe_dtype_find(const char *name, size_t n)
{
	for (int t = 0; t < MOE_N_DTYPES; t++)
		if (types[t].name_nbytes == n && !memcmp(types[t].name, name, n))
			return (enum moe_dtype)t;
	return MOE_N_DTYPES;
}

float moe_f32_from_f16(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 0x3ff, u;
	float f;

	if (exponent == 31) {
		u = sign | 0x7f800000 | fraction << 13;
	} else if (exponent) {
		u = sign | (exponent + 112) << 23 | fraction << 13;
	} else {                /* zero or subnormal: fraction × 2^-24 is exact */
		f = (float)fraction * 0x1p-24f;
		return sign ? -f : f;
	}
	memcpy(&f, &u, sizeof f);
	return f;
}

uint16_t moe_f16_from_f32(float f)
{
	uint32_t u, sign, rest;
	float scaled;

	memcpy(&u, &f, sizeof u);
	sign = u >> 16 & 0x8000;
	u &= 0x7fffffff;
	if (u > 0x7f800000)
		return (uint16_t)(sign | 0x7e00 | (u >> 13 & 0x3ff));
	if (u >= 0x477ff000)            /* from 65520 on */
		return (uint16_t)(sign | 0x7c00);
	if (u < 0x38800000) {           /* below 2^-14: whole numbers of 2^-24, to which adding 1.5 · 2^23 · 2^-24 rounds */
		memcpy(&scaled, &u, sizeof scaled);
		scaled += 0.75f;
		memcpy(&rest, &scaled, sizeof rest);
		return (uint16_t)(sign | (rest - 0x3f400000));
	}
	u += 0xfff + (u >> 13 & 1);
	return (uint16_t)(sign | ((u >> 13) - (112 << 10)));
}

uint16_t moe_bf16_from_f32(float f)
{
	uint32_t u;

	memcpy(&u, &f, sizeof u);
	if ((u & 0x7fffffff) > 0x7f800000)
		return (uint16_t)(u >> 16 | 0x40);
	return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

int moe_widen(float *to, const void *from, size_t n, enum moe_dtype t)
{
	const uint8_t *p = from;
	uint16_t h;
	double d;

	switch (t) {
	case MOE_F32:
		memcpy(to, p, n * 4);
		return 1;
	case MOE_BF16:
		for (size_t i = 0; i < n; i++) {
			memcpy(&h, p + 2 * i, 2);
			to[i] = moe_f32_from_bf16(h);
		}
		return 1;
	case MOE_F16:
		for (size_t i = 0; i < n; i++) {
			memcpy(&h, p + 2 * i, 2);
			to[i] = moe_f32_from_f16(h);
		}
		return 1;
	case MOE_F64:
		for (size_t i = 0; i < n; i++) {
			memcpy(&d, p + 8 * i, 8);
			to[i] = (float)d;
		}
		return 1;
	default:
		return t >= MOE_N_DTYPES && moe_blocks_widen(to, from, n, t);
	}
}

bool moe_dtype_is_whole(enum moe_dtype t)
{
	return t == MOE_U8 || t == MOE_I8 || t == MOE_I16 || t == MOE_U16 || t == MOE_I32 || t == MOE_U32 || t == MOE_I64 || t == MOE_U64;
}

int64_t moe_whole(const void *from, enum moe_dtype t)
{
	union { uint8_t u8; int8_t i8; int16_t i16; uint16_t u16; int32_t i32; uint32_t u32; int64_t i64; uint64_t u64; } v;

	memcpy(&v, from, moe_dtype_nbits(t) / 8);
	switch (t) {
	case MOE_U8: return v.u8;
	case MOE_I8: return v.i8;
	case MOE_I16: return v.i16;
	case MOE_U16: return v.u16;
	case MOE_I32: return v.i32;
	case MOE_U32: return v.u32;
	case MOE_I64: return v.i64;
	default: return v.u64 > INT64_MAX ? INT64_MAX : (int64_t)v.u64;
	}
}

int moe_narrow(void *to, const float *from, size_t n, enum moe_dtype t)
{
	uint8_t *p = to;

	if (t == MOE_F32) {
		memcpy(p, from, n * 4);
		return 1;
	}
	if (t != MOE_F16 && t != MOE_BF16)
		return t >= MOE_N_DTYPES && moe_blocks_quantise(to, from, n, t);
	for (size_t i = 0; i < n; i++) {
		uint16_t h = t == MOE_F16 ? moe_f16_from_f32(from[i]) : moe_bf16_from_f32(from[i]);
		memcpy(p + 2 * i, &h, 2);
	}
	return 1;
}

/* Eight values of one exponent: sign · (8 + f) · 2^(e - 10), and f · 2^-9 for e = 0. */
#define EIGHT(u) 8 * (u), 9 * (u), 10 * (u), 11 * (u), 12 * (u), 13 * (u), 14 * (u), 15 * (u)
#define HALF(s) \
	s * 0.0f, s * 0x1p-9f, s * 0x1p-8f, s * 0x3p-9f, s * 0x1p-7f, s * 0x5p-9f, s * 0x3p-8f, s * 0x7p-9f, \
	EIGHT(s * 0x1p-9f), EIGHT(s * 0x1p-8f), EIGHT(s * 0x1p-7f), EIGHT(s * 0x1p-6f), EIGHT(s * 0x1p-5f), EIGHT(s * 0x1p-4f), EIGHT(s * 0x1p-3f), \
	EIGHT(s * 0x1p-2f), EIGHT(s * 0x1p-1f), EIGHT(s * 1.0f), EIGHT(s * 2.0f), EIGHT(s * 4.0f), EIGHT(s * 8.0f), EIGHT(s * 16.0f), \
	s * 256.0f, s * 288.0f, s * 320.0f, s * 352.0f, s * 384.0f, s * 416.0f, s * 448.0f, NAN

const float moe_f32_from_f8[256] = {HALF(1), HALF(-1)};
