/* CPU features that kernels are chosen by, with a mask for tests and for reproducing another machine. */
#ifndef MOE_SYS_CPU_H
#define MOE_SYS_CPU_H

enum moe_cpu {
	MOE_CPU_AVX2 = 1,       /* AVX2, FMA and F16C */
	MOE_CPU_AVX512 = 2,     /* AVX-512 F, BW, DQ, VL */
	MOE_CPU_AVX_VNNI = 4,   /* dot products of bytes in 256 bits */
	MOE_CPU_VNNI = 8,       /* and in 512 bits */
	MOE_CPU_BF16 = 16,      /* AVX-512 BF16 */
	MOE_CPU_AMX = 32,       /* AMX with its products of bytes and of BF16, which the system lets this process use */
};

/* Features of this CPU that are also in the mask. */
unsigned moe_cpu_flags(void);

/* Allows only the features in `mask`. To be called before the first kernel runs (kernels choose once) or by tests that rebuild the table. */
void moe_cpu_mask(unsigned mask);

#endif
