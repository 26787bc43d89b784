/* AVX-512; bf16 with f32 instructions. */
#if defined __x86_64__
#define MOE_V_AVX512
#define VARIANT(unit) moe_gemm_##unit##_avx512
#define VARIANT_NAME "avx512"
#define OPERANDS moe_operand_avx512
#include "kernel/gemm_impl.h"
#endif
