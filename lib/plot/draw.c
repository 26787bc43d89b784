#include "plot/draw_priv.h"

#include <math.h>
#include <string.h>

enum { MARGIN = 24, GAP_X = 32, GAP_Y = 22, MOST = 1120, LEAST = 520, SWATCH = 14, SCALE_WIDTH = 220, SCALE_STEPS = 44 };

/* Text in lines of at most `most`; returns their height. */
static double wrapped(struct moe_pen *p, const char *s, double x, double y, double most, const struct moe_type *t, struct moe_ink ink)
{
	double line = t->size * 1.45, height = 0;
	char text[400];

	while (*s) {
		size_t n = 0, good = 0;
		while (s[n] && n < sizeof text - 1) {
			n += strcspn(s + n + 1, " ") + 1;
			if (n >= sizeof text)
				break;
			memcpy(text, s, n);
			text[n] = 0;
			if (good && moe_text_width(text, t->size, t->bold) > most)
				break;
			good = n;
		}
		if (!good)
			good = strnlen(s, sizeof text - 1);     /* a word that is longer than the line */
		memcpy(text, s, good);
		text[good] = 0;
		moe_pen_text(p, x, y + height + t->size, t, ink, text);
		height += line;
		s += good;
		s += strspn(s, " ");
	}
	return height;
}

static struct moe_extent draw_experts(struct moe_pen *p, const struct moe_figure *f, double x, double y, double most)
{
	const struct moe_type t = {.size = 12};
	double at = x, top = y, widest = 0;

	moe_pen_text(p, at, top + 11.5, &t, moe_ink(MOE_PAINT_FAINT), "expert");
	at += 48;
	for (size_t e = 0; e < f->experts; e++) {
		char name[24];
		double w;
		if (!f->key[e])
			continue;
		snprintf(name, sizeof name, "%zu", e);
		w = SWATCH + 5 + moe_text_width(name, t.size, false) + 12;
		if (at + w > x + most) {
			at = x + 48;
			top += SWATCH + 6;
		}
		moe_pen_begin(p, &(struct moe_mark){NULL, -1, -1, (long)e, -1, -1});
		moe_pen_box(p, at, top, SWATCH, SWATCH, 3, moe_ink_rgb(moe_expert_colour(e), 1));
		moe_pen_text(p, at + SWATCH + 5, top + 11.5, &t, moe_ink(MOE_PAINT_TEXT), name);
		moe_pen_end(p);
		at += w;
		widest = fmax(widest, at - x);
	}
	return (struct moe_extent){widest, top + SWATCH - y};
}

static struct moe_extent draw_scale(struct moe_pen *p, const struct moe_figure *f, double x, double y)
{
	double step = (double)SCALE_WIDTH / SCALE_STEPS, left = moe_text_width(f->scale_end[0], 12, false), right = moe_text_width(f->scale_end[2], 12, false);
	struct moe_type t = {.size = 12};

	moe_pen_text(p, x, y + 10.5, &t, moe_ink(MOE_PAINT_FAINT), f->scale_end[0]);
	for (int i = 0; i < SCALE_STEPS; i++)
		moe_pen_box(p, x + left + 8 + i * step, y, step + (i + 1 < SCALE_STEPS), 12, 0, moe_ink_rgb(moe_scale_colour(&f->scale, (i + 0.5) / SCALE_STEPS), 1));
	moe_pen_frame(p, x + left + 8, y, SCALE_WIDTH, 12, 0, moe_ink(MOE_PAINT_RULE), 1);
	moe_pen_text(p, x + left + 16 + SCALE_WIDTH, y + 10.5, &t, moe_ink(MOE_PAINT_FAINT), f->scale_end[2]);
	if (f->scale_end[1]) {
		double middle = x + left + 8 + SCALE_WIDTH / 2.0;
		double tick_x[] = {middle, middle}, tick_y[] = {y + 12, y + 16};
		moe_pen_line(p, tick_x, tick_y, 2, moe_ink(MOE_PAINT_FAINT), 1, false);
		t.anchor = MOE_ANCHOR_MIDDLE;
		moe_pen_text(p, middle, y + 28, &t, moe_ink(MOE_PAINT_FAINT), f->scale_end[1]);
	}
	return (struct moe_extent){left + right + 16 + SCALE_WIDTH, f->scale_end[1] ? 32 : 14};
}

struct moe_extent moe_key_draw(struct moe_pen *p, const struct moe_figure *f, double x, double y, double most)
{
	if (f->scale.kind != MOE_SCALE_NONE)
		return draw_scale(p, f, x, y);
	return f->key ? draw_experts(p, f, x, y, most) : (struct moe_extent){0, 0};
}

static struct moe_extent draw_kind(struct moe_pen *p, const struct moe_figure *f, const struct moe_facet *facet, double x, double y, double most)
{
	switch (facet->kind) {
	case MOE_FACET_FIELDS: return moe_draw_fields(p, f, facet, x, y, most);
	case MOE_FACET_PICTURE: return moe_draw_picture(p, facet, x, y, most);
	case MOE_FACET_TEXT: return moe_draw_text(p, facet, x, y, most);
	case MOE_FACET_FLOW: return moe_draw_flow(p, facet, x, y, most);
	case MOE_FACET_LINES: return moe_draw_lines(p, facet, x, y, most);
	}
	return (struct moe_extent){0, 0};
}

struct moe_extent moe_facet_draw(struct moe_pen *p, const struct moe_figure *f, const struct moe_facet *facet, double x, double y, double most)
{
	const struct moe_type name = {.size = 13, .bold = true}, about = {.size = 12};
	double w = moe_text_width(facet->name, 13, true), top = 0;
	struct moe_extent e;

	if (*facet->name || facet->about) {
		moe_pen_text(p, x, y + 12, &name, moe_ink(MOE_PAINT_TEXT), facet->name);
		if (facet->about) {
			moe_pen_text(p, x + w + (w > 0 ? 8 : 0), y + 12, &about, moe_ink(MOE_PAINT_FAINT), facet->about);
			w += 8 + moe_text_width(facet->about, 12, false);
		}
		top = 21;
	}
	e = draw_kind(p, f, facet, x, y + top, most);
	return (struct moe_extent){fmax(e.width, w), e.height + top};
}

/* A width at which as many facets as possible stand in each of the rows that are needed: six in two rows of three, not of five and one. */
static double even_width(const struct moe_figure *f, double most)
{
	double widest = 0;
	size_t across, rows;

	for (size_t i = 0; i < f->n_facets; i++)
		widest = fmax(widest, moe_facet_draw(moe_pen_none(), f, &f->facet[i], 0, 0, most).width);
	across = widest > 0 ? (size_t)fmax(1, floor((most + GAP_X) / (widest + GAP_X))) : 1;
	rows = (f->n_facets + across - 1) / across;
	across = rows ? (f->n_facets + rows - 1) / rows : 1;
	return fmin(most, (double)across * (widest + GAP_X));
}

/* All facets, from left to right and from top to bottom. */
static struct moe_extent draw_facets(struct moe_pen *p, const struct moe_figure *f, double x, double y, double most)
{
	double at = 0, top = 0, row = 0, widest = 0;

	most = even_width(f, most);
	for (size_t i = 0; i < f->n_facets; i++) {
		struct moe_extent e = moe_facet_draw(moe_pen_none(), f, &f->facet[i], 0, 0, most);
		if (at > 0 && at + e.width > most) {
			at = 0;
			top += row + GAP_Y;
			row = 0;
		}
		moe_facet_draw(p, f, &f->facet[i], x + at, y + top, most);
		widest = fmax(widest, at + e.width);
		at += e.width + GAP_X;
		row = fmax(row, e.height);
	}
	return (struct moe_extent){widest, top + row};
}

/* A figure within the width w; returns its height. */
static double draw_figure(struct moe_pen *p, const struct moe_figure *f, double x, double y, double w)
{
	const struct moe_type title = {.size = 19, .bold = true}, about = {.size = 13}, reading = {.size = 12};
	double top = y, key;

	top += wrapped(p, f->title, x, top, w, &title, moe_ink(MOE_PAINT_TEXT)) + 2;
	top += wrapped(p, f->about, x, top, w, &about, moe_ink(MOE_PAINT_FAINT)) + 12;
	key = moe_key_draw(p, f, x, top, w).height;
	top += key + (key > 0 ? 18 : 0);
	top += draw_facets(p, f, x, top, fmax(w, MOST)).height + 16;
	top += wrapped(p, f->reading, x, top, w, &reading, moe_ink(MOE_PAINT_FAINT));
	if (f->drawn)
		top += wrapped(p, f->drawn, x, top, w, &reading, moe_ink(MOE_PAINT_FAINT));
	return top - y;
}

static struct moe_extent draw_sheet(struct moe_pen *p, const struct moe_figure *figure, size_t n)
{
	double w = LEAST, top = MARGIN;

	for (size_t i = 0; i < n; i++)
		w = fmax(w, draw_facets(moe_pen_none(), &figure[i], 0, 0, MOST).width);
	for (size_t i = 0; i < n; i++)
		top += (i ? 2 * GAP_Y : 0) + draw_figure(p, &figure[i], MARGIN, top + (i ? 2 * GAP_Y : 0), w);
	return (struct moe_extent){w + 2 * MARGIN, top + MARGIN};
}

const char moe_svg_style[] =
	".t{fill:#1f2328}.f{fill:#5b636e}.r{fill:#c9ced4}.p{fill:#fff}.st{stroke:#1f2328}.sf{stroke:#5b636e}.sr{stroke:#c9ced4}.sp{stroke:#fff}"
	".grey{filter:grayscale(1)}"
	"@media(prefers-color-scheme:dark){.t{fill:#e6e9ee}.f{fill:#9aa3ae}.r{fill:#434a53}.p{fill:#16191d}.st{stroke:#e6e9ee}.sf{stroke:#9aa3ae}.sr{stroke:#434a53}"
	".sp{stroke:#16191d}}";

enum moe_err moe_figure_define(const struct moe_figure *f, struct moe_pen *svg, struct moe_diag *d)
{
	for (size_t i = 0; i < f->n_facets; i++) {
		const struct moe_picture_facet *p = &f->facet[i].picture;
		bool told = f->facet[i].kind != MOE_FACET_PICTURE;
		for (size_t j = 0; j < i && !told; j++)
			told = f->facet[j].kind == MOE_FACET_PICTURE && f->facet[j].picture.number == p->number;
		if (!told)
			MOE_TRY(moe_pen_svg_picture(svg, p->picture, p->number, d));
	}
	return MOE_OK;
}

/* The text that a screen reader says of the sheet. */
static void describe(FILE *f, const struct moe_figure *figure, size_t n)
{
	fputs("<title id=\"title\">", f);
	for (size_t i = 0; i < n; i++) {
		fputs(i ? "; " : "", f);
		moe_print_xml(f, figure[i].title);
	}
	fputs("</title>\n<desc id=\"desc\">", f);
	for (size_t i = 0; i < n; i++) {
		moe_print_xml(f, figure[i].about);
		fputs(" ", f);
		moe_print_xml(f, figure[i].reading);
		if (figure[i].drawn) {
			fputs(" ", f);
			moe_print_xml(f, figure[i].drawn);
		}
		fputs(i + 1 < n ? " " : "", f);
	}
	fputs("</desc>\n", f);
}

enum moe_err moe_figures_svg(FILE *f, const struct moe_figure *figure, size_t n, struct moe_diag *d)
{
	struct moe_extent e = draw_sheet(moe_pen_none(), figure, n);
	struct moe_pen *p;
	enum moe_err err = MOE_OK;

	MOE_TRY(moe_pen_svg_new(&p, f, d));
	fprintf(f, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" height=\"%.0f\" role=\"img\" aria-labelledby=\"title desc\" "
		"font-family=\"system-ui,'Segoe UI',Roboto,'Noto Sans','DejaVu Sans',Arial,sans-serif\">\n", ceil(e.width), ceil(e.height), ceil(e.width), ceil(e.height));
	describe(f, figure, n);
	fprintf(f, "<style>%s</style>\n<defs>", moe_svg_style);
	for (size_t i = 0; i < n && !err; i++)
		err = moe_figure_define(&figure[i], p, d);
	fputs("</defs>\n<rect class=\"p\" width=\"100%\" height=\"100%\"/>\n", f);
	draw_sheet(p, figure, n);
	fputs("</svg>\n", f);
	moe_pen_free(p);
	return err ? err : ferror(f) ? moe_fail_errno(d, "cannot write") : MOE_OK;
}

enum moe_err moe_figures_png(FILE *f, const struct moe_figure *figure, size_t n, double scale, struct moe_diag *d)
{
	struct moe_extent e = draw_sheet(moe_pen_none(), figure, n);
	struct moe_pen *p;
	enum moe_err err;

	MOE_TRY(moe_pen_pixels_new(&p, e.width, e.height, scale, d));
	draw_sheet(p, figure, n);
	err = moe_pen_pixels_write(p, f, d);
	moe_pen_free(p);
	return err;
}
