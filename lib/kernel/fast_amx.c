/* AMX: for many rows, beside AVX-512 with VNNI. */
#if defined __x86_64__
#define MOE_V_AVX512
#define MOE_F_DOT
#define MOE_F_TILES
#define F_VARIANT moe_fast_amx
#define F_NAME "amx"
#include "kernel/fast_impl.h"
#endif
