/* Seven-segment displays. A digit is 1 wide and 1.8 high; segments are named a (top), clockwise to f, and g (middle). */
#include "synth/panel_priv.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const styles[] = {"led", "led-slanted", "lcd", "lcd-backlit", "thin"};
enum { LED, LED_SLANTED, LCD, LCD_BACKLIT, THIN };

enum { A = 1, B = 2, C = 4, D = 8, E = 16, F = 32, G = 64 };
static const unsigned char digits[10] = {A | B | C | D | E | F, B | C, A | B | D | E | G, A | B | C | D | G, B | C | F | G, A | C | D | F | G,
	A | C | D | E | F | G, A | B | C, A | B | C | D | E | F | G, A | B | C | D | F | G};
static const double HEIGHT = 1.8, GAP = 0.34, MARK = 0.34, UNIT = 0.9;

struct look {
	struct moe_ink ground, lit, unlit;
	double thick, slant, split;     /* split: between segments */
};

static void compose_time(char *text, struct moe_draw *r)
{
	unsigned hour = (unsigned)moe_draw_below(r, 24), minute = (unsigned)moe_draw_below(r, 60), second = (unsigned)moe_draw_below(r, 60);
	bool zero = moe_draw_chance(r, 0.5);

	if (moe_draw_chance(r, 0.3))
		snprintf(text, MOE_PANEL_MOST_TEXT, "%02u:%02u:%02u", hour, minute, second);
	else
		snprintf(text, MOE_PANEL_MOST_TEXT, zero ? "%02u:%02u" : "%u:%02u", hour, minute);
}

/* Digits with a sign and a point by chance; no leading zeros but those of counters. */
static void compose_number(char *text, struct moe_draw *r, unsigned most, double signs, double points)
{
	unsigned n = 1 + (unsigned)moe_draw_below(r, most), point = n > 1 && moe_draw_chance(r, points) ? 1 + (unsigned)moe_draw_below(r, n < 4 ? n - 1 : 3) : 0;
	bool counter = n > 2 && !point && moe_draw_chance(r, 0.15), negative = !counter && n < 6 && moe_draw_chance(r, signs);
	char *to = text;

	if (negative)
		*to++ = '-';
	for (unsigned i = 0; i < n; i++) {
		bool zero = counter || i > 0 || n == 1 || point == n - 1;
		if (point && i == n - point)
			*to++ = '.';
		*to++ = (char)(zero ? '0' + moe_draw_below(r, 10) : '1' + moe_draw_below(r, 9));
	}
	*to = 0;
	if (negative && !strpbrk(text, "123456789"))
		memmove(text, text + 1, strlen(text));  /* no -0 */
}

static unsigned places(const char *text)
{
	unsigned n = 0;

	for (; *text; text++)
		n += *text != ':' && *text != '.';
	return n;
}

static void compose(struct moe_panel *p, struct moe_draw *r)
{
	static const double weight[] = {0.4, 0.4, 0.2};
	struct moe_panel_display *s = &p->display;

	s->what = (enum moe_panel_text)moe_draw_weighted(r, weight, 3);
	switch (s->what) {
	case MOE_PANEL_TIME:
		compose_time(s->text, r);
		break;
	case MOE_PANEL_NUMBER:
		compose_number(s->text, r, 6, 0.2, 0.4);
		break;
	default:
		compose_number(s->text, r, 3, 0.25, 0.6);
	}
	unsigned n = places(s->text);
	s->blank = s->what != MOE_PANEL_TIME && n < 6 && moe_draw_chance(r, 0.35) ? 1 + (unsigned)moe_draw_below(r, 6 - n) : 0;
	if (n + s->blank + (s->what == MOE_PANEL_TEMPERATURE) <= 4 && moe_draw_chance(r, 0.5))
		moe_panel_square(p);
	else
		moe_panel_wide(p, r);
}

static const char *key(struct moe_synth_sample *out, const struct moe_panel *p)
{
	(void)out;
	return p->display.text[1] ? p->display.text : NULL;
}

static struct look draw_look(const struct moe_panel *p, struct moe_draw *r)
{
	static const struct moe_ink led[] = {{255, 45, 30}, {255, 45, 30}, {70, 245, 90}, {80, 160, 255}, {255, 175, 40}, {240, 245, 255}, {70, 240, 235}};
	static const struct moe_ink back[] = {{35, 70, 190}, {25, 120, 70}, {40, 90, 140}, {110, 40, 40}, {60, 60, 70}};
	struct look look = {.thick = moe_draw_real(r, 0.2, 0.27)};
	double tone;

	look.split = moe_draw_real(r, 0.02, 0.05);
	switch (p->style) {
	case LED:
	case LED_SLANTED:
		tone = moe_draw_real(r, 0, 35);
		look.ground = moe_ink_jitter(r, (struct moe_ink){tone, tone, tone}, 8);
		look.lit = moe_ink_jitter(r, MOE_PICK(r, led), 15);
		look.slant = p->style == LED_SLANTED ? moe_draw_real(r, 0.08, 0.16) : 0;
		break;
	case LCD_BACKLIT:
		look.ground = moe_ink_jitter(r, MOE_PICK(r, back), 20);
		look.lit = moe_ink_jitter(r, (struct moe_ink){235, 240, 245}, 15);
		break;
	case THIN:      /* grey-yellow with thin, slanted strokes */
		look.ground = moe_ink_jitter(r, (struct moe_ink){205, 190, 120}, 20);
		look.lit = moe_ink_jitter(r, (struct moe_ink){60, 30, 25}, 20);
		look.slant = moe_draw_real(r, 0.1, 0.18);
		look.thick = moe_draw_real(r, 0.14, 0.18);
		break;
	default:
		look.ground = moe_ink_jitter(r, (struct moe_ink){170, 185, 160}, 25);
		look.lit = moe_ink_jitter(r, (struct moe_ink){25, 32, 28}, 18);
		look.slant = moe_draw_chance(r, 0.3) ? 0.1 : 0;
	}
	look.unlit = moe_ink_mix(look.ground, look.lit, moe_draw_real(r, 0.03, 0.13));
	return look;
}

/* A bar with pointed ends from (x, y), level or upright, as long as a side of a digit's half. */
static void segment(cairo_t *c, const struct look *look, double x, double y, bool upright, double length)
{
	double t = look->thick / 2, s = look->split;
	const double point[6][2] = {{s, 0}, {s + t, -t}, {length - s - t, -t}, {length - s, 0}, {length - s - t, t}, {s + t, t}};

	cairo_new_sub_path(c);
	for (int i = 0; i < 6; i++)
		cairo_line_to(c, x + point[i][upright], y + point[i][!upright]);
	cairo_close_path(c);
}

static void segments(cairo_t *c, const struct look *look, double x, double y, unsigned which)
{
	double t = look->thick / 2, left = x + t, right = x + 1 - t, wide = 1 - 2 * t, half = HEIGHT / 2 - t;
	double top = y + t, middle = y + HEIGHT / 2, low = y + HEIGHT - t;
	const struct { double x, y, length; bool upright; } at[7] = {
		{left, top, wide, false}, {right, top, half, true}, {right, middle, half, true}, {left, low, wide, false}, {left, middle, half, true},
		{left, top, half, true}, {left, middle, wide, false},
	};

	for (int i = 0; i < 7; i++)
		if (which >> i & 1)
			segment(c, look, at[i].x, at[i].y, at[i].upright, at[i].length);
}

static void place_digit(const struct moe_panel_stage *at, const struct look *look, double x, unsigned lit, const char *label)
{
	cairo_new_path(at->c);
	segments(at->c, look, x, 0, 127 & ~lit);
	moe_panel_fill(at, look->unlit, NULL);
	if (lit) {
		segments(at->c, look, x, 0, lit);
		moe_panel_fill(at, look->lit, label);
	}
}

static void place_mark(const struct moe_panel_stage *at, const struct look *look, double x, char mark, const char *label)
{
	double side = fmax(look->thick, 0.2);

	cairo_new_path(at->c);
	if (mark == ':') {
		cairo_rectangle(at->c, x + (MARK - side) / 2, 0.3 * HEIGHT, side, side);
		cairo_rectangle(at->c, x + (MARK - side) / 2, 0.7 * HEIGHT - side, side, side);
	} else {
		cairo_rectangle(at->c, x + (MARK - side) / 2, HEIGHT - side, side, side);
	}
	moe_panel_fill(at, look->lit, label);
}

/* A small degree sign and letter, printed: not a part of the number, without a label. */
static void place_unit(const struct moe_panel_stage *at, const struct look *look, double x)
{
	cairo_font_face_t *face = moe_panel_face(at, 0);
	const char *letter = moe_draw_chance(at->r, 0.7) ? "C" : "F";

	cairo_new_path(at->c);
	cairo_arc(at->c, x + 0.12, 0.14, 0.12, 0, 2 * M_PI);
	cairo_new_sub_path(at->c);
	cairo_arc_negative(at->c, x + 0.12, 0.14, 0.05, 2 * M_PI, 0);
	if (face)
		moe_ink_text(at->c, face, letter, x + 0.58, 0.35, 0.6, 0.62);
	moe_panel_fill(at, look->lit, "");
}

static double advance(char c)
{
	return c == ':' || c == '.' ? MARK : 1 + GAP;
}

static void place_text(const struct moe_panel_stage *at, const struct look *look, const struct moe_panel_display *s)
{
	double x = 0;

	for (unsigned i = 0; i < s->blank; i++, x += 1 + GAP)
		place_digit(at, look, x, 0, NULL);
	for (const char *c = s->text; *c; x += advance(*c++)) {
		const char *label = moe_synth_text(at->out, "%c", *c);
		if (*c == ':' || *c == '.')
			place_mark(at, look, x - GAP / 2, *c, label);
		else
			place_digit(at, look, x, *c == '-' ? G : digits[*c - '0'], label);
	}
	if (s->what == MOE_PANEL_TEMPERATURE)
		place_unit(at, look, x);
}

static double length(const struct moe_panel_display *s)
{
	double x = s->blank * (1 + GAP) - GAP;

	for (const char *c = s->text; *c; c++)
		x += advance(*c);
	return x + (s->what == MOE_PANEL_TEMPERATURE ? GAP + UNIT : 0);
}

/* A case, the window, and the text as large as fits or somewhat smaller. */
static void draw(const struct moe_panel *p, const struct moe_panel_stage *at)
{
	struct look look = draw_look(p, at->r);
	double frame = moe_draw_chance(at->r, 0.6) ? moe_draw_real(at->r, 0.5, 3) : 0, distance, border = frame + moe_draw_real(at->r, 1.5, 3);
	double width = length(&p->display) + look.slant * HEIGHT, k, x, y;
	cairo_matrix_t slant;

	moe_ink_set(at->c, moe_ink_ground(at->r, &look.ground, 1, 40, &distance));
	cairo_paint(at->c);
	moe_outline_box(at->c, frame, frame, p->width - 2 * frame, p->height - 2 * frame, frame);
	moe_panel_fill(at, look.ground, NULL);
	k = fmin((p->width - 2 * border) / width, (p->height - 2 * border) / HEIGHT) * moe_draw_real(at->r, 0.86, 1);
	x = border + (p->width - 2 * border - k * width) * moe_draw_unit(at->r);
	y = border + (p->height - 2 * border - k * HEIGHT) * moe_draw_unit(at->r);
	cairo_save(at->c);
	cairo_translate(at->c, x + k * look.slant * HEIGHT, y);
	cairo_scale(at->c, k, k);
	cairo_matrix_init(&slant, 1, 0, -look.slant, 1, 0, 0);
	cairo_transform(at->c, &slant);
	place_text(at, &look, &p->display);
	cairo_restore(at->c);
}

static void ask(const struct moe_panel *p, struct moe_draw *r, struct moe_synth_sample *out)
{
	static const char *const special[] = {"<ask> what time is shown?", "<ask> what number is shown?", "<ask> what temperature is shown?"};
	const char *prompt = moe_draw_chance(r, 0.5) ? "<ask> what does the display show?" : special[p->display.what];

	if (p->display.what == MOE_PANEL_TEMPERATURE)   /* "23 C" would be right, too */
		prompt = special[p->display.what];
	moe_synth_ask(out, "display", prompt, moe_synth_text(out, "%s", p->display.text), true);
	moe_synth_tag(out, "length", moe_synth_text(out, "%zu", strlen(p->display.text)));
}

const struct moe_panel_kind moe_panel_display = {"display", styles, 5, 0.3, compose, key, draw, ask};
