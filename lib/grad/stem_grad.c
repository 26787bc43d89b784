#include "grad/stem_grad.h"

#include <string.h>

#include "base/check.h"

bool moe_stem_plan(struct moe_stem *s, enum moe_unit unit, const struct moe_conv *conv, size_t n, struct moe_arena *a)
{
	*s = (struct moe_stem){.unit = unit, .n = n};
	for (size_t i = 0; i < n; i++) {
		struct moe_conv_dense *c = &s->conv[i];
		c->conv = conv[i];
		c->k = (size_t)(conv[i].kernel * conv[i].kernel * conv[i].in);
		c->ld = c->k + (c->k & 1);
		c->turned = moe_arena_zero(a, (size_t)conv[i].out * c->ld, sizeof *c->turned);
		if (!c->turned || !moe_dense_plan(&c->dense, unit, c->turned, (size_t)conv[i].out, c->ld, a))
			return false;
	}
	return true;
}

/* turned [out][y][x][in] from weight [out][in][y][x], or weight += turned. */
static void turn(const struct moe_conv_dense *c, float *turned, float *weight, bool back)
{
	size_t in = (size_t)c->conv.in, area = (size_t)(c->conv.kernel * c->conv.kernel);

	for (size_t o = 0; o < (size_t)c->conv.out; o++)
		for (size_t i = 0; i < in; i++)
			for (size_t p = 0; p < area; p++) {
				float *t = &turned[o * c->ld + p * in + i], *w = &weight[(o * in + i) * area + p];
				if (back)
					*w += *t;
				else
					*t = *w;
			}
}

void moe_stem_pack(struct moe_stem *s, const float *const *weight, void *scratch)
{
	for (size_t i = 0; i < s->n; i++) {
		turn(&s->conv[i], s->conv[i].turned, (float *)(uintptr_t)weight[i], false);
		moe_dense_pack(&s->conv[i].dense, scratch);
	}
}

static size_t map_size(size_t n, const struct moe_conv *c)
{
	size_t padded = n + 2 * (size_t)c->padding;

	return padded < (size_t)c->kernel ? 0 : (padded - (size_t)c->kernel) / (size_t)c->stride + 1;
}

void moe_stem_sizes(const struct moe_stem *s, size_t height, size_t width, size_t *rows, size_t *columns)
{
	for (size_t i = 0; i < s->n; i++) {
		rows[i] = height = map_size(height, &s->conv[i].conv);
		columns[i] = width = map_size(width, &s->conv[i].conv);
	}
}

bool moe_stem_kept_plan(struct moe_stem_kept *kept, const struct moe_stem *s, size_t height, size_t width, struct moe_arena *a)
{
	size_t rows[MOE_MAX_CONV], columns[MOE_MAX_CONV], number = moe_unit_number(s->unit);

	moe_stem_sizes(s, height, width, rows, columns);
	for (size_t i = 0; i < s->n; i++) {
		kept->rows[i] = moe_arena_get(a, rows[i] * columns[i] * s->conv[i].ld, number);
		kept->map[i] = moe_arena_get(a, rows[i] * columns[i] * (size_t)s->conv[i].conv.out, number);
		if (!kept->rows[i] || !kept->map[i])
			return false;
	}
	return true;
}

size_t moe_stem_scratch(const struct moe_stem *s, size_t height, size_t width)
{
	size_t rows[MOE_MAX_CONV], columns[MOE_MAX_CONV], forward = 2 * height * width * (size_t)s->conv[0].conv.in + 64, backward = 64;

	moe_stem_sizes(s, height, width, rows, columns);
	for (size_t i = 0; i < s->n; i++) {
		size_t area = rows[i] * columns[i], out = (size_t)s->conv[i].conv.out, ld = s->conv[i].ld;
		forward += 2 * area * out + 64;
		backward += out * ld + (area + 2) * (out + ld) + area * ld + 3 * area * out + 128;
	}
	return 4 * moe_max(forward, backward);
}

/* The runs of one row of a kernel that lie inside the map: position (y, x) of the output reads columns [from, to) of input row `at`. */
struct run { bool inside; size_t at, from, to; };

static struct run run_of(const struct moe_conv *c, size_t y, size_t x, size_t i, size_t height, size_t width)
{
	int64_t at = (int64_t)y * c->stride + (int64_t)i - c->padding, left = (int64_t)x * c->stride - c->padding;
	int64_t from = left < 0 ? 0 : left, to = left + c->kernel > (int64_t)width ? (int64_t)width : left + c->kernel;

	return (struct run){at >= 0 && at < (int64_t)height && from < to, (size_t)at, (size_t)(from - left), (size_t)(to - left)};
}

/* Rows of the product: for each position of the output the inputs under the kernel, zeros outside. in [height][width][channels] numbers. */
static void rows_of(enum moe_unit u, const struct moe_conv_dense *c, void *to, const void *in, size_t height, size_t width, size_t oh, size_t ow)
{
	size_t n = (size_t)c->conv.in, kernel = (size_t)c->conv.kernel, number = moe_unit_number(u), line = kernel * n;
	char *row = to;

	for (size_t y = 0; y < oh; y++)
		for (size_t x = 0; x < ow; x++, row += c->ld * number) {
			for (size_t i = 0; i < kernel; i++) {
				struct run r = run_of(&c->conv, y, x, i, height, width);
				char *at = row + i * line * number;
				size_t column = x * (size_t)c->conv.stride + r.from - (size_t)c->conv.padding;
				if (!r.inside || r.to - r.from < kernel)
					memset(at, 0, line * number);
				if (r.inside)
					memcpy(at + r.from * n * number, (const char *)in + (r.at * width + column) * n * number, (r.to - r.from) * n * number);
			}
			memset(row + c->k * number, 0, (c->ld - c->k) * number);
		}
}

/* The reverse: in += what the rows got. Both f32. */
static void add_rows(const struct moe_conv_dense *c, float *in, const float *row, size_t height, size_t width, size_t oh, size_t ow)
{
	size_t n = (size_t)c->conv.in, kernel = (size_t)c->conv.kernel;

	for (size_t y = 0; y < oh; y++)
		for (size_t x = 0; x < ow; x++, row += c->ld)
			for (size_t i = 0; i < kernel; i++) {
				struct run r = run_of(&c->conv, y, x, i, height, width);
				size_t column = x * (size_t)c->conv.stride + r.from - (size_t)c->conv.padding;
				if (r.inside)
					moe_add(in + (r.at * width + column) * n, row + (i * kernel + r.from) * n, (r.to - r.from) * n);
			}
}

static void channels_last(float *to, const float *planes, size_t channels, size_t area)
{
	for (size_t p = 0; p < area; p++)
		for (size_t c = 0; c < channels; c++)
			to[p * channels + c] = planes[c * area + p];
}

/* n floats of the scratch. */
static float *take(char **scratch, size_t n)
{
	char *p = *scratch;

	*scratch += moe_round_up(n * 4, 64);
	return (float *)(void *)p;
}

/* Numbers of n values, whatever their shape. */
static void as_numbers(enum moe_unit u, void *to, const float *x, size_t n) { moe_operand_rows(u, to, moe_unit_stride(u, n), x, n, 1, n); }

void moe_stem_keep(const struct moe_stem *s, float *feature, size_t ld, const float *given, size_t height, size_t width, struct moe_stem_kept *kept,
		   void *scratch)
{
	size_t rows[MOE_MAX_CONV], columns[MOE_MAX_CONV], channels = (size_t)s->conv[0].conv.in, n = height * width * channels;
	char *at = scratch;
	float *pixel = take(&at, n);
	void *in = take(&at, n + 1);

	moe_stem_sizes(s, height, width, rows, columns);
	if (!s->map)
		channels_last(pixel, given, channels, height * width);
	as_numbers(s->unit, in, s->map ? given : pixel, n);
	for (size_t i = 0; i < s->n; i++) {
		const struct moe_conv_dense *c = &s->conv[i];
		size_t area = rows[i] * columns[i], out = (size_t)c->conv.out;
		float *z = take(&at, area * out);
		rows_of(s->unit, c, kept->rows[i], in, i ? rows[i - 1] : height, i ? columns[i - 1] : width, rows[i], columns[i]);
		if (i + 1 == s->n) {
			moe_dense_forward(&c->dense, kept->rows[i], c->ld, area, feature, ld, false);
			break;
		}
		moe_dense_forward(&c->dense, kept->rows[i], c->ld, area, z, out, false);
		in = take(&at, area * out + 1);
		if (c->conv.silu)
			moe_silu_keep(s->unit, in, kept->map[i], z, area * out);
		else
			as_numbers(s->unit, in, z, area * out);
	}
}

void moe_stem_backward(const struct moe_stem *s, float *const *dweight, const float *dfeature, size_t ld, float *input, size_t height, size_t width,
		       const struct moe_stem_kept *kept, void *scratch)
{
	size_t rows[MOE_MAX_CONV], columns[MOE_MAX_CONV], area, out;
	char *at = scratch;
	void *dz;

	moe_stem_sizes(s, height, width, rows, columns);
	area = rows[s->n - 1] * columns[s->n - 1];
	out = (size_t)s->conv[s->n - 1].conv.out;
	dz = take(&at, area * out);
	moe_operand_rows(s->unit, dz, out, dfeature, ld, area, out);
	for (size_t i = s->n; i-- > 0;) {
		const struct moe_conv_dense *c = &s->conv[i];
		size_t before = i ? rows[i - 1] * columns[i - 1] * (size_t)c->conv.in : 0;
		float *dw, *drows, *din;
		area = rows[i] * columns[i];
		out = (size_t)c->conv.out;
		dw = take(&at, out * c->ld);
		memset(dw, 0, out * c->ld * sizeof *dw);
		moe_dense_gradient(s->unit, dw, dz, out, out, kept->rows[i], c->ld, c->ld, area, take(&at, (area + 2) * (out + c->ld)));
		turn(c, dw, dweight[i], true);
		if (!i && !input)
			break;
		drows = take(&at, area * c->ld);
		moe_dense_backward(&c->dense, dz, out, area, drows, c->ld, false);
		if (!i) {
			add_rows(c, input, drows, height, width, rows[i], columns[i]);
			break;
		}
		din = take(&at, before);
		memset(din, 0, before * sizeof *din);
		add_rows(c, din, drows, rows[i - 1], columns[i - 1], rows[i], columns[i]);
		dz = take(&at, before + 1);
		if (s->conv[i - 1].conv.silu)
			moe_silu_backward(s->unit, dz, din, kept->map[i - 1], before);
		else
			as_numbers(s->unit, dz, din, before);
	}
}
