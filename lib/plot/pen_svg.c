#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "image/png.h"
#include "plot/pen_priv.h"

struct svg {
	struct moe_pen pen;
	FILE *f;
};

static const char *const class[MOE_N_PAINTS] = {"t", "f", "r", "p"};

/* At most two places. */
static void number(FILE *f, double v)
{
	char text[40];
	size_t n = (size_t)snprintf(text, sizeof text, "%.2f", v);

	while (n && text[n - 1] == '0')
		n--;
	n -= n && text[n - 1] == '.';
	text[n] = 0;
	fputs(!strcmp(text, "-0") ? "0" : text, f);
}

static void attribute(FILE *f, const char *name, double v)
{
	fprintf(f, " %s=\"", name);
	number(f, v);
	fputc('"', f);
}

static void colour(FILE *f, const char *what, struct moe_ink ink)
{
	if (ink.paint == MOE_PAINT_COLOUR)
		fprintf(f, " %s=\"#%02x%02x%02x\"", what, ink.rgb.r, ink.rgb.g, ink.rgb.b);
	else
		fprintf(f, " class=\"%s%s\"", *what == 's' ? "s" : "", class[ink.paint]);
	if (ink.alpha < 1) {
		fprintf(f, " %s-opacity=\"", what);
		number(f, ink.alpha);
		fputc('"', f);
	}
}

void moe_print_xml(FILE *f, const char *s)
{
	unsigned rune;
	char utf8[4];

	for (size_t n; *s; s += n) {
		n = moe_rune_next(s, &rune);
		switch (rune) {
		case '<': fputs("&lt;", f); break;
		case '>': fputs("&gt;", f); break;
		case '&': fputs("&amp;", f); break;
		case '"': fputs("&quot;", f); break;
		default: fwrite(utf8, 1, moe_utf8_put(utf8, rune), f);
		}
	}
}

static void svg_box(struct moe_pen *p, double x, double y, double w, double h, double round, struct moe_ink ink, double width)
{
	FILE *f = ((struct svg *)p)->f;

	fputs("<rect", f);
	attribute(f, "x", x);
	attribute(f, "y", y);
	attribute(f, "width", w);
	attribute(f, "height", h);
	if (round > 0)
		attribute(f, "rx", round);
	colour(f, width > 0 ? "stroke" : "fill", ink);
	if (width > 0) {
		fputs(" fill=\"none\"", f);
		attribute(f, "stroke-width", width);
	}
	fputs("/>", f);
}

static void svg_disc(struct moe_pen *p, double x, double y, double r, struct moe_ink fill)
{
	FILE *f = ((struct svg *)p)->f;

	fputs("<circle", f);
	attribute(f, "cx", x);
	attribute(f, "cy", y);
	attribute(f, "r", r);
	colour(f, "fill", fill);
	fputs("/>", f);
}

static void point(FILE *f, const char *before, double x, double y)
{
	fputs(before, f);
	number(f, x);
	fputc(' ', f);
	number(f, y);
}

static void svg_line(struct moe_pen *p, const double *x, const double *y, size_t n, struct moe_ink ink, double width, bool dashed)
{
	FILE *f = ((struct svg *)p)->f;

	fputs("<path d=\"", f);
	for (size_t i = 0; i < n; i++)
		point(f, i == 0 ? "M" : i == 1 ? "L" : " ", x[i], y[i]);
	fputs("\" fill=\"none\" stroke-linejoin=\"round\" stroke-linecap=\"round\"", f);
	colour(f, "stroke", ink);
	attribute(f, "stroke-width", width);
	fputs(dashed ? " stroke-dasharray=\"5 4\"/>" : "/>", f);
}

static void svg_ribbon(struct moe_pen *p, double x0, double y0, double x1, double y1, double h, struct moe_ink fill)
{
	FILE *f = ((struct svg *)p)->f;
	double middle = (x0 + x1) / 2;

	fputs("<path d=\"", f);
	point(f, "M", x0, y0);
	point(f, "C", middle, y0);
	point(f, " ", middle, y1);
	point(f, " ", x1, y1);
	fputs("v", f);
	number(f, h);
	point(f, "C", middle, y1 + h);
	point(f, " ", middle, y0 + h);
	point(f, " ", x0, y0 + h);
	fputs("z\"", f);
	colour(f, "fill", fill);
	fputs("/>", f);
}

static void svg_text(struct moe_pen *p, double x, double y, const struct moe_type *t, struct moe_ink ink, const char *s)
{
	static const char *const anchor[] = {"", " text-anchor=\"middle\"", " text-anchor=\"end\""};
	FILE *f = ((struct svg *)p)->f;

	fputs("<text", f);
	if (t->turn) {
		fputs(" transform=\"translate(", f);
		point(f, "", x, y);
		fputs(")rotate(", f);
		number(f, t->turn);
		fputs(")\"", f);
	} else {
		attribute(f, "x", x);
		attribute(f, "y", y);
	}
	attribute(f, "font-size", t->size);
	fprintf(f, "%s%s", anchor[t->anchor], t->bold ? " font-weight=\"600\"" : "");
	colour(f, "fill", ink);
	if (t->halo) {
		bool dark = ink.paint == MOE_PAINT_COLOUR && moe_lightness(ink.rgb) < 0.5;
		fprintf(f, " stroke=\"%s\" stroke-opacity=\".55\" stroke-width=\"2\" paint-order=\"stroke\"", dark ? "#fff" : "#000");
	}
	fputs(strchr(s, ' ') ? " xml:space=\"preserve\">" : ">", f);
	moe_print_xml(f, s);
	fputs("</text>", f);
}

static void svg_image(struct moe_pen *p, const struct moe_picture *picture, unsigned n, bool grey, double x, double y, double w, double h)
{
	struct svg *s = (struct svg *)p;

	fprintf(s->f, "<use href=\"#picture%u\"%s transform=\"translate(", n, grey ? " class=\"grey\"" : "");
	point(s->f, "", x, y);
	fputs(")scale(", s->f);
	point(s->f, "", 1000 * w / picture->width, 1000 * h / picture->height);
	fputs(")scale(.001)\"/>", s->f);
}

static void svg_begin(struct moe_pen *p, const struct moe_mark *part)
{
	const struct { const char *name; long v; } data[] = {
		{"token", part->token}, {"layer", part->layer}, {"expert", part->expert}, {"next", part->next}, {"picture", part->picture},
	};
	FILE *f = ((struct svg *)p)->f;

	fputs("<g", f);
	for (size_t i = 0; i < sizeof data / sizeof *data; i++)
		if (data[i].v >= 0)
			fprintf(f, " data-%s=\"%ld\"", data[i].name, data[i].v);
	fputs(">", f);
	if (part->title) {
		fputs("<title>", f);
		moe_print_xml(f, part->title);
		fputs("</title>", f);
	}
}

static void svg_end(struct moe_pen *p) { fputs("</g>\n", ((struct svg *)p)->f); }

static void svg_free(struct moe_pen *p) { free(p); }

enum moe_err moe_pen_svg_new(struct moe_pen **out, FILE *f, struct moe_diag *d)
{
	static const struct moe_pen_ops ops = {svg_box, svg_disc, svg_line, svg_ribbon, svg_text, svg_image, svg_begin, svg_end, svg_free};
	struct svg *s = moe_calloc(1, sizeof *s);

	if (!s)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	s->pen.ops = &ops;
	s->f = f;
	*out = &s->pen;
	return MOE_OK;
}

static void print_base64(FILE *f, const uint8_t *b, size_t n)
{
	static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < n; i += 3) {
		unsigned left = n - i < 3 ? (unsigned)(n - i) : 3, v = (unsigned)b[i] << 16 | (left > 1 ? (unsigned)b[i + 1] << 8 : 0) | (left > 2 ? b[i + 2] : 0);
		fputc(digit[v >> 18], f);
		fputc(digit[v >> 12 & 63], f);
		fputc(left > 1 ? digit[v >> 6 & 63] : '=', f);
		fputc(left > 2 ? digit[v & 63] : '=', f);
	}
}

enum moe_err moe_pen_svg_picture(struct moe_pen *p, const struct moe_picture *picture, unsigned n, struct moe_diag *d)
{
	struct svg *s = (struct svg *)p;
	struct moe_png *png;
	const uint8_t *bytes;
	size_t nbytes;
	enum moe_err err;

	MOE_TRY(moe_png_new(&png, d));
	err = moe_png_encode(png, picture->rgb, picture->width, picture->height, &bytes, &nbytes, d);
	if (!err) {
		fprintf(s->f, "<image id=\"picture%u\" width=\"%u\" height=\"%u\" href=\"data:image/png;base64,", n, picture->width, picture->height);
		print_base64(s->f, bytes, nbytes);
		fputs("\"/>\n", s->f);
	}
	moe_png_free(png);
	return err;
}
