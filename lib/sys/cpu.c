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

/* Leaf 7, subleaf 1: AVX-VNNI is bit 4 and AVX-512 BF16 bit 5 of eax (Intel SDM, volume 2, CPUID). */
static unsigned leaf7_1(void)
{
	unsigned a = 0, b, c, d;

	return __get_cpuid_count(7, 1, &a, &b, &c, &d) ? a : 0;
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
	if (flags && (leaf7_1() & 1 << 4))
		flags |= MOE_CPU_AVX_VNNI;
	if ((flags & MOE_CPU_AVX512) && __builtin_cpu_supports("avx512vnni"))
		flags |= MOE_CPU_VNNI;
	if ((flags & MOE_CPU_AVX512) && (leaf7_1() & 1 << 5) && !__builtin_cpu_is("intel"))
		flags |= MOE_CPU_BF16;
#endif
	return flags & allowed;
}
