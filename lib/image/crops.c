#include "image/crops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

size_t moe_plan_patch_size(const struct moe_image_plan *p)
{
	return p->on_canvas ? (size_t)3 * p->canvas.patch * p->canvas.patch : moe_fit_patch_size(&p->fit);
}

size_t moe_plan_most_crops(const struct moe_image_plan *p)
{
	size_t most = 1;

	for (size_t i = 0; p->on_canvas && p->canvas.split != MOE_SPLIT_NONE && i < p->canvas.n_ratios; i++) {
		struct moe_tiling t = moe_split_tiling(&p->canvas, i);
		most = moe_max(most, (size_t)t.columns * t.rows + t.overview);
	}
	return most;
}

size_t moe_plan_most_patches(const struct moe_image_plan *p)
{
	size_t most = 0, side = p->on_canvas ? p->canvas.size / p->canvas.patch : 0;

	for (size_t g = 0; !p->on_canvas && g < p->fit.n_grids; g++)
		most = moe_max(most, moe_fit_n_patches(&p->fit, g));
	return p->on_canvas ? side * side * moe_plan_most_crops(p) : most;
}

static void set_tiling(struct moe_crops *c, size_t ratio)
{
	c->tiling = moe_split_tiling(&c->plan->canvas, ratio);
	c->n = (size_t)c->tiling.columns * c->tiling.rows + c->tiling.overview;
}

/* The picture stretched to the whole of the tiles. */
static enum moe_err open_original(struct moe_crops *c, const struct moe_canvas *k, struct moe_diag *d)
{
	set_tiling(c, moe_split_ratio(k, c->picture->width, c->picture->height));
	return moe_resize(&c->tiled, c->tiling.width, c->tiling.height, c->picture, k->filter, d);
}

/* The picture fitted into W × H, which lies in the middle of black (transformers, get_patch_output_size and _pad_for_patching). */
static enum moe_err open_hf(struct moe_crops *c, const struct moe_canvas *k, struct moe_diag *d)
{
	uint32_t w = c->picture->width, h = c->picture->height, W, H, nw, nh;
	double scale_w, scale_h;

	set_tiling(c, moe_split_resolution(k, w, h));
	W = c->tiling.width;
	H = c->tiling.height;
	scale_w = (double)W / w;
	scale_h = (double)H / h;
	nw = scale_w < scale_h ? W : (uint32_t)moe_min((size_t)ceil(w * scale_h), W);
	nh = scale_w < scale_h ? (uint32_t)moe_min((size_t)ceil(h * scale_w), H) : H;
	c->tiled = (struct moe_picture){W, H, calloc((size_t)W * H, 3)};
	if (!c->tiled.rgb)
		return moe_fail(d, MOE_ENOMEM, "out of memory for a picture of %u x %u pixels", W, H);
	return moe_resize_into(c->tiled.rgb + ((size_t)((H - nh) / 2) * W + (W - nw) / 2) * 3, (size_t)W * 3, nw, nh, c->picture, k->filter, d);
}

enum moe_err moe_crops_open(struct moe_crops *c, const struct moe_image_plan *p, const struct moe_picture *in, struct moe_diag *d)
{
	*c = (struct moe_crops){.plan = p, .picture = in, .n = 1};
	if (!in->width || !in->height)
		return moe_fail(d, MOE_EUSAGE, "a picture without pixels");
	if (!p->on_canvas || p->canvas.split == MOE_SPLIT_NONE || !p->canvas.n_ratios)
		return MOE_OK;
	return p->canvas.split == MOE_SPLIT_ORIGINAL ? open_original(c, &p->canvas, d) : open_hf(c, &p->canvas, d);
}

/* One picture fitted into its grid. */
static enum moe_err fit_patches(struct moe_patches *out, const struct moe_fit *f, const struct moe_picture *in, struct moe_arena *a, struct moe_diag *d)
{
	size_t g = moe_fit_choose(f, in->width, in->height);
	struct moe_arena_mark mark;
	uint8_t *canvas;

	*out = (struct moe_patches){.rows = f->grid[g].rows, .columns = f->grid[g].cols};
	out->pixel = moe_arena_get(a, moe_fit_n_patches(f, g) * moe_fit_patch_size(f), sizeof(float));
	mark = moe_arena_mark(a);
	canvas = moe_arena_get(a, (size_t)moe_fit_height(f, g) * moe_fit_width(f, g), MOE_FIT_CHANNELS);
	if (!canvas || !out->pixel)
		return moe_fail(d, MOE_ENOMEM, "out of memory for a picture's patches");
	moe_fit_size(in->width, in->height, moe_fit_width(f, g), moe_fit_height(f, g), &out->width, &out->height);
	MOE_TRY(moe_fit_canvas(f, g, in, canvas, d));
	moe_fit_patches(f, g, canvas, out->pixel);
	moe_arena_release(a, mark);
	return MOE_OK;
}

/* Is the next crop the picture as a whole? */
static bool whole(const struct moe_crops *c) { return !c->tiled.rgb || (c->tiling.overview && !c->at); }

/* Width and height of tile number i. */
static void tile_size(const struct moe_crops *c, size_t i, uint32_t *w, uint32_t *h)
{
	uint32_t size = c->plan->canvas.size, x = (uint32_t)(i % c->tiling.columns) * size, y = (uint32_t)(i / c->tiling.columns) * size;

	*w = c->tiled.width - x < size ? c->tiled.width - x : size;
	*h = c->tiled.height - y < size ? c->tiled.height - y : size;
}

/* Tile number i, which may be cut off at the right and lower edge, as a picture of its own. */
static enum moe_err copy_tile(struct moe_picture *tile, const struct moe_crops *c, size_t i, struct moe_arena *a, struct moe_diag *d)
{
	uint32_t size = c->plan->canvas.size, x = (uint32_t)(i % c->tiling.columns) * size, y = (uint32_t)(i / c->tiling.columns) * size;

	tile_size(c, i, &tile->width, &tile->height);
	tile->rgb = moe_arena_get(a, (size_t)tile->width * tile->height, 3);
	if (!tile->rgb)
		return moe_fail(d, MOE_ENOMEM, "out of memory for a part of a picture");
	for (uint32_t r = 0; r < tile->height; r++)
		memcpy(tile->rgb + (size_t)r * tile->width * 3, c->tiled.rgb + ((size_t)(y + r) * c->tiled.width + x) * 3, (size_t)tile->width * 3);
	return MOE_OK;
}

void moe_crops_grid(const struct moe_crops *c, uint32_t *rows, uint32_t *columns)
{
	const struct moe_canvas *k = &c->plan->canvas;
	uint32_t w = c->picture->width, h = c->picture->height;

	if (!c->plan->on_canvas) {
		size_t g = moe_fit_choose(&c->plan->fit, w, h);
		*rows = c->plan->fit.grid[g].rows;
		*columns = c->plan->fit.grid[g].cols;
		return;
	}
	if (!whole(c))
		tile_size(c, c->at - c->tiling.overview, &w, &h);
	moe_canvas_size(k, w, h, columns, rows);
	*rows = (*rows + k->patch - 1) / k->patch;
	*columns = (*columns + k->patch - 1) / k->patch;
}

enum moe_err moe_crops_next(struct moe_crops *c, struct moe_patches *out, struct moe_arena *a, struct moe_diag *d)
{
	bool all = whole(c);
	size_t i = c->at;
	struct moe_picture tile;

	if (i == c->n)
		return MOE_END;
	c->at++;
	if (!c->plan->on_canvas)
		return fit_patches(out, &c->plan->fit, c->picture, a, d);
	if (all)
		return moe_canvas_patches(out, &c->plan->canvas, c->picture, a, d);
	MOE_TRY(copy_tile(&tile, c, i - c->tiling.overview, a, d));
	return moe_canvas_patches(out, &c->plan->canvas, &tile, a, d);
}

void moe_crops_close(struct moe_crops *c)
{
	free(c->tiled.rgb);
	*c = (struct moe_crops){0};
}
