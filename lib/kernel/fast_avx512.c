/* AVX-512 without dot products of bytes. */
#if defined __x86_64__
#define MOE_V_AVX512
#define F_VARIANT moe_fast_avx512
#define F_NAME "avx512"
#include "kernel/fast_impl.h"
#endif
