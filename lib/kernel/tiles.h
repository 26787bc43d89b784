/* The tiles of AMX (Intel SDM, volume 1, chapter 18), by inline assembly, which keeps loads and stores in order and works with every target. */
#ifndef MOE_KERNEL_TILES_H
#define MOE_KERNEL_TILES_H

#include <stdint.h>

struct tile_config {
	uint8_t palette, start, zero[14];
	uint16_t row_nbytes[16];
	uint8_t rows[16];
};

#define TILE_CONFIG(config) __asm__ volatile("ldtilecfg %0" : : "m"(config))
#define TILE_RELEASE() __asm__ volatile("tilerelease")
#define TILE_LOAD(t, from, row) __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t : : "r"(from), "r"((long)(row)) : "memory")
#define TILE_STORE(t, to, row) __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" : : "r"(to), "r"((long)(row)) : "memory")
#define TILE_ZERO(t) __asm__ volatile("tilezero %tmm" #t)

#endif
