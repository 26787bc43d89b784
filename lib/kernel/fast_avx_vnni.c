/* AVX2 and AVX-VNNI. */
#if defined __x86_64__
#define MOE_V_AVX2
#define MOE_F_DOT
#define F_VARIANT moe_fast_avx_vnni
#define F_NAME "avx-vnni"
#include "kernel/fast_impl.h"
#endif
