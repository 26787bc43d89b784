#include "plot/seen.h"

#include <string.h>

#include "base/mem.h"

static void on_canvas(struct moe_seen *s, const struct moe_canvas *c, const struct moe_picture *p)
{
	moe_canvas_size(c, p->width, p->height, &s->w, &s->h);
	s->patch = c->patch;
	s->rows = (s->h + c->patch - 1) / c->patch;
	s->columns = (s->w + c->patch - 1) / c->patch;
	s->paper = (struct moe_rgb){0, 0, 0};
}

static void in_grid(struct moe_seen *s, const struct moe_fit *f, const struct moe_picture *p)
{
	size_t g = moe_fit_choose(f, p->width, p->height);
	uint8_t rgb[MOE_FIT_CHANNELS];

	moe_fit_size(p->width, p->height, moe_fit_width(f, g), moe_fit_height(f, g), &s->w, &s->h);
	moe_fit_pad_colour(f, p, rgb);
	s->patch = f->patch_width;
	s->rows = f->grid[g].rows;
	s->columns = f->grid[g].cols;
	s->x = f->place == MOE_FIT_LEFT ? 0 : (moe_fit_width(f, g) - s->w) / 2;
	s->y = (moe_fit_height(f, g) - s->h) / 2;
	s->paper = (struct moe_rgb){rgb[0], rgb[1], rgb[2]};
}

enum moe_err moe_seen_make(struct moe_seen *out, const struct moe_image_plan *plan, const struct moe_spec *s, const struct moe_picture *p, struct moe_diag *d)
{
	*out = (struct moe_seen){0};
	if (!p->width || !p->height)
		return moe_fail(d, MOE_EUSAGE, "a picture without pixels");
	if (plan->on_canvas && plan->canvas.split != MOE_SPLIT_NONE)
		return moe_fail(d, MOE_EUSAGE, "the model cuts pictures into tiles: they are not drawn (--split none)");
	if (plan->on_canvas)
		on_canvas(out, &plan->canvas, p);
	else
		in_grid(out, &plan->fit, p);
	out->width = out->columns * out->patch;
	out->height = out->rows * out->patch;
	if (moe_spec_features(s, out->rows, out->columns) != (size_t)out->rows * out->columns)
		return moe_fail(d, MOE_EUSAGE, "the model makes %zu features of %u x %u patches: its tokens have no place in the picture",
				moe_spec_features(s, out->rows, out->columns), out->rows, out->columns);
	return MOE_OK;
}

enum moe_err moe_seen_shown(struct moe_picture *out, const struct moe_picture *p, uint32_t most, struct moe_diag *d)
{
	uint32_t w, h;

	if (p->width > most || p->height > most) {
		moe_fit_size(p->width, p->height, most, most, &w, &h);
		return moe_resize(out, w, h, p, MOE_BICUBIC, d);
	}
	*out = *p;
	out->rgb = moe_calloc((size_t)p->width * p->height, 3);
	if (!out->rgb)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	memcpy(out->rgb, p->rgb, (size_t)p->width * p->height * 3);
	return MOE_OK;
}
