#include "image/canvas.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "image/fit.h"

enum { HF_UNIT = 490 };

enum moe_split moe_split_find(const char *name)
{
	static const char *const names[MOE_N_SPLITS] = {"none", "original", "hf"};
	int i = 0;

	while (i < MOE_N_SPLITS && strcmp(name, names[i]))
		i++;
	return (enum moe_split)i;
}

static bool within_limits(uint64_t width, uint64_t height)
{
	return width && height && width <= MOE_FIT_MAX_SIDE && height <= MOE_FIT_MAX_SIDE && width * height <= MOE_FIT_MAX_PIXELS;
}

static enum moe_err check_ratio(const struct moe_canvas *c, size_t i, struct moe_diag *d)
{
	uint64_t columns = c->ratio[i][0], rows = c->ratio[i][1], unit = c->split == MOE_SPLIT_HF ? HF_UNIT : c->size;
	struct moe_tiling t;

	if (columns > MOE_FIT_MAX_SIDE || rows > MOE_FIT_MAX_SIDE || !within_limits(columns * unit, rows * unit))
		return moe_fail(d, MOE_EUSAGE, "pictures split %llu to %llu: tiles of %llu pixels make more than %d a side or %d in all", (unsigned long long)columns,
				(unsigned long long)rows, (unsigned long long)unit, MOE_FIT_MAX_SIDE, MOE_FIT_MAX_PIXELS);
	t = moe_split_tiling(c, i);
	if ((uint64_t)t.columns * t.rows + t.overview > MOE_MAX_CROPS)
		return moe_fail(d, MOE_EUSAGE, "pictures split %llu to %llu: more than %d crops", (unsigned long long)columns, (unsigned long long)rows, MOE_MAX_CROPS);
	return MOE_OK;
}

enum moe_err moe_canvas_check(const struct moe_canvas *c, struct moe_diag *d)
{
	if (!within_limits(c->size, c->size) || !c->patch || c->size % c->patch || !c->min_side || c->min_side > c->size)
		return moe_fail(d, MOE_EUSAGE, "a canvas of %u pixels a side, with patches of %u and a least side of %u, cannot be", c->size, c->patch, c->min_side);
	if (c->filter >= MOE_N_FILTERS || c->split >= MOE_N_SPLITS || c->n_ratios > MOE_MAX_RATIOS)
		return moe_fail(d, MOE_EUSAGE, "unknown filter %d, unknown way to split %d, or more than %d ratios", (int)c->filter, (int)c->split, MOE_MAX_RATIOS);
	for (size_t i = 0; i < c->n_ratios && c->split != MOE_SPLIT_NONE; i++)
		MOE_TRY(check_ratio(c, i, d));
	return MOE_OK;
}

void moe_canvas_values(struct moe_canvas *c, const double mean[3], const double std[3])
{
	for (int i = 0; i < 3; i++)
		for (int v = 0; v < 256; v++)
			c->value[i][v] = ((float)(v * (1 / 255.0)) - (float)mean[i]) / (float)std[i];
}

void moe_canvas_size(const struct moe_canvas *c, uint32_t w, uint32_t h, uint32_t *nw, uint32_t *nh)
{
	double scale = (double)c->size / (w > h ? w : h);

	*nw = w >= h ? c->size : (uint32_t)moe_max((size_t)(w * scale), c->min_side);
	*nh = w >= h ? (uint32_t)moe_max((size_t)(h * scale), c->min_side) : c->size;
}

enum moe_err moe_canvas_patches(struct moe_patches *out, const struct moe_canvas *c, const struct moe_picture *in, struct moe_arena *a, struct moe_diag *d)
{
	struct moe_arena_mark mark;
	size_t row, p = c->patch;
	uint8_t *canvas;

	if (!in->width || !in->height)
		return moe_fail(d, MOE_EUSAGE, "a picture without pixels");
	moe_canvas_size(c, in->width, in->height, &out->width, &out->height);
	out->rows = (out->height + c->patch - 1) / c->patch;
	out->columns = (out->width + c->patch - 1) / c->patch;
	row = out->columns * p * 3;
	out->pixel = moe_arena_get(a, out->rows * out->columns, 3 * p * p * sizeof(float));
	mark = moe_arena_mark(a);
	canvas = moe_arena_zero(a, out->rows * p, row);
	if (!out->pixel || !canvas)
		return moe_fail(d, MOE_ENOMEM, "out of memory for a picture of %u x %u pixels", out->width, out->height);
	MOE_TRY(moe_resize_into(canvas, row, out->width, out->height, in, c->filter, d));
	moe_patches_from_pixels(out->pixel, canvas, &(struct moe_patching){out->rows, out->columns, 3, c->patch, c->patch}, c->value);
	moe_arena_release(a, mark);
	return MOE_OK;
}

size_t moe_split_ratio(const struct moe_canvas *c, uint32_t w, uint32_t h)
{
	double aspect = (double)w / h, area = (double)w * h, best_gap = INFINITY;
	size_t best = 0;

	for (size_t i = 0; i < c->n_ratios; i++) {
		uint32_t rw = c->ratio[i][0], rh = c->ratio[i][1];
		double gap = fabs(aspect - (double)rw / rh);
		if (gap < best_gap || (gap == best_gap && area > 0.5 * c->size * c->size * rw * rh))
			best = i;
		best_gap = gap < best_gap ? gap : best_gap;
	}
	return best;
}

size_t moe_split_resolution(const struct moe_canvas *c, uint32_t w, uint32_t h)
{
	uint64_t most = 0, least = UINT64_MAX;
	size_t best = 0;

	for (size_t i = 0; i < c->n_ratios; i++) {
		uint64_t H = c->ratio[i][0] * (uint64_t)HF_UNIT, W = c->ratio[i][1] * (uint64_t)HF_UNIT, kept, wasted;
		double scale = fmin((double)W / w, (double)H / h);
		kept = moe_min((uint64_t)(w * scale) * (uint64_t)(h * scale), (uint64_t)w * h);
		wasted = W * H - kept;
		if (kept > most || (kept == most && wasted < least)) {
			most = kept;
			least = wasted;
			best = i;
		}
	}
	return best;
}

struct moe_tiling moe_split_tiling(const struct moe_canvas *c, size_t ratio)
{
	uint32_t a = c->ratio[ratio][0], b = c->ratio[ratio][1], size = c->size;

	if (c->split == MOE_SPLIT_ORIGINAL)
		return (struct moe_tiling){.width = a * size, .height = b * size, .columns = a, .rows = b, .overview = a * b > 1};
	return (struct moe_tiling){     /* its ratios are rows and columns */
		.width = b * HF_UNIT, .height = a * HF_UNIT, .columns = (b * HF_UNIT + size - 1) / size, .rows = (a * HF_UNIT + size - 1) / size,
	};
}
