/* From GGML's blocks (ggml/src/ggml-common.h) to the packed form: row by row and block by block, the codes are taken apart and put into planes. */
#include "kernel/pack.h"

#include <string.h>

#include "base/check.h"
#include "kernel/pack_priv.h"

/* Values + 128 of the codes of the types with a table (kvalues_iq4nl and kvalues_mxfp4 of ggml-common.h). */
static const uint8_t iq4_table[16] = {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};
static const uint8_t mxfp4_table[16] = {128, 129, 130, 131, 132, 134, 136, 140, 128, 127, 126, 125, 124, 122, 120, 116};

static const struct packing packings[MOE_N_TYPES] = {
	[MOE_Q8_0] = {true, PLANE_BYTES, SCALE_F16, SUMS_1, 0, NULL}, [MOE_Q4_0] = {true, PLANE_NIBBLES, SCALE_F16, SUMS_1, 120, NULL},
	[MOE_Q4_1] = {true, PLANE_NIBBLES, SCALE_F16_LEAST, SUMS_1_LEAST, 128, NULL}, [MOE_Q5_0] = {true, PLANE_NIBBLES_1, SCALE_F16, SUMS_1, 112, NULL},
	[MOE_Q5_1] = {true, PLANE_NIBBLES_1, SCALE_F16_LEAST, SUMS_1_LEAST, 128, NULL}, [MOE_Q2_K] = {true, PLANE_2, SCALE_K16_LEAST, SUMS_2_LEAST, 128, NULL},
	[MOE_Q3_K] = {true, PLANE_2_1, SCALE_K16, SUMS_2, 124, NULL}, [MOE_Q4_K] = {true, PLANE_NIBBLES, SCALE_K_LEAST, SUMS_1_LEAST, 128, NULL},
	[MOE_Q5_K] = {true, PLANE_NIBBLES_1, SCALE_K_LEAST, SUMS_1_LEAST, 128, NULL}, [MOE_Q6_K] = {true, PLANE_NIBBLES_2, SCALE_K16, SUMS_2, 96, NULL},
	[MOE_IQ4_NL] = {true, PLANE_TABLE, SCALE_F16, SUMS_1, 0, iq4_table}, [MOE_IQ4_XS] = {true, PLANE_TABLE, SCALE_K, SUMS_1, 0, iq4_table},
	[MOE_MXFP4] = {true, PLANE_TABLE, SCALE_BF16, SUMS_1, 0, mxfp4_table}, [MOE_I8] = {true, PLANE_BYTES, SCALE_F16, SUMS_1, 0, NULL},
};

const struct packing *moe_packing(enum moe_dtype t) { return t < MOE_N_TYPES && packings[t].known ? &packings[t] : NULL; }

/* A row's block of 32, taken apart, with the scales of its 16 inputs each or the first for all. A super-block's d and dmin are in each of its blocks. */
struct codes {
	uint8_t code[BLOCK];
	uint16_t d, least;              /* F16 or BF16 */
	uint8_t scale[2], least_code[2];
};

static uint16_t half_at(const uint8_t *p)
{
	uint16_t h;

	memcpy(&h, p, 2);
	return h;
}

/* Element i in the low half of byte i, i + 16 in its high half. */
static void split_nibbles(uint8_t *code, const uint8_t *q)
{
	for (int i = 0; i < 16; i++) {
		code[i] = q[i] & 15;
		code[i + 16] = q[i] >> 4;
	}
}

static void add_bits(uint8_t *code, const uint8_t *q)
{
	for (int i = 0; i < BLOCK; i++)
		code[i] |= (uint8_t)((q[i / 8] >> i % 8 & 1) << 4);
}

/* Scale and least of block b of Q4_K and Q5_K: 6 bits each in 12 bytes. */
static void read_six_bits(struct codes *c, const uint8_t *s, size_t b)
{
	if (b < 4) {
		c->scale[0] = s[b] & 63;
		c->least_code[0] = s[b + 4] & 63;
	} else {
		c->scale[0] = (uint8_t)((s[b + 4] & 15) | s[b - 4] >> 6 << 4);
		c->least_code[0] = (uint8_t)(s[b + 4] >> 4 | s[b] >> 6 << 4);
	}
}

/* The scale of a row of I8 comes when the sums are complete. */
static void read_int8(struct codes *c, const uint8_t *p)
{
	c->d = 0x3c00;
	for (size_t i = 0; i < BLOCK; i++)
		c->code[i] = p[i] ^ 0x80;
}

static void read_q4_k(struct codes *c, const uint8_t *p, size_t b)
{
	c->d = half_at(p);
	c->least = half_at(p + 2);
	read_six_bits(c, p + 4, b);
	for (size_t i = 0; i < BLOCK; i++)
		c->code[i] = p[16 + b / 2 * 32 + i] >> b % 2 * 4 & 15;
}

static void read_q5_k(struct codes *c, const uint8_t *p, size_t b)
{
	c->d = half_at(p);
	c->least = half_at(p + 2);
	read_six_bits(c, p + 4, b);
	for (size_t i = 0; i < BLOCK; i++)
		c->code[i] = (uint8_t)((p[48 + b / 2 * 32 + i] >> b % 2 * 4 & 15) | (p[16 + i] >> b & 1) << 4);
}

static void read_q6_k(struct codes *c, const uint8_t *p, size_t b)
{
	const uint8_t *low = p + b / 4 * 64 + b % 2 * 32, *high = p + 128 + b / 4 * 32;

	for (size_t i = 0; i < BLOCK; i++)
		c->code[i] = (uint8_t)((low[i] >> b % 4 / 2 * 4 & 15) | (high[i] >> b % 4 * 2 & 3) << 4);
	memcpy(c->scale, p + 192 + 2 * b, 2);
	c->d = half_at(p + 208);
}

static void read_q2_k(struct codes *c, const uint8_t *p, size_t b)
{
	for (size_t i = 0; i < BLOCK; i++)
		c->code[i] = p[16 + b / 4 * 32 + i] >> b % 4 * 2 & 3;
	memcpy(c->scale, p + 2 * b, 2);
	c->d = half_at(p + 80);
	c->least = half_at(p + 82);
}

static void read_q3_k(struct codes *c, const uint8_t *p, size_t b)
{
	const uint8_t *s = p + 96;

	for (size_t i = 0; i < BLOCK; i++)
		c->code[i] = (uint8_t)((p[32 + b / 4 * 32 + i] >> b % 4 * 2 & 3) | (p[i] >> b & 1) << 2);
	for (size_t h = 0; h < 2; h++) {
		size_t i = 2 * b + h;
		c->scale[h] = (uint8_t)(((i < 8 ? s[i] & 15 : s[i - 8] >> 4) | (s[8 + i % 4] >> i / 4 * 2 & 3) << 4) - 32);
	}
	c->d = half_at(p + 108);
}

static void read_iq4_xs(struct codes *c, const uint8_t *p, size_t b)
{
	c->d = half_at(p);
	c->scale[0] = (uint8_t)(((p[4 + b / 2] >> b % 2 * 4 & 15) | (half_at(p + 2) >> 2 * b & 3) << 4) - 32);
	split_nibbles(c->code, p + 8 + 16 * b);
}

/* A block of an own scale, whose bytes these are. */
static void read_small(struct codes *c, const uint8_t *p, enum moe_dtype t)
{
	size_t at = t == MOE_Q4_1 || t == MOE_Q5_1 ? 4 : t == MOE_MXFP4 ? 1 : 2;

	if (t == MOE_MXFP4) {
		c->d = (uint16_t)(p[0] < 2 ? 0x20 << p[0] : (p[0] - 1) << 7);   /* 2^(e - 128) */
	} else {
		c->d = half_at(p);
		c->least = half_at(p + 2);
	}
	if (t == MOE_Q8_0) {
		for (size_t i = 0; i < BLOCK; i++)
			c->code[i] = p[at + i] ^ 0x80;
	} else if (t == MOE_Q5_0 || t == MOE_Q5_1) {
		split_nibbles(c->code, p + at + 4);
		add_bits(c->code, p + at);
	} else {
		split_nibbles(c->code, p + at);
	}
}

static void read_codes(struct codes *c, const struct moe_mat *w, size_t row, size_t b)
{
	size_t of = w->type == MOE_I8 ? BLOCK : moe_dtype_block(w->type), per = of / BLOCK;
	const uint8_t *p = (const uint8_t *)w->data + moe_dtype_nbytes(w->type, row * w->stride + b / per * of);

	switch (w->type) {
	case MOE_I8: read_int8(c, p); break;
	case MOE_Q4_K: read_q4_k(c, p, b % SUPER); break;
	case MOE_Q5_K: read_q5_k(c, p, b % SUPER); break;
	case MOE_Q6_K: read_q6_k(c, p, b % SUPER); break;
	case MOE_Q2_K: read_q2_k(c, p, b % SUPER); break;
	case MOE_Q3_K: read_q3_k(c, p, b % SUPER); break;
	case MOE_IQ4_XS: read_iq4_xs(c, p, b % SUPER); break;
	default: read_small(c, p, w->type);
	}
}

/* The planes of row j's block; `to` was zeroed. */
static void write_planes(uint8_t *to, const struct codes *c, size_t j, enum planes planes)
{
	uint8_t *more = to + (planes == PLANE_2 || planes == PLANE_2_1 ? 0 : 4 * STEP_NBYTES), *last = to + 2 * STEP_NBYTES;

	for (size_t i = 0; i < BLOCK; i++) {
		size_t step = i / 4, at = 4 * j + i % 4;
		uint8_t code = c->code[i];
		if (planes == PLANE_BYTES)
			to[step * STEP_NBYTES + at] = code;
		else if (planes != PLANE_2 && planes != PLANE_2_1)
			to[step % 4 * STEP_NBYTES + at] |= (uint8_t)((code & 15) << step / 4 * 4);
		if (planes == PLANE_NIBBLES_1)
			more[at] |= (uint8_t)((code >> 4) << step);
		else if (planes == PLANE_NIBBLES_2 || planes == PLANE_2 || planes == PLANE_2_1)
			more[step % 2 * STEP_NBYTES + at] |= (uint8_t)((planes == PLANE_NIBBLES_2 ? code >> 4 : code & 3) << step / 2 * 2);
		if (planes == PLANE_2_1)
			last[at] |= (uint8_t)((code >> 2) << step);
	}
}

static void put_half(uint8_t *to, size_t at, uint16_t h) { memcpy(to + 2 * at, &h, 2); }

/* Row j's scales of block b. */
static void write_scales(uint8_t *to, const struct codes *c, size_t j, size_t b, enum scales scales)
{
	static const uint16_t per_super[] = {0, 0, 0, 64 + 256, 64 + 256, 32 + 256, 32 + 128};
	uint8_t *super = to + b / SUPER * per_super[scales];
	bool least = scales == SCALE_K_LEAST || scales == SCALE_K16_LEAST;

	switch (scales) {
	case SCALE_F16:
	case SCALE_BF16:
		put_half(to, b * 16 + j, c->d);
		return;
	case SCALE_F16_LEAST:
		put_half(to, b * 32 + j, c->d);
		put_half(to, b * 32 + 16 + j, c->least);
		return;
	default:
		put_half(super, j, c->d);
		if (least)
			put_half(super, 16 + j, c->least);
	}
	super += least ? 64 : 32;
	b %= SUPER;
	if (scales == SCALE_K_LEAST || scales == SCALE_K) {
		super[b * 16 + j] = c->scale[0];
		if (least)
			super[128 + b * 16 + j] = c->least_code[0];
	} else {
		super[2 * b * 16 + j] = c->scale[0];
		super[(2 * b + 1) * 16 + j] = c->scale[1];
	}
}

static void pack_group(uint8_t *to, const struct moe_mat *w, const struct packing *p, size_t row, size_t rows)
{
	size_t blocks = w->cols / BLOCK, size = block_nbytes(p), head = scales_nbytes(p, blocks);
	struct codes c;

	memset(to, 0, group_nbytes(p, w->cols));
	for (size_t b = 0; b < blocks; b++)
		for (size_t j = 0; j < rows; j++) {
			read_codes(&c, w, row + j, b);
			write_scales(to, &c, j, b, p->scales);
			write_planes(to + head + b * size, &c, j, p->planes);
		}
}

/* Weights of inputs [i0, i1) of an output: n is its number in the group. */
static void pack_bf16_run(uint8_t *to, const uint8_t *from, size_t step, size_t n, size_t i0, size_t i1)
{
	for (size_t i = i0; i < i1; i++) {
		uint16_t h = half_at(from + 2 * i * step);
		put_half(to, i / 2 * 32 + 2 * n + i % 2, h & 0x7f80 ? h : h & 0x8000);
	}
}

/* By blocks of inputs, so that weights whose inputs lie apart are read line by line, too. */
static void pack_bf16_group(uint8_t *to, const struct moe_mat *w, size_t row, size_t rows)
{
	size_t step = w->step > 1 ? w->step : 1;

	memset(to, 0, bf16_blocks(w->cols) * BF16_BLOCK_NBYTES);
	for (size_t i = 0; i < w->cols; i += BLOCK)
		for (size_t j = 0; j < rows; j++)
			pack_bf16_run(to, (const uint8_t *)w->data + 2 * (row + j) * w->stride, step, j, i, moe_min(i + BLOCK, w->cols));
}

size_t moe_packed_group_nbytes(const struct moe_mat *w)
{
	const struct packing *p = moe_packing(w->type);

	if ((w->scale && w->type != MOE_I8) || (p && (w->step > 1 || w->cols % BLOCK)) || w->cols > MOE_MOST_PACKED)
		return 0;
	return p ? group_nbytes(p, w->cols) : w->type == MOE_BF16 ? bf16_blocks(w->cols) * BF16_BLOCK_NBYTES : 0;
}

size_t moe_pack_nbytes(const struct moe_mat *w)
{
	uint64_t n;

	return moe_checked_mul(w->rows / MOE_PACK_ROWS + (w->rows % MOE_PACK_ROWS != 0), moe_packed_group_nbytes(w), &n) ? (size_t)n : 0;
}

void moe_pack(void *to, const struct moe_mat *w, size_t row0, size_t row1)
{
	const struct packing *p = moe_packing(w->type);
	size_t size = moe_packed_group_nbytes(w);

	for (size_t row = row0; row < row1; row += MOE_PACK_ROWS) {
		uint8_t *group = (uint8_t *)to + row / MOE_PACK_ROWS * size;
		size_t n = moe_min(MOE_PACK_ROWS, row1 - row);
		if (p)
			pack_group(group, w, p, row, n);
		else
			pack_bf16_group(group, w, row, n);
	}
}
