#include "image/compose.h"

#include <string.h>

/* Pillow computes with 7 more bits and divides by 255 with shifts: (s·a + b·(255 - a)) · 128, plus a half, times 1/255, rounded down. */
static uint8_t blend(unsigned s, unsigned b, unsigned a)
{
	unsigned t = ((s * a + b * (255 - a)) << 7) + (128 << 7);

	return (uint8_t)((((t >> 8) + t) >> 8) >> 7);
}

static void from_grey(uint8_t *out, const uint8_t *in, size_t n, unsigned step)
{
	for (size_t i = 0; i < n; i++)
		out[3 * i] = out[3 * i + 1] = out[3 * i + 2] = in[step * i];
}

static void over(uint8_t *out, const uint8_t *in, size_t n, unsigned n_channels, const uint8_t *background)
{
	for (size_t i = 0; i < n; i++, in += n_channels, out += 3) {
		unsigned a = in[n_channels - 1];
		for (unsigned c = 0; c < 3; c++)
			out[c] = blend(in[n_channels == 4 ? c : 0], background[c], a);
	}
}

void moe_compose_rgb(uint8_t *out, const uint8_t *in, size_t n, unsigned n_channels, const uint8_t *background)
{
	if (n_channels == 3)
		memcpy(out, in, 3 * n);
	else if (n_channels == 1 || (n_channels == 2 && !background))
		from_grey(out, in, n, n_channels);
	else if (background)
		over(out, in, n, n_channels, background);
	else
		for (size_t i = 0; i < n; i++)
			memcpy(out + 3 * i, in + 4 * i, 3);
}

/* EXIF 2.3, tag 274: where the first stored row and column are seen. For each orientation: is the output transposed, and does its x
 * (its y) run against the axis of the input that it follows? */
static const struct { uint8_t transposed, x_back, y_back; } turns[9] = {
	[2] = {0, 1, 0}, [3] = {0, 1, 1}, [4] = {0, 0, 1}, [5] = {1, 0, 0}, [6] = {1, 1, 0}, [7] = {1, 1, 1}, [8] = {1, 0, 1},
};

void moe_compose_upright(uint8_t *out, const uint8_t *in, uint32_t w, uint32_t h, unsigned orientation)
{
	int transposed = turns[orientation].transposed;
	uint32_t W = transposed ? h : w, H = transposed ? w : h;
	ptrdiff_t dx = transposed ? (ptrdiff_t)w : 1, dy = transposed ? 1 : (ptrdiff_t)w;
	ptrdiff_t x0 = turns[orientation].x_back ? (ptrdiff_t)(W - 1) * dx : 0, y0 = turns[orientation].y_back ? (ptrdiff_t)(H - 1) * dy : 0;

	if (turns[orientation].x_back)
		dx = -dx;
	if (turns[orientation].y_back)
		dy = -dy;
	for (uint32_t y = 0; y < H; y++) {
		const uint8_t *s = in + 3 * (x0 + y0 + (ptrdiff_t)y * dy);
		for (uint32_t x = 0; x < W; x++, s += 3 * dx, out += 3)
			memcpy(out, s, 3);
	}
}
