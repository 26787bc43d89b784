/* Packed weights: what the arithmetic `fast` reads in place of a matrix's own rows (moe_mat.packed). Made once when a model is loaded, or mapped
 * from a file: the same bytes on every CPU, little-endian, aligned to 64 bytes.
 *
 * 16 rows (outputs) are a group; the last is padded with rows of zeros. Groups follow each other, each a multiple of 64 bytes: its scales, then
 * its weights, block of 32 inputs by block. One load of 64 bytes holds 4 neighbouring inputs of the 16 outputs, [16][4] bytes, a step; a block is
 * 8 steps. Codes of fewer than 8 bits lie in planes:
 *   nibbles [4][64]: byte j of load i holds step i in its low and step i + 4 in its high half;
 *   two bits [2][64]: step i + 2j in bits 2j and 2j + 1 of load i;
 *   one bit [64]: step j in bit j;
 * and a code is nibble + 16 · bit (Q5), nibble + 16 · two (Q6_K), two (Q2_K), two + 4 · bit (Q3_K). Q8_0's byte is its value + 128. Codes mean
 * what they mean in GGML's blocks; so do scales: a weight is scale · (code - bias), or scale · code + least, or scale · table[code]. Per group:
 *   Q8_0, Q4_0, Q5_0, IQ4_NL, MXFP4: [blocks][16] scales, F16, BF16 for MXFP4 (half of the block's power of two: table of doubled values);
 *   I8: like Q8_0, with scales of 1; the scales of its rows stay where they are (moe_mat.scale);
 *   Q4_1, Q5_1: [blocks][2][16] scales and leasts, F16;
 *   Q4_K, Q5_K: per 8 blocks F16 d [16], F16 dmin [16], bytes scale [8][16], bytes least [8][16];
 *   Q2_K: per 8 blocks F16 d [16], F16 dmin [16], bytes scale + 16 · least [16][16], for 16 inputs each;
 *   Q6_K, Q3_K: per 8 blocks F16 d [16], signed bytes [16][16], for 16 inputs each;
 *   IQ4_XS: per 8 blocks F16 d [16], signed bytes [8][16];
 * rounded up to 64 bytes. BF16: no scales, [blocks][16][16][2], pairs of inputs, subnormal weights as zeros; the last block is
 * padded with zeros. */
#ifndef MOE_KERNEL_PACK_H
#define MOE_KERNEL_PACK_H

#include <stddef.h>

#include "kernel/kernel.h"

/* Raised when any of this changes: files of packed weights (model/packfile.h) have it. */
enum { MOE_PACK_VERSION = 1 };

enum { MOE_PACK_ROWS = 16, MOE_MOST_PACKED = 32768 };  /* outputs of a group; most inputs */

/* Bytes of the packed form of w, a multiple of 64; 0: it has none (its type, F8, or too many inputs, or an odd number of them), or they overflow. */
size_t moe_pack_nbytes(const struct moe_mat *w);

/* Packs rows [row0, row1) of w, whole groups (row0 a multiple of 16, row1 too or w->rows), to their place in `to`, which is aligned to 64 and begins
 * with row 0. Threads may share a matrix out so. */
void moe_pack(void *to, const struct moe_mat *w, size_t row0, size_t row1);

#endif
