/* Bursts of one instruction on SUMS independent sums, more than any CPU has in flight, so that its rate is what is measured and not its latency. */
#include "bench/peaks.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#if defined __x86_64__
#include <immintrin.h>
#endif

#include "kernel/tiles.h"
#include "sys/clock.h"
#include "sys/cpu.h"

enum { SUMS = 12, TILES = 6, STREAMS = 4, STEPS = 200000, ROUNDS = 9, CHUNKS = 4, PIECE = 4 << 20, HUGE_PAGE = 2 << 20 };

#define UNROLL _Pragma("GCC unroll 12")

/* The compiler must believe that a value is changed, or used, here, and lies in a register. */
#define KEEP(s) __asm__ volatile("" : "+v"(s))

static void f32_c(size_t steps)
{
	float s[64] = {0};

	for (size_t i = 0; i < steps; i++) {
		for (size_t j = 0; j < 64; j++)
			s[j] = s[j] * 0.5f + 1.0f;
		__asm__ volatile("" : : "r"(s) : "memory");
	}
}

static void int8_c(size_t steps)
{
	int32_t s[64] = {0};
	int8_t q[64];

	memset(q, (int)steps, sizeof q);
	for (size_t i = 0; i < steps; i++) {
		for (size_t j = 0; j < 64; j++)
			s[j] += q[j] * q[j];
		__asm__ volatile("" : : "r"(s), "r"(q) : "memory");
	}
}

/* Memory is read as STREAMS neighbouring parts at once, from which a CPU fetches more than from one. */
static void read_c(const void *from, size_t nbytes)
{
	const uint64_t *p = from;
	size_t n = nbytes / STREAMS / sizeof *p;
	uint64_t s[STREAMS] = {0};

	for (size_t i = 0; i < n; i += 8)
		for (size_t j = 0; j < STREAMS; j++)
			for (size_t k = 0; k < 8; k++)
				s[j] ^= p[j * n + i + k];
	__asm__ volatile("" : : "r"(s) : "memory");
}

#if defined __x86_64__
#define AVX2 __attribute__((target("avx2,fma")))
#define AVX_VNNI __attribute__((target("avx2,avxvnni")))
#define AVX512 __attribute__((target("avx512f,avx512bw")))
#define VNNI __attribute__((target("avx512f,avx512vnni")))
#define BF16 __attribute__((target("avx512f,avx512bf16")))

/* name(steps): `steps` times, SUMS sums of a type become each a step of itself (s), of a and b. */
#define BURST(TARGET, name, type, zero, value_a, value_b, step) \
	TARGET static void name(size_t steps) \
	{ \
		type sum[SUMS], a = value_a, b = value_b; \
		UNROLL for (int j = 0; j < SUMS; j++) \
			sum[j] = zero; \
		for (size_t i = 0; i < steps; i++) { \
			UNROLL for (int j = 0; j < SUMS; j++) { \
				type s = sum[j]; \
				KEEP(a); \
				s = step; \
				KEEP(s); \
				sum[j] = s; \
			} \
		} \
	}

BURST(AVX2, f32_avx2, __m256, _mm256_setzero_ps(), _mm256_set1_ps(0.5f), _mm256_set1_ps(1.0f), _mm256_fmadd_ps(s, a, b))
BURST(AVX512, f32_avx512, __m512, _mm512_setzero_ps(), _mm512_set1_ps(0.5f), _mm512_set1_ps(1.0f), _mm512_fmadd_ps(s, a, b))
BURST(BF16, bf16_avx512, __m512, _mm512_setzero_ps(), _mm512_set1_ps(0.5f), _mm512_set1_ps(1.0f), _mm512_dpbf16_ps(s, (__m512bh)a, (__m512bh)b))
BURST(AVX2, int8_avx2, __m256i, _mm256_setzero_si256(), _mm256_set1_epi16(3), _mm256_set1_epi16(5), _mm256_add_epi32(s, _mm256_madd_epi16(a, b)))
BURST(AVX512, int8_avx512, __m512i, _mm512_setzero_si512(), _mm512_set1_epi16(3), _mm512_set1_epi16(5), _mm512_add_epi32(s, _mm512_madd_epi16(a, b)))
BURST(AVX_VNNI, int8_avx_vnni, __m256i, _mm256_setzero_si256(), _mm256_set1_epi8(3), _mm256_set1_epi8(5), _mm256_dpbusd_avx_epi32(s, a, b))
BURST(VNNI, int8_vnni, __m512i, _mm512_setzero_si512(), _mm512_set1_epi8(3), _mm512_set1_epi8(5), _mm512_dpbusd_epi32(s, a, b))

/* Tiles 0 to 5 are sums, 6 and 7 operands, all of 16 rows of 64 bytes. */
static const struct tile_config tiles = {.palette = 1, .row_nbytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

#define TILE_SUMS(product) \
	__asm__ volatile(product " %tmm7, %tmm6, %tmm0\n" product " %tmm7, %tmm6, %tmm1\n" product " %tmm7, %tmm6, %tmm2\n" \
			 product " %tmm7, %tmm6, %tmm3\n" product " %tmm7, %tmm6, %tmm4\n" product " %tmm7, %tmm6, %tmm5")

/* ldtilecfg makes all tiles zero. */
static void int8_amx(size_t steps)
{
	TILE_CONFIG(tiles);
	for (size_t i = 0; i < steps; i++)
		TILE_SUMS("tdpbusd");
	TILE_RELEASE();
}

static void bf16_amx(size_t steps)
{
	TILE_CONFIG(tiles);
	for (size_t i = 0; i < steps; i++)
		TILE_SUMS("tdpbf16ps");
	TILE_RELEASE();
}

AVX2 static void read_avx2(const void *from, size_t nbytes)
{
	const __m256i *p = from;
	size_t n = nbytes / STREAMS / sizeof *p;
	__m256i s[STREAMS] = {_mm256_setzero_si256()};

	for (size_t i = 0; i < n; i += 2)
		UNROLL for (size_t j = 0; j < STREAMS; j++)
			s[j] = _mm256_xor_si256(s[j], _mm256_xor_si256(_mm256_load_si256(p + j * n + i), _mm256_load_si256(p + j * n + i + 1)));
	UNROLL for (int j = 0; j < STREAMS; j++)
		KEEP(s[j]);
}

AVX512 static void read_avx512(const void *from, size_t nbytes)
{
	const __m512i *p = from;
	size_t n = nbytes / STREAMS / sizeof *p;
	__m512i s[STREAMS] = {_mm512_setzero_si512()};

	for (size_t i = 0; i < n; i++)
		UNROLL for (size_t j = 0; j < STREAMS; j++)
			s[j] = _mm512_xor_si512(s[j], _mm512_load_si512(p + j * n + i));
	UNROLL for (int j = 0; j < STREAMS; j++)
		KEEP(s[j]);
}
#endif

/* One way to reach a peak: the features that it needs, and the operations of one step. */
struct burst {
	const char *name;
	unsigned needs;
	double ops;
	void (*run)(size_t steps);
};

static const struct burst f32[] = {
	{"c", 0, 128, f32_c},
#if defined __x86_64__
	{"vfmadd, 256 bits", MOE_CPU_AVX2, SUMS * 16, f32_avx2}, {"vfmadd, 512 bits", MOE_CPU_AVX512, SUMS * 32, f32_avx512},
#endif
	{0},
}, int8[] = {
	{"c", 0, 128, int8_c},
#if defined __x86_64__
	{"vpmaddwd, 256 bits", MOE_CPU_AVX2, SUMS * 32, int8_avx2}, {"vpmaddwd, 512 bits", MOE_CPU_AVX512, SUMS * 64, int8_avx512},
	{"vpdpbusd, 256 bits", MOE_CPU_AVX_VNNI, SUMS * 64, int8_avx_vnni}, {"vpdpbusd, 512 bits", MOE_CPU_VNNI, SUMS * 128, int8_vnni},
#endif
	{0},
}, int8_tiles[] = {
#if defined __x86_64__
	{"tdpbusd", MOE_CPU_AMX, TILES * 32768, int8_amx},
#endif
	{0},
}, bf16[] = {
#if defined __x86_64__
	{"vdpbf16ps, 512 bits", MOE_CPU_BF16, SUMS * 64, bf16_avx512}, {"tdpbf16ps", MOE_CPU_AMX, TILES * 16384, bf16_amx},
#endif
	{0},
};

struct burning {
	void (*run)(size_t steps);
	size_t steps;
};

static void burn(void *arg, size_t chunk)
{
	const struct burning *b = arg;

	(void)chunk;
	b->run(b->steps);
}

/* The best rate of a burst. Plain C takes fewer steps, which last longer. */
static double burst_rate(const struct burst *b, struct moe_pool *pool)
{
	struct burning job = {b->run, b->needs ? STEPS : STEPS / 10};
	size_t chunks = (size_t)CHUNKS * moe_pool_threads(pool);
	double best = 0, ops = b->ops * (double)job.steps * (double)chunks;

	for (int i = 0; i < ROUNDS; i++) {
		double start = moe_clock(), seconds;
		moe_pool_run(pool, ops, chunks, burn, &job);
		seconds = moe_clock() - start;
		if (ops > best * seconds)
			best = ops / seconds;
	}
	return best;
}

/* Keeps the burst where it is the best so far. */
static void try_burst(struct moe_peaks *p, enum moe_peak which, const struct burst *b, struct moe_pool *pool)
{
	double rate = (moe_cpu_flags() & b->needs) == b->needs ? burst_rate(b, pool) : 0;

	if (rate <= p->rate[which])
		return;
	p->rate[which] = rate;
	p->how[which] = b->name;
}

static void measure_arithmetic(struct moe_peaks *p, struct moe_pool *pool)
{
	for (const struct burst *b = f32; b->run; b++)
		try_burst(p, MOE_PEAK_F32, b, pool);
	for (const struct burst *b = int8; b->run; b++)
		try_burst(p, MOE_PEAK_INT8, b, pool);
	for (const struct burst *b = int8_tiles; b->run; b++)
		try_burst(p, MOE_PEAK_TILES, b, pool);
	p->rate[MOE_PEAK_BF16] = p->rate[MOE_PEAK_F32];
	p->how[MOE_PEAK_BF16] = p->how[MOE_PEAK_F32];
	for (const struct burst *b = bf16; b->run; b++)
		try_burst(p, MOE_PEAK_BF16, b, pool);
}

/* Reading: a piece of the memory is a chunk of work. */
struct reading {
	const char *from;
	void (*read)(const void *from, size_t nbytes);
};

static void read_piece(void *arg, size_t i)
{
	const struct reading *r = arg;

	r->read(r->from + i * PIECE, PIECE);
}

static void fill_piece(void *arg, size_t i)
{
	const struct reading *r = arg;

	memset((char *)(uintptr_t)r->from + i * PIECE, (int)i, PIECE);
}

static void choose_reader(struct reading *r, const char **how)
{
	r->read = read_c;
	*how = "c";
#if defined __x86_64__
	if (moe_cpu_flags() & MOE_CPU_AVX2) {
		r->read = read_avx2;
		*how = "256 bits";
	}
	if (moe_cpu_flags() & MOE_CPU_AVX512) {
		r->read = read_avx512;
		*how = "512 bits";
	}
#endif
}

static enum moe_err measure_reading(struct moe_peaks *p, struct moe_pool *pool, struct moe_diag *d)
{
	size_t n = MOE_PEAK_NBYTES + HUGE_PAGE;
	void *map = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct reading r = {0};

	if (map == MAP_FAILED)
		return moe_fail(d, MOE_ENOMEM, "out of memory for %zu MB to read from", n >> 20);
	r.from = (char *)map + (HUGE_PAGE - (uintptr_t)map % HUGE_PAGE) % HUGE_PAGE;
	madvise(map, n, MADV_HUGEPAGE);
	choose_reader(&r, &p->how[MOE_PEAK_READ]);
	moe_pool_run(pool, MOE_PEAK_NBYTES, MOE_PEAK_NBYTES / PIECE, fill_piece, &r);
	for (int i = 0; i < ROUNDS; i++) {
		double start = moe_clock(), seconds;
		moe_pool_run(pool, MOE_PEAK_NBYTES, MOE_PEAK_NBYTES / PIECE, read_piece, &r);
		seconds = moe_clock() - start;
		if (MOE_PEAK_NBYTES > p->rate[MOE_PEAK_READ] * seconds)
			p->rate[MOE_PEAK_READ] = MOE_PEAK_NBYTES / seconds;
	}
	munmap(map, n);
	return MOE_OK;
}

const char *moe_peak_name(enum moe_peak p)
{
	static const char *const names[MOE_N_PEAKS] = {"f32", "bf16", "int8", "tiles", "read"};

	return names[p];
}

enum moe_err moe_peaks_measure(struct moe_peaks *out, struct moe_pool *pool, struct moe_diag *d)
{
	*out = (struct moe_peaks){0};
	measure_arithmetic(out, pool);
	return measure_reading(out, pool, d);
}
