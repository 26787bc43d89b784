/* Element types: those of safetensors, under its names, and the block types of GGUF (blocks.h), under the names that GGML gives them. */
#ifndef MOE_BASE_DTYPE_H
#define MOE_BASE_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum moe_dtype {
	MOE_BOOL, MOE_F4, MOE_F6_E2M3, MOE_F6_E3M2, MOE_U8, MOE_I8, MOE_F8_E5M2, MOE_F8_E4M3, MOE_F8_E8M0, MOE_F8_E4M3FNUZ,
	MOE_F8_E5M2FNUZ, MOE_I16, MOE_U16, MOE_F16, MOE_BF16, MOE_I32, MOE_U32, MOE_F32, MOE_C64, MOE_F64, MOE_I64, MOE_U64,
	MOE_N_DTYPES,           /* types of safetensors */
	MOE_Q4_0 = MOE_N_DTYPES, MOE_Q4_1, MOE_Q5_0, MOE_Q5_1, MOE_Q8_0, MOE_Q2_K, MOE_Q3_K, MOE_Q4_K, MOE_Q5_K, MOE_Q6_K, MOE_IQ4_NL, MOE_IQ4_XS,
	MOE_MXFP4,
	MOE_N_TYPES,
};

extern const uint8_t moe_dtype_bits[MOE_N_DTYPES];

const char *moe_dtype_name(enum moe_dtype t);
static inline unsigned moe_dtype_nbits(enum moe_dtype t) { return moe_dtype_bits[t]; }

/* Elements of a block (1: no block type), and the bytes of n elements, whole blocks and whole bytes of them. */
size_t moe_dtype_block(enum moe_dtype t);
size_t moe_dtype_nbytes(enum moe_dtype t, size_t n);

/* The type of safetensors of that name (n bytes, not terminated), or MOE_N_DTYPES. */
enum moe_dtype moe_dtype_find(const char *name, size_t n);

/* Is it a type of whole numbers (U8 to I64)? Then the number at `from`, which may be unaligned; what U64 has beyond INT64_MAX becomes that. */
bool moe_dtype_is_whole(enum moe_dtype t);
int64_t moe_whole(const void *from, enum moe_dtype t);

static inline float moe_f32_from_bf16(uint16_t h)
{
	uint32_t u = (uint32_t)h << 16;
	float f;

	memcpy(&f, &u, sizeof f);
	return f;
}

/* IEEE binary16 to binary32, exact for every input. */
float moe_f32_from_f16(uint16_t h);

/* binary32 to binary16 and to bfloat16, to the nearest, of two equally near ones to the even; what is too large becomes infinite, a NaN stays one. */
uint16_t moe_f16_from_f32(float f);
uint16_t moe_bf16_from_f32(float f);

/* The value of each F8_E4M3 byte: sign, 4 bits of exponent with bias 7, 3 of fraction; S.1111.111 is NaN, and there is no infinity (OCP 8-bit
 * floating point specification, section 5). */
extern const float moe_f32_from_f8[256];

/* Widens n elements of a float type (F32, F16, BF16, F64) or of a block type (n whole blocks) to f32; false for other types. `from` may be
 * unaligned. */
int moe_widen(float *to, const void *from, size_t n, enum moe_dtype t);

/* The other way: rounds n values to F32, F16 or BF16, or to a block type that moe_blocks_quantise has; false for other types. */
int moe_narrow(void *to, const float *from, size_t n, enum moe_dtype t);

#endif
