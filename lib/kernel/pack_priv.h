/* Sizes and kinds of the packed forms. */
#ifndef MOE_KERNEL_PACK_PRIV_H
#define MOE_KERNEL_PACK_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "kernel/pack.h"

enum { BLOCK = 32, SUPER = 8, STEPS = 8, STEP_NBYTES = 64 };    /* inputs of a block, blocks of a super-block, steps of a block, bytes of a step */
enum { BLOCK_NBYTES = STEPS * STEP_NBYTES };                    /* of a block of 16 outputs, a byte each */

/* Where the bits of a code lie. */
enum planes { PLANE_BYTES, PLANE_NIBBLES, PLANE_NIBBLES_1, PLANE_NIBBLES_2, PLANE_2, PLANE_2_1, PLANE_TABLE };

/* How scales are stored. */
enum scales { SCALE_F16, SCALE_BF16, SCALE_F16_LEAST, SCALE_K_LEAST, SCALE_K16_LEAST, SCALE_K16, SCALE_K };

/* How many scales a block has, and whether it has leasts: what the sums look like. */
enum sums { SUMS_1, SUMS_1_LEAST, SUMS_2, SUMS_2_LEAST };

struct packing {
	bool known;
	enum planes planes;
	enum scales scales;
	enum sums sums;
	uint8_t bias;                   /* to a code, so that it becomes its value + 128 */
	const uint8_t *table;           /* [16] values + 128 of the codes, or NULL */
};

const struct packing *moe_packing(enum moe_dtype t);

static inline size_t block_nbytes(const struct packing *p)
{
	static const uint16_t planes[] = {512, 256, 320, 384, 128, 192, 256};

	return planes[p->planes];
}

/* Bytes of the scales of a group of so many blocks. */
static inline size_t scales_nbytes(const struct packing *p, size_t blocks)
{
	static const uint16_t per_super[] = {8 * 32, 8 * 32, 8 * 64, 64 + 256, 64 + 256, 32 + 256, 32 + 128};

	return (blocks * per_super[p->scales] / SUPER + 63) / 64 * 64;
}

static inline size_t group_nbytes(const struct packing *p, size_t cols)
{
	return scales_nbytes(p, cols / BLOCK) + cols / BLOCK * block_nbytes(p);
}

/* BF16: blocks of 32 inputs, the last one padded. */
enum { BF16_BLOCK_NBYTES = BLOCK / 2 * STEP_NBYTES };

static inline size_t bf16_blocks(size_t cols) { return (cols + BLOCK - 1) / BLOCK; }

/* Bytes of a packed group of 16 outputs of w, which has a packed form. */
size_t moe_packed_group_nbytes(const struct moe_mat *w);

#endif
