/* AVX2 without dot products of bytes. */
#if defined __x86_64__
#define MOE_V_AVX2
#define F_VARIANT moe_fast_avx2
#define F_NAME "avx2"
#include "kernel/fast_impl.h"
#endif
