#include "base/blocks.h"

/* d · q[i], q of 8 bits. */
static void widen_q8_0(float *to, const uint8_t *b)
{
	uint16_t h;
	float d;

	memcpy(&h, b, 2);
	d = moe_f32_from_f16(h);
	for (int i = 0; i < 32; i++)
		to[i] = d * (float)(int8_t)b[2 + i];
}

bool moe_blocks_widen(float *to, const void *from, size_t n, enum moe_dtype t)
{
	const uint8_t *b = from;
	void (*widen)(float *to, const uint8_t *block);
	size_t elements, nbytes;

	switch (t) {
	case MOE_Q8_0: widen = widen_q8_0; break;
	default: return false;
	}
	elements = moe_dtype_block(t);
	nbytes = moe_dtype_nbytes(t, elements);
	for (size_t i = 0; i < n; i += elements, b += nbytes)
		widen(to + i, b);
	return true;
}
