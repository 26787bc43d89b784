/* AVX2 and FMA. */
#if defined __x86_64__
#define MOE_V_AVX2
#define VARIANT(unit) moe_gemm_##unit##_avx2
#define VARIANT_NAME "avx2"
#define OPERANDS moe_operand_avx2
#include "kernel/gemm_impl.h"
#endif
