#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "plot/pen_priv.h"

void moe_pen_box(struct moe_pen *p, double x, double y, double w, double h, double round, struct moe_ink fill)
{
	if (p->ops->box && w > 0 && h > 0)
		p->ops->box(p, x, y, w, h, round, fill, 0);
}

void moe_pen_frame(struct moe_pen *p, double x, double y, double w, double h, double round, struct moe_ink ink, double width)
{
	if (p->ops->box && w > 0 && h > 0)
		p->ops->box(p, x, y, w, h, round, ink, width);
}

void moe_pen_disc(struct moe_pen *p, double x, double y, double r, struct moe_ink fill)
{
	if (p->ops->disc)
		p->ops->disc(p, x, y, r, fill);
}

void moe_pen_line(struct moe_pen *p, const double *x, const double *y, size_t n, struct moe_ink ink, double width, bool dashed)
{
	if (p->ops->line && n)
		p->ops->line(p, x, y, n, ink, width, dashed);
}

void moe_pen_ribbon(struct moe_pen *p, double x0, double y0, double x1, double y1, double h, struct moe_ink fill)
{
	if (p->ops->ribbon)
		p->ops->ribbon(p, x0, y0, x1, y1, h, fill);
}

void moe_pen_text(struct moe_pen *p, double x, double y, const struct moe_type *t, struct moe_ink ink, const char *s)
{
	if (p->ops->text && s && *s)
		p->ops->text(p, x, y, t, ink, s);
}

void moe_pen_image(struct moe_pen *p, const struct moe_picture *picture, unsigned number, bool grey, double x, double y, double w, double h)
{
	if (p->ops->image)
		p->ops->image(p, picture, number, grey, x, y, w, h);
}

void moe_pen_begin(struct moe_pen *p, const struct moe_mark *part)
{
	if (p->ops->begin)
		p->ops->begin(p, part);
}

void moe_pen_end(struct moe_pen *p)
{
	if (p->ops->end)
		p->ops->end(p);
}

void moe_pen_free(struct moe_pen *p)
{
	if (p && p->ops->free)
		p->ops->free(p);
}

struct moe_pen *moe_pen_none(void)
{
	static const struct moe_pen_ops ops;
	static struct moe_pen none = {&ops};

	return &none;
}

struct moe_rgb moe_paint_light(enum moe_paint p)
{
	static const struct moe_rgb rgb[MOE_N_PAINTS] = {{0x1f, 0x23, 0x28}, {0x5b, 0x63, 0x6e}, {0xc9, 0xce, 0xd4}, {0xff, 0xff, 0xff}};

	return rgb[p];
}

size_t moe_rune_next(const char *s, unsigned *rune)
{
	bool good;
	size_t left = strnlen(s, 4), n = moe_utf8_step(s, left, &good);

	*rune = good ? moe_utf8_get(s, n) : 0xfffd;
	if (*rune < 0x20 || (*rune >= 0x7f && *rune < 0xa0) || *rune == 0xfffe || *rune == 0xffff)
		*rune = 0xfffd;
	return n;
}

/* Advances of ' ' to '~' in hundredths of the size: the wider of DejaVu Sans and Liberation Sans (Arial's). */
static const unsigned char advance[] = {
	32, 41, 46, 84, 64, 95, 78, 28, 39, 39, 50, 84, 32, 37, 32, 34, 64, 64, 64, 64, 64, 64, 64, 64,
	64, 64, 34, 34, 84, 84, 84, 56, 102, 69, 69, 73, 77, 67, 62, 78, 76, 30, 50, 67, 56, 87, 75, 79,
	67, 79, 73, 67, 62, 74, 69, 99, 69, 67, 69, 39, 34, 39, 84, 56, 50, 62, 64, 55, 64, 62, 36, 64,
	64, 28, 28, 58, 28, 98, 64, 62, 64, 64, 42, 53, 40, 64, 60, 82, 60, 60, 53, 64, 34, 64, 84,
};

double moe_text_width(const char *s, double size, bool bold)
{
	double sum = 0;
	unsigned rune;

	for (; *s; s += moe_rune_next(s, &rune)) {
		moe_rune_next(s, &rune);
		sum += rune >= ' ' && rune <= '~' ? advance[rune - ' '] : rune >= 0x1100 ? 100 : 62;
	}
	return sum * size / 100 * (bold ? 1.13 : 1);
}
