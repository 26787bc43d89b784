/* Chooses the variants of products and operand makers. */
#include "kernel/gemm.h"

#include <stdatomic.h>

#include "kernel/gemm_priv.h"
#include "kernel/kernel_priv.h"
#include "sys/cpu.h"

_Thread_local _Alignas(64) char moe_gemm_scratch[MOE_GEMM_SCRATCH];

/* Each is chosen by whoever needs it first. */
static const struct moe_gemm_variant *_Atomic products[2];
static const struct moe_operand_variant *_Atomic operands;

void moe_gemm_select(void)
{
	const struct moe_gemm_variant *f32 = &moe_gemm_f32_c, *bf16 = &moe_gemm_bf16_c;
	const struct moe_operand_variant *o = &moe_operand_c;

#if defined __x86_64__
	unsigned flags = moe_cpu_flags();

	if (flags & MOE_CPU_AVX2) {
		f32 = &moe_gemm_f32_avx2;
		bf16 = &moe_gemm_bf16_avx2;
		o = &moe_operand_avx2;
	}
	if (flags & MOE_CPU_AVX512) {
		f32 = &moe_gemm_f32_avx512;
		bf16 = &moe_gemm_bf16_avx512;
		o = &moe_operand_avx512;
	}
	if (flags & MOE_CPU_BF16)
		bf16 = &moe_gemm_bf16_dot;
	if (flags & MOE_CPU_AMX)
		bf16 = &moe_gemm_bf16_tiles;
#endif
	atomic_store_explicit(&products[MOE_UNIT_F32], f32, memory_order_relaxed);
	atomic_store_explicit(&products[MOE_UNIT_BF16], bf16, memory_order_relaxed);
	atomic_store_explicit(&operands, o, memory_order_relaxed);
}

static const struct moe_gemm_variant *product(enum moe_unit unit)
{
	if (!atomic_load_explicit(&products[unit], memory_order_relaxed))
		moe_gemm_select();
	return atomic_load_explicit(&products[unit], memory_order_relaxed);
}

static const struct moe_operand_variant *operand(void)
{
	if (!atomic_load_explicit(&operands, memory_order_relaxed))
		moe_gemm_select();
	return atomic_load_explicit(&operands, memory_order_relaxed);
}

const char *moe_gemm_name(enum moe_unit unit) { return product(unit)->name; }

void moe_gemm_run(enum moe_unit unit, const struct moe_gemm *g)
{
	if (g->m && g->n)
		product(unit)->run(g);
}

void moe_operand_rows(enum moe_unit u, void *to, size_t ld_numbers, const float *x, size_t ldx, size_t rows, size_t cols)
{
	const struct moe_gemm_variant *v = product(u);
	size_t nbytes = u == MOE_UNIT_BF16 ? 2 : 4;

	for (size_t i = 0; i < rows; i++)
		v->round((char *)to + nbytes * i * ld_numbers, x + i * ldx, cols);
}

const void *moe_operand_along_rows(enum moe_unit u, void *scratch, const void *x, size_t ld_numbers, size_t rows, size_t cols, size_t *step)
{
	const struct moe_operand_variant *o = operand();
	const char *from = x;

	*step = u == MOE_UNIT_BF16 ? cols : ld_numbers;
	if (u == MOE_UNIT_F32)
		return x;
	for (size_t i = 0; i < rows; i += 2)
		o->pair((char *)scratch + 2 * i * cols, from + 2 * i * ld_numbers, i + 1 < rows ? from + 2 * (i + 1) * ld_numbers : NULL, cols);
	return scratch;
}

void moe_operand_columns(enum moe_unit u, void *to, size_t ld_units, const void *x, size_t ld_numbers, size_t rows, size_t cols)
{
	if (u == MOE_UNIT_BF16)
		operand()->turn(to, ld_units, x, ld_numbers / 2, rows, (cols + 1) / 2);
	else
		operand()->turn(to, ld_units, x, ld_numbers, rows, cols);
}
