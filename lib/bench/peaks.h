/* What the machine could do at most: rates of arithmetic between registers, and of reading memory, on all threads of a pool. */
#ifndef MOE_BENCH_PEAKS_H
#define MOE_BENCH_PEAKS_H

#include "base/err.h"
#include "sys/pool.h"

enum moe_peak { MOE_PEAK_F32, MOE_PEAK_BF16, MOE_PEAK_INT8, MOE_PEAK_TILES, MOE_PEAK_READ, MOE_N_PEAKS };

/* The best of several bursts, with the quickest of the instructions that this CPU has and moe_cpu_mask allows. */
struct moe_peaks {
	double rate[MOE_N_PEAKS];       /* operations/s, a multiplication and an addition being two; of READ: bytes/s */
	const char *how[MOE_N_PEAKS];   /* the instruction */
};

const char *moe_peak_name(enum moe_peak p);

enum { MOE_PEAK_NBYTES = 512 << 20 };   /* memory that is read */

/* f32: multiply and add; bf16: dot products, where these are quicker than widening to f32; int8: dot products of bytes, or of 16-bit numbers; tiles: products
 * of bytes with the tiles of AMX, 0 where there are none; read: MOE_PEAK_NBYTES of memory, in large pages where there are any. Takes about a second. */
enum moe_err moe_peaks_measure(struct moe_peaks *out, struct moe_pool *pool, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
