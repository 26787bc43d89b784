/* AVX-512 with VNNI. */
#if defined __x86_64__
#define MOE_V_AVX512
#define MOE_F_DOT
#define F_VARIANT moe_fast_vnni
#define F_NAME "vnni"
#include "kernel/fast_impl.h"
#endif
