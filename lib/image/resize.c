#include "image/resize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

enum { BITS = 22, CHANNELS = 3, MAX_SIDE = 65535 };

static double bicubic(double x)
{
	const double a = -0.5;

	x = fabs(x);
	if (x < 1)
		return ((a + 2) * x - (a + 3)) * x * x + 1;
	return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

static double bilinear(double x)
{
	x = fabs(x);
	return x < 1 ? 1 - x : 0;
}

static double sinc(double x)
{
	x *= M_PI;
	return x == 0 ? 1 : sin(x) / x;
}

static double lanczos(double x) { return -3 <= x && x < 3 ? sinc(x) * sinc(x / 3) : 0; }

static double box(double x) { return -0.5 < x && x <= 0.5 ? 1 : 0; }

static const struct { const char *name; double (*weight)(double); double reach; } filters[MOE_N_FILTERS] = {
	[MOE_BICUBIC] = {"bicubic", bicubic, 2},
	[MOE_BILINEAR] = {"bilinear", bilinear, 1},
	[MOE_LANCZOS] = {"lanczos", lanczos, 3},
	[MOE_BOX] = {"box", box, 0.5},
};

enum moe_filter moe_filter_find(const char *name)
{
	for (int i = 0; i < MOE_N_FILTERS; i++)
		if (!strcmp(name, filters[i].name))
			return (enum moe_filter)i;
	return MOE_N_FILTERS;
}

/* One pass from m to n samples: output i is the sum of n_taps[i] inputs from first[i] on, weighted by q[i * max_taps ...]. */
struct pass {
	uint32_t *first, *n_taps;
	int32_t *q;
	size_t max_taps;
};

static void pass_free(struct pass *p)
{
	free(p->first);
	free(p->n_taps);
	free(p->q);
}

static void weigh(int32_t *q, double *k, uint32_t n, double from, double inverse, double (*weight)(double))
{
	double sum = 0;

	for (uint32_t j = 0; j < n; j++)
		sum += k[j] = weight((j + from) * inverse);
	for (uint32_t j = 0; j < n; j++) {
		double v = sum != 0 ? k[j] / sum : k[j];
		q[j] = (int32_t)(v * (1 << BITS) + (v < 0 ? -0.5 : 0.5));
	}
}

/* The windows and weights of Pillow's precompute_coeffs; its order of operations, since the last bit counts. */
static enum moe_err pass_init(struct pass *p, uint32_t m, uint32_t n, enum moe_filter filter, struct moe_diag *d)
{
	double scale = (double)m / n, f = scale < 1 ? 1 : scale, reach = filters[filter].reach * f, *k;

	p->max_taps = (size_t)ceil(reach) * 2 + 1;
	p->first = moe_calloc(n, sizeof *p->first);
	p->n_taps = moe_calloc(n, sizeof *p->n_taps);
	p->q = moe_calloc((size_t)n * p->max_taps, sizeof *p->q);
	k = moe_calloc(p->max_taps, sizeof *k);
	if (!p->first || !p->n_taps || !p->q || !k) {
		free(k);
		return moe_fail(d, MOE_ENOMEM, "out of memory for resizing");
	}
	for (uint32_t i = 0; i < n; i++) {
		double c = (i + 0.5) * scale, lo = c - reach + 0.5, hi = c + reach + 0.5;
		uint32_t a = lo < 0 ? 0 : (uint32_t)lo, b = hi > m ? m : (uint32_t)hi;
		p->first[i] = a;
		p->n_taps[i] = b - a;
		weigh(p->q + i * p->max_taps, k, b - a, a - c + 0.5, 1 / f, filters[filter].weight);
	}
	free(k);
	return MOE_OK;
}

/* The sum fits: the weights' absolute values add up to less than 2 in units of 2^22, and 2 · 2^22 · 255 < 2^31. */
static inline uint8_t round_off(int32_t sum)
{
	sum >>= BITS;
	return sum < 0 ? 0 : sum > 255 ? 255 : (uint8_t)sum;
}

/* One row of m pixels to one of n. */
static void resize_row(uint8_t *restrict out, const uint8_t *restrict in, uint32_t n, const struct pass *p)
{
	for (uint32_t i = 0; i < n; i++, out += CHANNELS) {
		const int32_t *q = p->q + i * p->max_taps;
		const uint8_t *s = in + (size_t)p->first[i] * CHANNELS;
		int32_t r = 1 << (BITS - 1), g = r, b = r;
		for (uint32_t j = 0, taps = p->n_taps[i]; j < taps; j++, s += CHANNELS) {
			r += q[j] * s[0];
			g += q[j] * s[1];
			b += q[j] * s[2];
		}
		out[0] = round_off(r);
		out[1] = round_off(g);
		out[2] = round_off(b);
	}
}

/* One row of the output from n_taps rows of n bytes; by blocks whose sums stay in the nearest cache, so that gcc can use vectors. */
static void resize_column(uint8_t *restrict out, const uint8_t *restrict in, size_t stride, size_t n, const int32_t *q, uint32_t n_taps)
{
	enum { BLOCK = 384 };
	int32_t sum[BLOCK];

	for (size_t at = 0; at < n; at += BLOCK) {
		size_t w = moe_min(BLOCK, n - at);
		for (size_t x = 0; x < w; x++)
			sum[x] = 1 << (BITS - 1);
		for (uint32_t j = 0; j < n_taps; j++) {
			const uint8_t *s = in + j * stride + at;
			for (size_t x = 0; x < w; x++)
				sum[x] += q[j] * s[x];
		}
		for (size_t x = 0; x < w; x++)
			out[at + x] = round_off(sum[x]);
	}
}

static enum moe_err horizontal(uint8_t *out, size_t stride, uint32_t width, const struct moe_picture *in, enum moe_filter filter, struct moe_diag *d)
{
	struct pass p = {0};
	enum moe_err err = pass_init(&p, in->width, width, filter, d);

	for (uint32_t y = 0; !err && y < in->height; y++)
		resize_row(out + y * stride, in->rgb + (size_t)y * in->width * CHANNELS, width, &p);
	pass_free(&p);
	return err;
}

static enum moe_err vertical(uint8_t *out, size_t stride, uint32_t height, const struct moe_picture *in, enum moe_filter filter, struct moe_diag *d)
{
	size_t row = (size_t)in->width * CHANNELS;
	struct pass p = {0};
	enum moe_err err = pass_init(&p, in->height, height, filter, d);

	for (uint32_t y = 0; !err && y < height; y++)
		resize_column(out + y * stride, in->rgb + p.first[y] * row, row, row, p.q + y * p.max_taps, p.n_taps[y]);
	pass_free(&p);
	return err;
}

static void copy_rows(uint8_t *out, size_t stride, const struct moe_picture *in)
{
	size_t row = (size_t)in->width * CHANNELS;

	for (uint32_t y = 0; y < in->height; y++)
		memcpy(out + y * stride, in->rgb + y * row, row);
}

enum moe_err moe_resize_into(uint8_t *out, size_t stride, uint32_t width, uint32_t height, const struct moe_picture *in,
                             enum moe_filter filter, struct moe_diag *d)
{
	struct moe_picture wide = {.width = width, .height = in->height};
	enum moe_err err;

	if (!width || !height || !in->width || !in->height || width > MAX_SIDE || height > MAX_SIDE || in->width > MAX_SIDE ||
	    in->height > MAX_SIDE || filter >= MOE_N_FILTERS)
		return moe_fail(d, MOE_EUSAGE, "cannot resize %u x %u to %u x %u", in->width, in->height, width, height);
	if (in->width == width && in->height == height) {
		copy_rows(out, stride, in);
		return MOE_OK;
	}
	if (in->width == width)
		return vertical(out, stride, height, in, filter, d);
	if (in->height == height)
		return horizontal(out, stride, width, in, filter, d);
	wide.rgb = malloc((size_t)width * in->height * CHANNELS);
	if (!wide.rgb)
		return moe_fail(d, MOE_ENOMEM, "out of memory for resizing");
	err = horizontal(wide.rgb, (size_t)width * CHANNELS, width, in, filter, d);
	if (!err)
		err = vertical(out, stride, height, &wide, filter, d);
	free(wide.rgb);
	return err;
}

enum moe_err moe_resize(struct moe_picture *out, uint32_t width, uint32_t height, const struct moe_picture *in, enum moe_filter filter,
                        struct moe_diag *d)
{
	struct moe_picture p = {.width = width, .height = height};
	enum moe_err err;

	if (width > MAX_SIDE || height > MAX_SIDE)
		return moe_fail(d, MOE_EUSAGE, "cannot resize to %u x %u", width, height);
	p.rgb = malloc(moe_max((size_t)width * height * CHANNELS, 1));
	if (!p.rgb)
		return moe_fail(d, MOE_ENOMEM, "out of memory for resizing");
	err = moe_resize_into(p.rgb, (size_t)width * CHANNELS, width, height, in, filter, d);
	if (err)
		free(p.rgb);
	else
		*out = p;
	return err;
}
