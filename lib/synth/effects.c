#include "synth/effects.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "synth/jpeg.h"

enum { MAX_RADIUS = 32 };

static uint8_t to_byte(double v) { return v <= 0 ? 0 : v >= 255 ? 255 : (uint8_t)(v + 0.5); }

/* ---- blur ---- */

/* Weights of 0 .. radius pixels away, of which the sum over both sides is 1; returns the radius. */
static int weights_of(double sigma, float weight[MAX_RADIUS + 1])
{
	int radius = (int)ceil(2.5 * sigma);
	double sum = 0;

	radius = radius > MAX_RADIUS ? MAX_RADIUS : radius;
	for (int i = 0; i <= radius; i++) {
		weight[i] = (float)exp(-0.5 * i * i / (sigma * sigma));
		sum += i ? 2 * (double)weight[i] : (double)weight[i];
	}
	for (int i = 0; i <= radius; i++)
		weight[i] /= (float)sum;
	return radius;
}

static size_t clamp(ptrdiff_t at, size_t n) { return at < 0 ? 0 : (size_t)at >= n ? n - 1 : (size_t)at; }

/* One direction: n pixels that are `step` bytes apart, as lines that are `line` bytes apart. Beyond the edge the last pixel goes on. */
static void blur_lines(uint8_t *to, const uint8_t *from, size_t n, size_t step, size_t lines, size_t line, const float *weight, int radius)
{
	for (size_t l = 0; l < lines; l++)
		for (size_t i = 0; i < n; i++)
			for (size_t c = 0; c < 3; c++) {
				const uint8_t *p = from + l * line + c;
				float sum = weight[0] * p[i * step];
				for (int k = 1; k <= radius; k++)
					sum += weight[k] * (float)(p[clamp((ptrdiff_t)i - k, n) * step] + p[clamp((ptrdiff_t)i + k, n) * step]);
				to[l * line + i * step + c] = to_byte((double)sum);
			}
}

void moe_effect_blur(struct moe_synth_sample *p, double sigma)
{
	size_t w = p->width, h = p->height;
	float weight[MAX_RADIUS + 1];
	struct moe_arena_mark mark = moe_arena_mark(p->arena);
	uint8_t *half = sigma > 0.05 ? moe_arena_get(p->arena, w * h, 3) : NULL;
	int radius;

	if (!half)
		return;
	radius = weights_of(sigma, weight);
	blur_lines(half, p->rgb, w, 3, h, 3 * w, weight, radius);
	blur_lines(p->rgb, half, h, 3 * w, w, 3, weight, radius);
	moe_arena_release(p->arena, mark);
}

/* ---- noise ---- */

/* Four sums of four random bytes: near enough to normal (within 3.4 deviations), at a quarter of the price. Unit variance. */
static void four_normals(struct moe_draw *r, float out[4])
{
	uint32_t word[4], counter[4] = {(uint32_t)r->index, (uint32_t)(r->index >> 32), (uint32_t)r->stream, (uint32_t)(r->stream >> 32)};

	r->index++;
	moe_philox(counter, (const uint32_t[2]){(uint32_t)r->seed, (uint32_t)(r->seed >> 32)}, word);
	for (int i = 0; i < 4; i++) {
		int sum = (int)(word[i] & 255) + (int)(word[i] >> 8 & 255) + (int)(word[i] >> 16 & 255) + (int)(word[i] >> 24);
		out[i] = (float)(sum - 510) * (1 / 147.8f);
	}
}

void moe_effect_noise(struct moe_synth_sample *p, struct moe_draw *r, double deviation, bool grey)
{
	size_t n = (size_t)p->width * p->height * (grey ? 1 : 3), each = grey ? 3 : 1;
	float normal[4];

	for (size_t i = 0; i < n; i++) {
		if (i % 4 == 0)
			four_normals(r, normal);
		for (size_t c = 0; c < each; c++)
			p->rgb[i * each + c] = to_byte((double)p->rgb[i * each + c] + deviation * (double)normal[i % 4]);
	}
}

void moe_effect_slope(struct moe_synth_sample *p, double x, double y, const double tint[3])
{
	for (size_t j = 0; j < p->height; j++)
		for (size_t i = 0; i < p->width; i++) {
			double v = x * (2.0 * ((double)i + 0.5) / p->width - 1) + y * (2.0 * ((double)j + 0.5) / p->height - 1);
			uint8_t *at = p->rgb + 3 * (j * p->width + i);
			for (size_t c = 0; c < 3; c++)
				at[c] = to_byte(at[c] + v * tint[c]);
		}
}

enum moe_err moe_effect_jpeg(struct moe_synth_sample *p, int quality, struct moe_diag *d)
{
	return moe_jpeg_round_trip(p->rgb, p->width, p->height, quality, d);
}
