/* AVX2, FMA and F16C: a vector is two registers. */
#if defined __x86_64__
#define MOE_V_AVX2
#define VARIANT moe_kernels_avx2
#define VARIANT_NAME "avx2"
#include "kernel/variant_impl.h"
#endif
