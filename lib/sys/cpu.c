#include "sys/cpu.h"

#include <stdatomic.h>
#include <stdbool.h>
#if defined __x86_64__
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
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

/* Leaf 7: AMX is bits 22 (BF16), 24 (tiles) and 25 (bytes) of edx. Linux grants the use of tiles for the asking (arch/x86/xstate in its manual); the
 * process keeps the grant, threads included. */
static bool may_use_amx(void)
{
	enum { ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18, BITS = 1 << 22 | 1 << 24 | 1 << 25 };
	unsigned a, b, c, d;

	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & BITS) == BITS && !syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA);
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
	if ((flags & MOE_CPU_AVX512) && (leaf7_1() & 1 << 5))
		flags |= MOE_CPU_BF16;
	if ((flags & MOE_CPU_VNNI) && may_use_amx())
		flags |= MOE_CPU_AMX;
#endif
	return flags & allowed;
}
