#include <cairo.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "image/outline.h"
#include "image/png.h"
#include "plot/pen_priv.h"
#include "plot/typefaces.h"

enum { RUN = 256, MOST_SIDE = 32000, MOST_PIXELS = 100 << 20 };

struct pixels {
	struct moe_pen pen;
	cairo_surface_t *surface;
	cairo_t *c;
	struct moe_typefaces *faces;
};

static cairo_t *context(struct moe_pen *p) { return ((struct pixels *)p)->c; }

static void use_ink(cairo_t *c, struct moe_ink ink)
{
	struct moe_rgb rgb = ink.paint == MOE_PAINT_COLOUR ? ink.rgb : moe_paint_light(ink.paint);

	cairo_set_source_rgba(c, rgb.r / 255.0, rgb.g / 255.0, rgb.b / 255.0, ink.alpha);
}

static void pixels_box(struct moe_pen *p, double x, double y, double w, double h, double round, struct moe_ink ink, double width)
{
	cairo_t *c = context(p);

	moe_outline_box(c, x, y, w, h, round);
	use_ink(c, ink);
	if (width > 0) {
		cairo_set_line_width(c, width);
		cairo_stroke(c);
	} else {
		cairo_fill(c);
	}
}

static void pixels_disc(struct moe_pen *p, double x, double y, double r, struct moe_ink fill) { pixels_box(p, x - r, y - r, 2 * r, 2 * r, r, fill, 0); }

static void pixels_line(struct moe_pen *p, const double *x, const double *y, size_t n, struct moe_ink ink, double width, bool dashed)
{
	static const double dash[] = {5, 4};
	cairo_t *c = context(p);

	cairo_move_to(c, x[0], y[0]);
	for (size_t i = 1; i < n; i++)
		cairo_line_to(c, x[i], y[i]);
	use_ink(c, ink);
	cairo_set_line_width(c, width);
	cairo_set_line_join(c, CAIRO_LINE_JOIN_ROUND);
	cairo_set_line_cap(c, CAIRO_LINE_CAP_ROUND);
	cairo_set_dash(c, dash, dashed ? 2 : 0, 0);
	cairo_stroke(c);
	cairo_set_dash(c, NULL, 0, 0);
}

static void pixels_ribbon(struct moe_pen *p, double x0, double y0, double x1, double y1, double h, struct moe_ink fill)
{
	cairo_t *c = context(p);
	double middle = (x0 + x1) / 2;

	cairo_move_to(c, x0, y0);
	cairo_curve_to(c, middle, y0, middle, y1, x1, y1);
	cairo_line_to(c, x1, y1 + h);
	cairo_curve_to(c, middle, y1 + h, middle, y0 + h, x0, y0 + h);
	cairo_close_path(c);
	use_ink(c, fill);
	cairo_fill(c);
}

/* Fills the letters, or draws a rim around them first. */
static void paint_letters(cairo_t *c, const struct moe_type *t, struct moe_ink ink, const char *s)
{
	if (!t->halo) {
		use_ink(c, ink);
		cairo_show_text(c, s);
		return;
	}
	cairo_text_path(c, s);
	if (ink.paint == MOE_PAINT_COLOUR && moe_lightness(ink.rgb) < 0.5)
		cairo_set_source_rgba(c, 1, 1, 1, 0.55);
	else
		cairo_set_source_rgba(c, 0, 0, 0, 0.55);
	cairo_set_line_width(c, 2);
	cairo_set_line_join(c, CAIRO_LINE_JOIN_ROUND);
	cairo_stroke_preserve(c);
	use_ink(c, ink);
	cairo_fill(c);
}

/* The beginning of s that one font has: its length in s, and as cairo takes it in `to`. */
static size_t next_run(struct moe_typefaces *faces, bool bold, const char *s, char to[RUN], cairo_font_face_t **face)
{
	size_t length = 0, n = 0, step;
	unsigned rune;

	for (*face = NULL; s[length] && n < RUN - 5; length += step) {
		cairo_font_face_t *own;
		step = moe_rune_next(s + length, &rune);
		own = moe_typeface_for(faces, bold, rune, *face);
		if (*face && own != *face)
			break;
		*face = own;
		n += moe_utf8_put(to + n, rune);
	}
	to[n] = 0;
	return length;
}

/* Walks over the runs of a text: their width in all; painted when `ink` is not NULL. */
static double walk(struct pixels *p, const struct moe_type *t, const struct moe_ink *ink, const char *s, double x)
{
	char run[RUN];
	cairo_font_face_t *face;
	cairo_text_extents_t e;
	double sum = 0;

	cairo_set_font_size(p->c, t->size);
	while (*s) {
		s += next_run(p->faces, t->bold, s, run, &face);
		if (!face)
			continue;
		cairo_set_font_face(p->c, face);
		cairo_text_extents(p->c, run, &e);
		if (ink) {
			cairo_move_to(p->c, x + sum, 0);
			paint_letters(p->c, t, *ink, run);
		}
		sum += e.x_advance;
	}
	return sum;
}

static void pixels_text(struct moe_pen *p, double x, double y, const struct moe_type *t, struct moe_ink ink, const char *s)
{
	static const double degree = 0.017453292519943295;
	struct pixels *pixels = (struct pixels *)p;
	cairo_t *c = pixels->c;
	double w;

	cairo_save(c);
	cairo_translate(c, x, y);
	cairo_rotate(c, t->turn * degree);
	w = t->anchor == MOE_ANCHOR_START ? 0 : walk(pixels, t, NULL, s, 0);
	walk(pixels, t, &ink, s, t->anchor == MOE_ANCHOR_MIDDLE ? -w / 2 : -w);
	cairo_restore(c);
}

static cairo_surface_t *surface_of(const struct moe_picture *p, bool grey)
{
	cairo_surface_t *s = cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)p->width, (int)p->height);
	unsigned char *to = cairo_image_surface_get_data(s);
	size_t stride = (size_t)cairo_image_surface_get_stride(s);
	const uint8_t *from = p->rgb;

	for (size_t y = 0; to && y < p->height; y++)
		for (size_t x = 0; x < p->width; x++, from += 3) {
			struct moe_rgb c = {from[0], from[1], from[2]};
			c = grey ? moe_grey(c) : c;
			uint32_t v = (uint32_t)c.r << 16 | (uint32_t)c.g << 8 | c.b;
			memcpy(to + y * stride + 4 * x, &v, sizeof v);
		}
	cairo_surface_mark_dirty(s);
	return s;
}

static void pixels_image(struct moe_pen *p, const struct moe_picture *picture, unsigned number, bool grey, double x, double y, double w, double h)
{
	cairo_t *c = context(p);
	cairo_surface_t *s = surface_of(picture, grey);

	(void)number;
	cairo_save(c);
	cairo_rectangle(c, x, y, w, h);
	cairo_clip(c);
	cairo_translate(c, x, y);
	cairo_scale(c, w / picture->width, h / picture->height);
	cairo_set_source_surface(c, s, 0, 0);
	cairo_pattern_set_extend(cairo_get_source(c), CAIRO_EXTEND_PAD);
	cairo_pattern_set_filter(cairo_get_source(c), CAIRO_FILTER_GOOD);
	cairo_paint(c);
	cairo_restore(c);
	cairo_surface_destroy(s);
}

static void pixels_free(struct moe_pen *p)
{
	struct pixels *s = (struct pixels *)p;

	cairo_destroy(s->c);
	cairo_surface_destroy(s->surface);
	moe_typefaces_free(s->faces);
	free(s);
}

/* Letters as wide as they are measured, at every scale. */
static void plain_letters(cairo_t *c)
{
	cairo_font_options_t *o = cairo_font_options_create();

	cairo_font_options_set_hint_metrics(o, CAIRO_HINT_METRICS_OFF);
	cairo_font_options_set_hint_style(o, CAIRO_HINT_STYLE_NONE);
	cairo_set_font_options(c, o);
	cairo_font_options_destroy(o);
}

enum moe_err moe_pen_pixels_new(struct moe_pen **out, double w, double h, double scale, struct moe_diag *d)
{
	static const struct moe_pen_ops ops = {
		pixels_box, pixels_disc, pixels_line, pixels_ribbon, pixels_text, pixels_image, .free = pixels_free,
	};
	double width = ceil(w * scale), height = ceil(h * scale);
	struct pixels *s;

	if (width > MOST_SIDE || height > MOST_SIDE || width * height > MOST_PIXELS)
		return moe_fail(d, MOE_ENOMEM, "a picture of %.0f x %.0f pixels: at most %d on a side and %d in all; SVG has no limit", width, height, MOST_SIDE,
				MOST_PIXELS);
	s = moe_calloc(1, sizeof *s);
	if (!s)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	s->pen.ops = &ops;
	s->surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)width, (int)height);
	s->c = cairo_create(s->surface);
	*out = &s->pen;
	if (moe_typefaces_new(&s->faces) || cairo_status(s->c)) {
		moe_pen_free(*out);
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	cairo_set_source_rgb(s->c, 1, 1, 1);
	cairo_paint(s->c);
	cairo_scale(s->c, scale, scale);
	plain_letters(s->c);
	return MOE_OK;
}

/* Rows of cairo's pixels as RGB; to be freed. */
static uint8_t *unpack(cairo_surface_t *s)
{
	size_t width = (size_t)cairo_image_surface_get_width(s), height = (size_t)cairo_image_surface_get_height(s);
	size_t stride = (size_t)cairo_image_surface_get_stride(s);
	uint8_t *rgb = moe_calloc(width * height, 3), *to = rgb;

	cairo_surface_flush(s);
	for (size_t y = 0; rgb && y < height; y++)
		for (size_t x = 0; x < width; x++, to += 3) {
			uint32_t v;
			memcpy(&v, cairo_image_surface_get_data(s) + y * stride + 4 * x, sizeof v);
			to[0] = (uint8_t)(v >> 16);
			to[1] = (uint8_t)(v >> 8);
			to[2] = (uint8_t)v;
		}
	return rgb;
}

enum moe_err moe_pen_pixels_write(struct moe_pen *p, FILE *f, struct moe_diag *d)
{
	struct pixels *s = (struct pixels *)p;
	struct moe_png *png = NULL;
	const uint8_t *bytes;
	uint8_t *rgb = cairo_status(s->c) ? NULL : unpack(s->surface);
	size_t n;
	enum moe_err err = rgb ? moe_png_new(&png, d) : moe_fail(d, MOE_ENOMEM, "out of memory");

	if (!err)
		err = moe_png_encode(png, rgb, (uint32_t)cairo_image_surface_get_width(s->surface), (uint32_t)cairo_image_surface_get_height(s->surface), &bytes, &n, d);
	if (!err && fwrite(bytes, 1, n, f) != n)
		err = moe_fail_errno(d, "cannot write");
	moe_png_free(png);
	free(rgb);
	return err;
}
