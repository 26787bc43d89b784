/* Variants of products and of operand makers. */
#ifndef MOE_KERNEL_GEMM_PRIV_H
#define MOE_KERNEL_GEMM_PRIV_H

#include "kernel/gemm.h"

/* Panels and blocks of operands, of the thread whose product it is. */
enum { MOE_GEMM_SCRATCH = 128 << 10 };
extern _Thread_local _Alignas(64) char moe_gemm_scratch[MOE_GEMM_SCRATCH];

struct moe_gemm_variant {
	const char *name;
	void (*run)(const struct moe_gemm *g);
	/* n floats to units: copied, or rounded to bf16 with a zero behind an odd n. */
	void (*round)(void *to, const float *x, size_t n);
};

struct moe_operand_variant {
	/* n units of the bf16 numbers of two rows; `high` NULL: zeros. */
	void (*pair)(void *to, const void *low, const void *high, size_t n);
	/* Units [rows][ldx] to [cols][ld]. */
	void (*turn)(void *to, size_t ld, const void *x, size_t ldx, size_t rows, size_t cols);
};

extern const struct moe_gemm_variant moe_gemm_f32_c, moe_gemm_bf16_c;
extern const struct moe_operand_variant moe_operand_c;
#if defined __x86_64__
extern const struct moe_gemm_variant moe_gemm_f32_avx2, moe_gemm_f32_avx512, moe_gemm_bf16_avx2, moe_gemm_bf16_avx512, moe_gemm_bf16_dot, moe_gemm_bf16_tiles;
extern const struct moe_operand_variant moe_operand_avx2, moe_operand_avx512;

/* By the conversion of AVX-512 BF16. */
void moe_gemm_round_row(void *to, const float *x, size_t n);
#endif

#endif
