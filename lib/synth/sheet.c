#include "synth/sheet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/png.h"

enum { WIDTH = 1600, HEIGHT = 1200, GAP = 8, LINE = 13, MOST_WIDTH = 384, MOST_HEIGHT = 256, CAPTION = 96, MOST_LINES = 12 };

struct moe_sheet {
	cairo_surface_t *surface;
	double x, y, row;       /* the next place, and the height of its row so far */
};

enum moe_err moe_sheet_new(struct moe_sheet **out, struct moe_diag *d)
{
	struct moe_sheet *h = moe_calloc(1, sizeof *h);
	cairo_t *c;

	*out = h;
	if (!h)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	h->surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, WIDTH, HEIGHT);
	if (cairo_surface_status(h->surface)) {
		moe_sheet_free(h);
		*out = NULL;
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	h->x = h->y = GAP;
	c = cairo_create(h->surface);
	cairo_set_source_rgb(c, 0.55, 0.55, 0.55);
	cairo_paint(c);
	cairo_destroy(c);
	return MOE_OK;
}

/* Captions are set in any upright font of the list that is not held out, so in the same for all samples. */
static const struct moe_font *caption_font(const struct moe_synth *s)
{
	for (size_t i = 0; i < s->fonts->n; i++)
		if (!(s->fonts->font[i].flags & (MOE_FONT_BOLD | MOE_FONT_ITALIC | MOE_FONT_BITMAP)))
			return &s->fonts->font[i];
	return &s->fonts->font[0];
}

/* "prompt answer", without what stands in <>. */
static void caption(char *to, size_t room, const struct moe_synth_question *q)
{
	const char *prompt = q->prompt[0] == '<' ? strchr(q->prompt, '>') : NULL;

	prompt = prompt ? prompt + 1 : q->prompt;
	snprintf(to, room, "%s%s%s", prompt + (*prompt == ' '), *prompt ? "  " : "", q->answer);
}

static void paint_picture(cairo_t *c, const struct moe_synth_sample *p, double x, double y, double scale)
{
	cairo_surface_t *s = cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)p->width, (int)p->height);
	unsigned char *to = cairo_image_surface_get_data(s);
	size_t stride = (size_t)cairo_image_surface_get_stride(s);

	for (size_t j = 0; to && j < p->height; j++)
		for (size_t i = 0; i < p->width; i++) {
			const uint8_t *from = p->rgb + 3 * (j * p->width + i);
			uint32_t v = (uint32_t)from[0] << 16 | (uint32_t)from[1] << 8 | from[2];
			memcpy(to + j * stride + 4 * i, &v, sizeof v);
		}
	cairo_surface_mark_dirty(s);
	cairo_save(c);
	cairo_translate(c, x, y);
	cairo_scale(c, scale, scale);
	cairo_set_source_surface(c, s, 0, 0);
	cairo_paint(c);
	cairo_restore(c);
	cairo_surface_destroy(s);
}

/* Finds the place of a thing; false when there is none left. */
static bool place(struct moe_sheet *h, double w, double height)
{
	if (h->x + w + GAP > WIDTH) {
		h->x = GAP;
		h->y += h->row + GAP;
		h->row = 0;
	}
	if (h->y + height + GAP > HEIGHT)
		return false;
	h->row = fmax(h->row, height);
	return true;
}

bool moe_sheet_add(struct moe_sheet *h, struct moe_synth *s, const struct moe_synth_sample *p)
{
	double scale = fmin(1, fmin((double)MOST_WIDTH / p->width, (double)MOST_HEIGHT / p->height)), w, high = ceil(p->height * scale);
	size_t lines = p->n_questions < MOST_LINES ? p->n_questions : MOST_LINES;
	char text[CAPTION];
	cairo_t *c = cairo_create(h->surface);
	cairo_text_extents_t e;
	bool placed;

	cairo_set_font_face(c, moe_face_get(s->faces, caption_font(s)));
	cairo_set_font_size(c, 11);
	w = ceil(p->width * scale);
	for (size_t i = 0; i < lines; i++) {
		caption(text, sizeof text, &p->question[i]);
		cairo_text_extents(c, text, &e);
		w = fmax(w, ceil(e.x_advance));
	}
	placed = place(h, w, high + LINE * (double)lines + 3);
	if (placed) {
		paint_picture(c, p, h->x, h->y, scale);
		cairo_set_source_rgb(c, 0, 0, 0);
		for (size_t i = 0; i < lines; i++) {
			caption(text, sizeof text, &p->question[i]);
			cairo_move_to(c, h->x, h->y + high + LINE * (double)(i + 1) - 2);
			cairo_show_text(c, text);
		}
		h->x += w + GAP;
	}
	cairo_destroy(c);
	return placed;
}

/* Rows of cairo's pixels as RGB. */
static void unpack(const struct moe_sheet *h, uint8_t *rgb)
{
	const unsigned char *from = cairo_image_surface_get_data(h->surface);
	size_t stride = (size_t)cairo_image_surface_get_stride(h->surface);

	for (size_t y = 0; y < HEIGHT; y++)
		for (size_t x = 0; x < WIDTH; x++, rgb += 3) {
			uint32_t v;
			memcpy(&v, from + y * stride + 4 * x, sizeof v);
			rgb[0] = (uint8_t)(v >> 16);
			rgb[1] = (uint8_t)(v >> 8);
			rgb[2] = (uint8_t)v;
		}
}

enum moe_err moe_sheet_write(struct moe_sheet *h, uint8_t **bytes, size_t *n, struct moe_diag *d)
{
	uint8_t *rgb = moe_calloc((size_t)WIDTH * HEIGHT, 3);
	struct moe_png *png = NULL;
	const uint8_t *file;
	enum moe_err err = rgb ? moe_png_new(&png, d) : moe_fail(d, MOE_ENOMEM, "out of memory");

	*bytes = NULL;
	cairo_surface_flush(h->surface);
	if (!err) {
		unpack(h, rgb);
		err = moe_png_encode(png, rgb, WIDTH, HEIGHT, &file, n, d);
	}
	if (!err && (*bytes = malloc(*n)))
		memcpy(*bytes, file, *n);
	else if (!err)
		err = moe_fail(d, MOE_ENOMEM, "out of memory");
	moe_png_free(png);
	free(rgb);
	return err;
}

void moe_sheet_free(struct moe_sheet *h)
{
	if (!h)
		return;
	cairo_surface_destroy(h->surface);
	free(h);
}
