#include "nn/rope.h"

#include <math.h>

#include "kernel/kernel.h"

static const double turn = 6.283185307179586477;

static double llama3(double f, const struct moe_rope_settings *s)
{
	double wave = turn / f, mix;

	if (wave > s->original / s->low)
		return f / s->factor;
	if (wave < s->original / s->high)
		return f;
	mix = (s->original / wave - s->low) / (s->high - s->low);
	return (1 - mix) * f / s->factor + mix * f;
}

/* The pair that turns `turns` times in the original context, of n pairs. */
static double pair_of(double turns, size_t n, const struct moe_rope_settings *s)
{
	return (double)n * moe_log(s->original / (turns * turn)) / moe_log(s->theta);
}

static double yarn(double f, size_t i, size_t n, const struct moe_rope_settings *s)
{
	double low = fmax(floor(pair_of(s->beta_fast, n, s)), 0), high = fmin(ceil(pair_of(s->beta_slow, n, s)), 2 * (double)n - 1);
	double ramp = ((double)i - low) / (low == high ? 0.001 : high - low);

	ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
	return f / s->factor * ramp + f * (1 - ramp);
}

float moe_rope_frequencies(float *frequency, size_t n, const struct moe_rope_settings *s)
{
	for (size_t i = 0; i < n; i++) {
		double f = moe_pow(s->theta, -(double)i / (double)n);
		switch (s->scaling) {
		case MOE_ROPE_LINEAR: f /= s->factor; break;
		case MOE_ROPE_LLAMA3: f = llama3(f, s); break;
		case MOE_ROPE_YARN: f = yarn(f, i, n, s); break;
		default: break;
		}
		frequency[i] = (float)f;
	}
	if (s->scaling != MOE_ROPE_YARN)
		return 1;
	return (float)(s->attention_factor > 0 ? s->attention_factor : s->factor > 1 ? 0.1 * moe_log(s->factor) + 1 : 1);
}

void moe_rope_table(float *cosine, float *sine, const int32_t *position, size_t rows, size_t pairs, const struct moe_rope_settings *s, float *frequency)
{
	size_t axes = (size_t)s->axes, n = pairs / axes;
	float scale = moe_rope_frequencies(frequency, n, s);

	for (size_t i = 0; i < n; i++)
		for (size_t a = 0; a < axes; a++)
			for (size_t r = 0; r < rows; r++) {
				size_t at = r * pairs + a * n + i;
				moe_sin_cos(frequency[i] * (float)position[a * rows + r], &sine[at], &cosine[at]);
				if (scale != 1) {
					sine[at] *= scale;
					cosine[at] *= scale;
				}
			}
}

void moe_rope_turn(float *x, size_t heads, size_t dim, size_t pairs, const float *cosine, const float *sine, const struct moe_rope_settings *s)
{
	if (s->pairs == MOE_ROPE_HALF) {
		moe_rope(x, heads, dim, pairs, cosine, sine);
		return;
	}
	for (size_t h = 0; h < heads; h++, x += dim)
		for (size_t i = 0; i < pairs; i++) {
			float a = x[2 * i], b = x[2 * i + 1];
			x[2 * i] = fmaf(a, cosine[i], -(b * sine[i]));
			x[2 * i + 1] = fmaf(a, sine[i], b * cosine[i]);
		}
}
