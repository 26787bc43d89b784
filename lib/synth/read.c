/* The task `read`: a short string as it stands on a screen, in a terminal, on a label, in a crop of its natural size. (No expression draws twice: the order
 * would be the compiler's.) */
#include <math.h>
#include <string.h>

#include "image/outline.h"
#include "synth/effects.h"
#include "synth/strings.h"

enum { N = MOE_LONGEST_STRING, LEAST_CONTRAST = 60, LEAST_SIZE = 11, MOST_SIZE = 44 };

enum style { TERMINAL, SCREEN, LABEL };
static const char *const style_names[] = {"terminal", "screen", "label"};

struct colour {
	double c[3];            /* 0 to 255 */
};

struct rect {
	double x0, y0, x1, y1;
};

struct look {
	enum style style;
	const struct moe_font *font;
	double size;            /* pixels of the em */
	struct colour ink, ground;
	bool seen_colours;
	cairo_antialias_t antialias;
	cairo_hint_style_t hinting;
	bool outlines;          /* filled outlines, at fractions of pixels; else glyphs as the font's hints fit them to pixels */
	bool kerning;
	double weight;          /* added to outlines, pixels */
	double spacing;         /* between characters, pixels */
	cairo_matrix_t turn;    /* rotation, shear and width */
};

/* A line of text at the origin, y downwards. */
struct line {
	char text[N + 1];
	size_t n;
	cairo_glyph_t glyph[N];
	double edge[N + 1];     /* where characters begin, and the last one ends */
	struct rect ink, box;   /* what is black; from the first to the last edge and from ascent to descent, with the ink */
};

/* ---- colours ---- */

static double luminance(const struct colour *a) { return 0.30 * a->c[0] + 0.59 * a->c[1] + 0.11 * a->c[2]; }

static struct colour of_bytes(unsigned rgb) { return (struct colour){{rgb >> 16 & 255, rgb >> 8 & 255, rgb & 255}}; }

static struct colour jitter(struct moe_draw *r, struct colour a, int most)
{
	for (int i = 0; i < 3; i++)
		a.c[i] = fmin(255, fmax(0, a.c[i] + moe_draw_between(r, -most, most)));
	return a;
}

static void terminal_colours(struct moe_draw *r, struct look *l)
{
	static const unsigned ground[] = {
		0x000000, 0x000000, 0x1e1e1e, 0x282a36, 0x002b36, 0x0c0c0c, 0x300a24, 0x1d2021, 0x2e3440, 0x272822, 0x1a1b26, 0x0d1117, 0xffffff,
		0xfdf6e3, 0xfafafa, 0xeff1f5,
	};
	static const unsigned bright[] = {
		0xcccccc, 0xffffff, 0xd3d7cf, 0xf8f8f2, 0xeeeeec, 0x839496, 0x00cd00, 0xcd0000, 0xcdcd00, 0x55aaff, 0xcd00cd, 0x00cdcd, 0xff5555,
		0x55ff55, 0xffb86c, 0x8be9fd, 0xbd93f9, 0x50fa7b, 0xf1fa8c, 0xa3be8c, 0x88c0d0, 0x729fcf, 0x8ae234, 0xfce94f,
	};
	static const unsigned dark[] = {
		0x000000, 0x222222, 0x383a42, 0x586e75, 0x657b83, 0x0000cd, 0xcd0000, 0x006400, 0x4078f2, 0xa626a4, 0xd33682, 0x268bd2, 0xcb4b16,
		0x50a14f,
	};

	l->ground = jitter(r, of_bytes(MOE_PICK(r, ground)), 6);
	l->ink = jitter(r, of_bytes(luminance(&l->ground) < 128 ? MOE_PICK(r, bright) : MOE_PICK(r, dark)), 16);
	if (moe_draw_chance(r, 0.12)) {         /* selected */
		struct colour kept = l->ink;
		l->ink = l->ground;
		l->ground = kept;
	}
}

static struct colour any_colour(struct moe_draw *r)
{
	struct colour a;

	for (int i = 0; i < 3; i++)
		a.c[i] = moe_draw_below(r, 256);
	return a;
}

static struct colour grey(struct moe_draw *r, int low, int high, int tint)
{
	double v = moe_draw_between(r, low, high);

	return jitter(r, (struct colour){{v, v, v}}, tint);
}

static void plain_colours(struct moe_draw *r, struct look *l)
{
	double u = moe_draw_unit(r);
	bool inverse = moe_draw_chance(r, 0.33);
	struct colour dark, light;

	if (u < 0.18) {
		dark = of_bytes(0);
		light = of_bytes(0xffffff);
	} else if (u < 0.62) {          /* almost grey */
		dark = grey(r, 0, 100, 30);
		light = grey(r, 165, 255, 20);
	} else if (u < 0.74) {          /* a coloured button, a link */
		dark = any_colour(r);
		light = grey(r, 235, 255, 4);
		inverse = moe_draw_chance(r, 0.6);
	} else {
		dark = any_colour(r);
		light = any_colour(r);
	}
	l->ink = inverse ? light : dark;
	l->ground = inverse ? dark : light;
}

/* Of each twenty pairs of colours, with 64 colours told apart, one is kept out of all splits but `unseen`; not pairs of greys. */
static bool is_unseen_pair(const struct look *l)
{
	char key[8];

	for (int i = 0; i < 3; i++) {
		key[i] = (char)('0' + (int)l->ink.c[i] / 64);
		key[3 + i] = (char)('0' + (int)l->ground.c[i] / 64);
	}
	key[6] = 0;
	if (key[0] == key[1] && key[1] == key[2] && key[3] == key[4] && key[4] == key[5])
		return false;
	return moe_synth_is_of(MOE_SYNTH_DEV, "read colours", key);
}

static void draw_colours(struct moe_synth *s, struct moe_draw *r, struct look *l)
{
	bool unseen = s->split == MOE_SYNTH_UNSEEN && moe_draw_chance(r, 0.5);

	for (;;) {
		if (l->style == TERMINAL)
			terminal_colours(r, l);
		else
			plain_colours(r, l);
		if (fabs(luminance(&l->ink) - luminance(&l->ground)) < LEAST_CONTRAST)
			continue;
		l->seen_colours = !is_unseen_pair(l);
		if (l->seen_colours != unseen || (unseen && moe_draw_chance(r, 0.002)))
			return;
	}
}

/* ---- how it is set ---- */

static void draw_turn(struct moe_draw *r, struct look *l)
{
	double angle, shear, wide;

	cairo_matrix_init_identity(&l->turn);
	if (l->font->flags & MOE_FONT_BITMAP || !moe_draw_chance(r, l->style == LABEL ? 0.5 : 0.04))
		return;
	angle = moe_draw_real(r, -3, 3) * 3.141592653589793 / 180;
	shear = moe_draw_chance(r, 0.5) ? moe_draw_real(r, -0.18, 0.18) : 0;
	wide = moe_draw_chance(r, 0.3) ? moe_draw_log(r, 0.82, 1.2) : 1;
	cairo_matrix_init(&l->turn, wide * cos(angle), wide * sin(angle), shear * cos(angle) - sin(angle), shear * sin(angle) + cos(angle), 0, 0);
	l->outlines = true;
}

static void draw_size(struct moe_draw *r, struct look *l)
{
	l->size = moe_draw_log(r, LEAST_SIZE, MOST_SIZE);
	if (l->font->flags & MOE_FONT_BITMAP)
		l->size = l->font->strike[moe_draw_below(r, l->font->n_strikes)];
	else if (l->size < 9.5 || moe_draw_chance(r, 0.75))
		l->size = floor(l->size + 0.5);
}

static void draw_hinting(struct moe_draw *r, struct look *l)
{
	static const cairo_hint_style_t hinting[] = {CAIRO_HINT_STYLE_SLIGHT, CAIRO_HINT_STYLE_SLIGHT, CAIRO_HINT_STYLE_FULL, CAIRO_HINT_STYLE_NONE};
	double u = moe_draw_unit(r);

	l->hinting = MOE_PICK(r, hinting);
	l->antialias =
		u < (l->style == LABEL ? 0.02 : 0.2) ? CAIRO_ANTIALIAS_SUBPIXEL : u > 0.94 && l->size >= 12 ? CAIRO_ANTIALIAS_NONE : CAIRO_ANTIALIAS_GRAY;
	if (l->antialias == CAIRO_ANTIALIAS_NONE)
		l->hinting = CAIRO_HINT_STYLE_FULL;
}

static struct look draw_look(struct moe_synth *s, struct moe_draw *r)
{
	struct look l = {0};
	double u = moe_draw_unit(r);

	l.style = u < 0.22 ? TERMINAL : u < 0.62 ? SCREEN : LABEL;
	l.font = l.style == TERMINAL ? moe_synth_font(s, r, MOE_FONT_MONO, 0) : moe_synth_font(s, r, 0, moe_draw_chance(r, 0.6) ? MOE_FONT_MONO : 0);
	draw_size(r, &l);
	draw_colours(s, r, &l);
	draw_hinting(r, &l);
	l.kerning = l.style != TERMINAL && moe_draw_chance(r, 0.6);
	l.outlines = !(l.font->flags & MOE_FONT_BITMAP) && moe_draw_chance(r, l.style == LABEL ? 0.6 : l.style == SCREEN ? 0.2 : 0.05);
	if (l.style != TERMINAL && moe_draw_chance(r, 0.1))
		l.spacing = moe_draw_real(r, -0.02, 0.14) * l.size;
	draw_turn(r, &l);
	if (l.outlines && moe_draw_chance(r, 0.08))     /* ink that ran */
		l.weight = moe_draw_real(r, 0.01, 0.04) * l.size;
	return l;
}

/* A string that the font draws as no other one. */
static void draw_text(struct moe_synth *s, struct moe_draw *r, const struct moe_font *f, struct line *line, const char **kind)
{
	bool clear;

	do {
		*kind = moe_string_draw(r, s->split, line->text);
		clear = true;
		for (const char *c = line->text; *c; c++)
			clear &= moe_string_has_context(*kind) ? !moe_font_has_twin(f, *c) : moe_font_is_clear(f, *c);
	} while (!clear);
	line->n = strlen(line->text);
}

static void extend(struct rect *a, double x0, double y0, double x1, double y1)
{
	a->x0 = fmin(a->x0, x0);
	a->y0 = fmin(a->y0, y0);
	a->x1 = fmax(a->x1, x1);
	a->y1 = fmax(a->y1, y1);
}

static cairo_scaled_font_t *scaled_font(struct moe_synth *s, const struct look *l)
{
	cairo_font_options_t *o = cairo_font_options_create();
	cairo_scaled_font_t *f;
	cairo_matrix_t size, identity;

	cairo_matrix_init_scale(&size, l->size, l->size);
	cairo_matrix_init_identity(&identity);
	cairo_font_options_set_antialias(o, l->antialias);
	cairo_font_options_set_hint_style(o, l->outlines ? CAIRO_HINT_STYLE_NONE : l->hinting);
	cairo_font_options_set_hint_metrics(o, l->outlines ? CAIRO_HINT_METRICS_OFF : CAIRO_HINT_METRICS_ON);
	f = cairo_scaled_font_create(moe_face_get(s->faces, l->font), &size, &identity, o);
	cairo_font_options_destroy(o);
	return f;
}

/* Sets the text at the origin. */
static void lay(struct moe_synth *s, const struct look *l, cairo_scaled_font_t *f, struct line *line)
{
	cairo_font_extents_t font;
	double x = 0;

	line->ink = (struct rect){1e9, 1e9, -1e9, -1e9};
	for (size_t i = 0; i < line->n; i++) {
		cairo_text_extents_t e;
		if (i && l->kerning)
			x += moe_face_kerning(s->faces, l->font, line->text[i - 1], line->text[i]) * l->size;
		line->glyph[i] = (cairo_glyph_t){moe_face_glyph(s->faces, l->font, line->text[i]), x, 0};
		line->edge[i] = x;
		cairo_scaled_font_glyph_extents(f, &line->glyph[i], 1, &e);
		if (line->text[i] != ' ')
			extend(&line->ink, x + e.x_bearing, e.y_bearing, x + e.x_bearing + e.width, e.y_bearing + e.height);
		x += e.x_advance + l->spacing;
	}
	line->edge[line->n] = x - l->spacing;
	cairo_scaled_font_extents(f, &font);
	line->box = (struct rect){0, -font.ascent, line->edge[line->n], font.descent};
	extend(&line->box, line->ink.x0, line->ink.y0, line->ink.x1, line->ink.y1);
}

/* ---- the crop ---- */

/* The turned rectangle's bounds. */
static struct rect bounds_of(const cairo_matrix_t *turn, const struct rect *a)
{
	struct rect b = {1e9, 1e9, -1e9, -1e9};

	for (int i = 0; i < 4; i++) {
		double x = i & 1 ? a->x1 : a->x0, y = i & 2 ? a->y1 : a->y0;
		cairo_matrix_transform_point(turn, &x, &y);
		extend(&b, x, y, x, y);
	}
	return b;
}

/* A canvas four times as wide as high, with the text anywhere in it. */
static struct rect around_anywhere(struct moe_draw *r, const struct rect *b)
{
	double w = b->x1 - b->x0, h = b->y1 - b->y0, height = fmax(h * moe_draw_real(r, 1.1, 2.2), (w + 6) / 4), left, top;

	left = moe_draw_real(r, 0, 4 * height - w);
	top = moe_draw_real(r, 0, height - h);
	return (struct rect){b->x0 - left, b->y0 - top, b->x0 - left + 4 * height, b->y0 - top + height};
}

static struct rect around(struct moe_draw *r, const struct rect *b, double low, double high)
{
	struct rect a;

	a.x0 = b->x0 - moe_draw_real(r, low, high);
	a.y0 = b->y0 - moe_draw_real(r, low, high);
	a.x1 = b->x1 + moe_draw_real(r, low, high);
	a.y1 = b->y1 + moe_draw_real(r, low, high);
	return a;
}

/* What of the plane becomes the picture. A string that only its place on the line tells from another one keeps its line. */
static struct rect draw_crop(struct moe_draw *r, const struct look *l, const struct line *line)
{
	bool needs_line = moe_string_needs_line(line->text);
	struct rect ink = bounds_of(&l->turn, &line->ink), box = bounds_of(&l->turn, &line->box), a;
	double u = moe_draw_unit(r), leading;

	if (needs_line || u < 0.4) {
		a = around(r, &box, 0, 0.2 * l->size);
		leading = needs_line ? 0.03 * l->size : moe_draw_real(r, 0, moe_draw_chance(r, 0.7) ? 0.12 : 0.35) * l->size;
		a.y0 = box.y0 - leading;
		a.y1 = box.y1 + leading * (needs_line ? 1 : moe_draw_real(r, 0.5, 1));
		return a;
	}
	if (u < 0.62)
		return around(r, &ink, 0.5, 0.5 + 0.15 * l->size);
	if (u < 0.85)
		return around(r, &ink, 1, 1 + 0.7 * l->size);
	return around_anywhere(r, &ink);
}

/* ---- drawing ---- */

static void set_colour(cairo_t *c, const struct colour *a) { cairo_set_source_rgb(c, a->c[0] / 255, a->c[1] / 255, a->c[2] / 255); }

static struct colour mixed(const struct colour *a, const struct colour *b, double t)
{
	struct colour m;

	for (int i = 0; i < 3; i++)
		m.c[i] = a->c[i] + (b->c[i] - a->c[i]) * t;
	return m;
}

/* A button, a cell, a label's edge: another colour around the line's box, as far as the crop shows it. */
static void draw_surround(cairo_t *c, struct moe_draw *r, const struct look *l, const struct rect *crop, const struct line *line)
{
	struct rect b = bounds_of(&l->turn, &line->box);
	double pad = moe_draw_real(r, 0.12, 0.4) * l->size, w = crop->x1 - crop->x0, h = crop->y1 - crop->y0;
	struct colour outside = moe_draw_chance(r, 0.5) ? mixed(&l->ground, &l->ink, moe_draw_real(r, 0.08, 0.3)) : grey(r, 0, 255, 20);

	set_colour(c, &outside);
	cairo_paint(c);
	moe_outline_box(c, floor(b.x0 - crop->x0 - pad), floor(b.y0 - crop->y0 - pad),
		ceil(fmin(w + 40, b.x1 - b.x0 + 2 * pad)), ceil(fmin(h + 40, b.y1 - b.y0 + 2 * pad)),
		moe_draw_chance(r, 0.5) ? moe_draw_real(r, 0, 0.4) * l->size : 0);
	set_colour(c, &l->ground);
	cairo_fill(c);
}

static void draw_ground(cairo_t *c, struct moe_draw *r, const struct look *l, const struct rect *crop, const struct line *line)
{
	double h = crop->y1 - crop->y0;

	if (moe_draw_chance(r, l->style == SCREEN ? 0.16 : 0.06)) {
		draw_surround(c, r, l, crop, line);
		return;
	}
	set_colour(c, &l->ground);
	if (l->style != TERMINAL && moe_draw_chance(r, 0.1)) {
		cairo_pattern_t *p = cairo_pattern_create_linear(0, 0, 0, h);
		double by = moe_draw_real(r, -22, 22);
		for (int i = 0; i < 2; i++) {
			double k = i ? by : -by;
			cairo_pattern_add_color_stop_rgb(p, i, (l->ground.c[0] + k) / 255, (l->ground.c[1] + k) / 255, (l->ground.c[2] + k) / 255);
		}
		cairo_set_source(c, p);
		cairo_pattern_destroy(p);
	}
	cairo_paint(c);
}

/* Lines that belong to what is around the text. */
static void draw_rules(cairo_t *c, struct moe_draw *r, const struct look *l, const struct line *line, int w, int h)
{
	struct colour a = mixed(&l->ground, &l->ink, moe_draw_chance(r, 0.5) ? 1 : moe_draw_real(r, 0.3, 0.8));
	double width = fmax(1, floor(l->size / 16)), y;

	set_colour(c, &a);
	cairo_set_line_width(c, width);
	if (!strchr(line->text, '_') && moe_draw_chance(r, 0.6)) {      /* under the text, along it */
		y = fmax(line->box.y1 * 0.35, line->ink.y1 > 0 && line->ink.y1 < 0.1 * l->size ? line->ink.y1 : 0);
		y += width + moe_draw_real(r, 0, 0.08) * l->size;
		if (!l->outlines)
			y = floor(y) + fmod(width, 2) / 2;
		cairo_move_to(c, line->edge[0], y);
		cairo_line_to(c, line->edge[line->n], y);
	} else {                                /* the frame of a field */
		cairo_identity_matrix(c);
		if (moe_draw_chance(r, 0.5))
			cairo_rectangle(c, width / 2, width / 2, w - width, h - width);
		else
			cairo_rectangle(c, -width, moe_draw_chance(r, 0.5) ? width / 2 : -width, w + 2 * width, h);
	}
	cairo_stroke(c);
}

static void show(cairo_t *c, const struct look *l, const struct line *line)
{
	if (l->outlines) {
		cairo_glyph_path(c, line->glyph, (int)line->n);
		if (l->weight > 0) {
			cairo_set_line_width(c, l->weight);
			cairo_stroke_preserve(c);
		}
		cairo_fill(c);
	} else {
		cairo_show_glyphs(c, line->glyph, (int)line->n);
	}
}

/* A shadow, or an edge as subtitles have it. */
static void draw_behind(cairo_t *c, struct moe_draw *r, const struct look *l, const struct line *line)
{
	struct colour black = of_bytes(luminance(&l->ink) > luminance(&l->ground) ? 0 : 0xffffff), a = mixed(&l->ground, &black, moe_draw_real(r, 0.3, 1));

	set_colour(c, &a);
	cairo_save(c);
	if (moe_draw_chance(r, 0.5) || l->font->flags & MOE_FONT_BITMAP) {
		cairo_translate(c, fmax(1, floor(l->size / 20)), fmax(1, floor(l->size / 20)));
		show(c, l, line);
	} else {
		cairo_glyph_path(c, line->glyph, (int)line->n);
		cairo_set_line_width(c, l->size / 10);
		cairo_set_line_join(c, CAIRO_LINE_JOIN_ROUND);
		cairo_stroke(c);
	}
	cairo_restore(c);
}

/* A block behind the text, where the crop has room for all of it: half of one would look like a character. */
static void draw_cursor(cairo_t *c, const struct look *l, const struct line *line, const struct rect *crop)
{
	double x = floor(line->edge[line->n] + 0.15 * l->size), w = floor(0.6 * l->size);

	if (x + w + 1 > crop->x1)
		return;
	set_colour(c, &l->ink);
	cairo_rectangle(c, x, line->box.y0, w, line->box.y1 - line->box.y0);
	cairo_fill(c);
}

/* Draws on a canvas of the crop's size; *at becomes the map from the line to pixels. */
static cairo_t *draw(struct moe_synth *s, struct moe_draw *r, const struct look *l, cairo_scaled_font_t *f, const struct line *line, const struct rect *crop,
		     cairo_matrix_t *at)
{
	int w = (int)fmax(2, ceil(crop->x1 - crop->x0)), h = (int)fmax(2, ceil(crop->y1 - crop->y0));
	cairo_t *c = moe_synth_canvas(s, (uint32_t)w, (uint32_t)h);

	if (!c)
		return NULL;
	*at = l->turn;
	at->x0 = l->outlines ? -crop->x0 : floor(0.5 - crop->x0);
	at->y0 = l->outlines ? -crop->y0 : floor(0.5 - crop->y0);
	draw_ground(c, r, l, crop, line);
	cairo_set_matrix(c, at);
	cairo_set_scaled_font(c, f);
	if (l->style != TERMINAL && l->size > 14 && moe_draw_chance(r, 0.05))
		draw_behind(c, r, l, line);
	if (l->style == TERMINAL && moe_draw_chance(r, 0.15))
		draw_cursor(c, l, line, crop);
	set_colour(c, &l->ink);
	show(c, l, line);
	if (moe_draw_chance(r, 0.07))
		draw_rules(c, r, l, line, w, h);
	return c;
}

/* A screen that was enlarged or reduced. */
static cairo_t *rescaled(struct moe_synth *s, struct moe_draw *r, const struct look *l, cairo_t *c, cairo_matrix_t *at)
{
	cairo_surface_t *old = cairo_get_target(c);
	int w = cairo_image_surface_get_width(old), h = cairo_image_surface_get_height(old), nw, nh;
	bool whole = moe_draw_chance(r, 0.25);
	double k = whole ? moe_draw_between(r, 2, l->size < 20 ? 3 : 2) : moe_draw_log(r, fmax(0.5, 9.5 / l->size), l->size < 22 ? 2.5 : 1.3);
	cairo_matrix_t scale;
	cairo_t *new;

	nw = (int)fmax(2, floor(k * w + 0.5));
	nh = (int)fmax(2, floor(k * h + 0.5));
	new = moe_synth_canvas(s, (uint32_t)nw, (uint32_t)nh);
	if (!new)
		return c;
	cairo_matrix_init_scale(&scale, (double)nw / w, (double)nh / h);
	cairo_set_matrix(new, &scale);
	cairo_set_source_surface(new, old, 0, 0);
	cairo_pattern_set_filter(cairo_get_source(new),
				 whole ? CAIRO_FILTER_NEAREST : k < 1 || moe_draw_chance(r, 0.5) ? CAIRO_FILTER_GOOD : CAIRO_FILTER_BILINEAR);
	cairo_pattern_set_extend(cairo_get_source(new), CAIRO_EXTEND_PAD);
	cairo_paint(new);
	cairo_destroy(c);
	cairo_matrix_multiply(at, at, &scale);
	return new;
}

static enum moe_err damage(struct moe_draw *r, const struct look *l, const struct line *line, struct moe_synth_sample *out, struct moe_diag *d)
{
	static const double deviations[] = {1.5, 2, 3, 4, 6, 8};
	double often = l->style == LABEL ? 1 : 0.25, high = (line->ink.y1 - line->ink.y0);

	if (moe_draw_chance(r, 0.35 * often))
		moe_effect_blur(out, moe_draw_real(r, 0.02, 0.065) * fmin(l->size, 1.3 * fmax(high, 6)));
	if (moe_draw_chance(r, 0.55 * often)) {
		double tint[3], x = moe_draw_real(r, -20, 20), y = moe_draw_real(r, -14, 14);
		for (int i = 0; i < 3; i++)
			tint[i] = moe_draw_real(r, 0.85, 1.15);
		moe_effect_slope(out, x, y, tint);
	}
	if (moe_draw_chance(r, 0.6 * often)) {
		double deviation = MOE_PICK(r, deviations);
		moe_effect_noise(out, r, deviation, moe_draw_chance(r, 0.7));
	}
	if (moe_draw_chance(r, 0.3 * often))
		return moe_effect_jpeg(out, moe_draw_between(r, 35, 92), d);
	return MOE_OK;
}

/* ---- what is said about it ---- */

/* One box for each character: as wide as its advance, as high as the string's ink; turned, it keeps its size around its turned middle. */
static void add_boxes(const struct line *line, const cairo_matrix_t *at, struct moe_synth_sample *out)
{
	double w = out->width, h = out->height, sx = hypot(at->xx, at->yx), sy = fabs(at->yy);

	for (size_t i = 0; i < line->n; i++) {
		double half = (line->edge[i + 1] - line->edge[i]) / 2, high = (line->ink.y1 - line->ink.y0) / 2;
		double x = line->edge[i] + half, y = line->ink.y0 + high, x0, y0;
		if (line->text[i] == ' ')
			continue;
		cairo_matrix_transform_point(at, &x, &y);
		x0 = fmin(w - 0.5, fmax(0, x - half * sx));
		y0 = fmin(h - 0.5, fmax(0, y - high * sy));
		moe_synth_box(out, moe_synth_text(out, "%c", line->text[i]), x0, y0,
			      fmax(x0 + 0.5, fmin(w, x + half * sx)), fmax(y0 + 0.5, fmin(h, y + high * sy)));
	}
}

static void describe(const struct look *l, const struct line *line, const char *kind, const cairo_matrix_t *at, struct moe_synth_sample *out)
{
	const char *text = moe_synth_text(out, "%s", line->text);

	moe_synth_tag(out, "style", style_names[l->style]);
	moe_synth_tag(out, "text", kind);
	moe_synth_tag(out, "length", moe_synth_text(out, "%zu", line->n));
	moe_synth_tag(out, "font", l->font->name);
	moe_synth_tag(out, "group", l->font->group);
	moe_synth_tag(out, "colours", l->seen_colours ? "seen" : "unseen");
	moe_synth_ask(out, "read", "<read>", text, true);
	add_boxes(line, at, out);
}

static enum moe_err make(struct moe_synth *s, struct moe_draw *r, struct moe_synth_sample *out, struct moe_diag *d)
{
	struct look l = draw_look(s, r);
	struct line line = {0};
	cairo_scaled_font_t *f;
	cairo_matrix_t at;
	struct rect crop;
	const char *kind;
	cairo_t *c;

	if (!moe_face_get(s->faces, l.font))
		return moe_fail(d, MOE_EIO, "the font %s cannot be opened; `apt-get install %s` installs it", l.font->path, l.font->package);
	draw_text(s, r, l.font, &line, &kind);
	f = scaled_font(s, &l);
	lay(s, &l, f, &line);
	crop = draw_crop(r, &l, &line);
	c = draw(s, r, &l, f, &line, &crop, &at);
	cairo_scaled_font_destroy(f);
	if (c && moe_draw_chance(r, l.style == LABEL ? 0.05 : 0.14))
		c = rescaled(s, r, &l, c, &at);
	MOE_TRY(moe_synth_canvas_take(c, out, d));
	describe(&l, &line, kind, &at, out);
	return damage(r, &l, &line, out, d);
}

const struct moe_synth_task moe_task_read = {.name = "read", .share = 3, .make = make};
