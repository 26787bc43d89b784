#include "sys/cpu.h"

#include <stdatomic.h>
#include <stdbool.h>
#if defined __x86_64__
#include <cpuid.h>
#endif

static _Atomic unsigned allowed = ~0u;

void moe_cpu_mask(unsigned mask) { allowed = mask; }

#if defined __x86_64__
/* Not among the names that clang's __builtin_cpu_supports takes. */
static bool has_f16c(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

unsigned moe_cpu_flags(void)
{
	unsigned flags = 0;

#if defined __x86_64__
	__builtin_cpu_init();   /* cpuid, and what the operating system saves (xgetbv) */
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c())
		flags |= MOE_CPU_AVX2;
	if (flags && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
	    __builtin_cpu_supports("avx512vl"))
		flags |= MOE_CPU_AVX512;
#endif
	return flags & allowed;
}
