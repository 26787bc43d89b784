/* AVX-512: a vector is one register. */
#if defined __x86_64__
#define MOE_V_AVX512
#define VARIANT moe_kernels_avx512
#define VARIANT_NAME "avx512"
#include "kernel/variant_impl.h"
#endif
