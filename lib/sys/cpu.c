#include "sys/cpu.h"

#include <stdatomic.h>

static _Atomic unsigned allowed = ~0u;

void moe_cpu_mask(unsigned mask) { allowed = mask; }

unsigned moe_cpu_flags(void)
{
	unsigned flags = 0;

#if defined __x86_64__
	__builtin_cpu_init();   /* cpuid, and what the operating system saves (xgetbv) */
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		flags |= MOE_CPU_AVX2;
	if (flags && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
	    __builtin_cpu_supports("avx512vl"))
		flags |= MOE_CPU_AVX512;
#endif
	return flags & allowed;
}
