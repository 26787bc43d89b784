/* Analog clocks, drawn exactly: the hour hand moves on with the minutes. */
#include "synth/panel_priv.h"

#include <math.h>

static const char *const styles[] = {"numerals", "quarters", "ticks", "roman", "dots", "square-face"};
enum { NUMERALS, QUARTERS, TICKS, ROMAN, DOTS, SQUARE };

struct look { struct moe_ink case_, face, ink, hands; };

static void compose(struct moe_panel *p, struct moe_draw *r)
{
	bool hard = moe_draw_chance(r, 0.25);

	moe_panel_square(p);
	p->clock.hour = 1 + (unsigned)moe_draw_below(r, 12);
	p->clock.minute = 5 * (unsigned)moe_draw_below(r, 12);
	if (hard)
		p->clock.minute += 1 + (unsigned)moe_draw_below(r, 4);
	p->clock.minute_hand = p->clock.minute / 60.0;
	p->clock.hour_hand = (p->clock.hour % 12 + p->clock.minute / 60.0) / 12;
}

static const char *time_text(struct moe_synth_sample *out, const struct moe_panel *p)
{
	return moe_synth_text(out, "%u:%02u", p->clock.hour, p->clock.minute);
}

static const char *key(struct moe_synth_sample *out, const struct moe_panel *p)
{
	return moe_synth_text(out, "%s %s", styles[p->style], time_text(out, p));
}

static struct look draw_look(struct moe_draw *r)
{
	struct look look;
	double distance;

	look.face = moe_ink_ground(r, NULL, 0, 0, &distance);
	look.ink = moe_ink_ground(r, &look.face, 1, 170, &distance);
	look.hands = moe_draw_chance(r, 0.7) ? look.ink : moe_ink_ground(r, &look.face, 1, 170, &distance);
	look.case_ = moe_ink_ground(r, &look.face, 1, 40, &distance);
	return look;
}

/* From the middle outwards, `from` to `to`, at an angle in turns from twelve. */
static void ray(cairo_t *c, double angle, double from, double to, double width)
{
	double x = sin(2 * M_PI * angle), y = -cos(2 * M_PI * angle);

	cairo_set_line_width(c, width);
	cairo_move_to(c, from * x, from * y);
	cairo_line_to(c, to * x, to * y);
	cairo_stroke(c);
}

/* How far out the rim is at this angle: 1 on a circle, more in a square's corners. */
static double rim(unsigned style, double angle)
{
	double x = fabs(sin(2 * M_PI * angle)), y = fabs(cos(2 * M_PI * angle));

	return style == SQUARE ? 1 / fmax(x, y) : 1;
}

static void draw_marks(const struct moe_panel_stage *at, unsigned style, double reach)
{
	for (unsigned i = 0; i < 60; i++) {
		bool hour = i % 5 == 0, quarter = i % 15 == 0;
		double far = reach * rim(style, i / 60.0);
		if (style == DOTS && hour) {
			cairo_new_path(at->c);
			cairo_arc(at->c, 0.9 * far * sin(M_PI / 30 * i), -0.9 * far * cos(M_PI / 30 * i), quarter ? 2 : 1.3, 0, 2 * M_PI);
			cairo_fill(at->c);
		} else if (hour) {
			ray(at->c, i / 60.0, far * (style == NUMERALS || style == ROMAN ? 0.93 : quarter ? 0.8 : 0.86), far * 0.98, quarter ? 1.8 : 1.2);
		} else if (style == TICKS || style == NUMERALS) {
			ray(at->c, i / 60.0, 0.94 * far, 0.98 * far, 0.5);
		}
	}
}

static void draw_numerals(const struct moe_panel_stage *at, unsigned style, double reach)
{
	static const char *const arabic[] = {"12", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"};
	static const char *const roman[] = {"XII", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI"};
	unsigned every = style == QUARTERS ? 3 : style == SQUARE ? 12 : 1;
	cairo_font_face_t *face = style == TICKS || style == DOTS ? NULL : moe_panel_face(at, style == ROMAN ? MOE_FONT_SERIF : 0);

	for (unsigned i = 0; face && i < 12; i += every) {
		double far = reach * (style == NUMERALS || style == ROMAN ? 0.79 : 0.64);
		cairo_new_path(at->c);
		moe_ink_text(at->c, face, style == ROMAN ? roman[i] : arabic[i], far * sin(M_PI / 6 * i), -far * cos(M_PI / 6 * i), 0.34 * reach, 0.2 * reach);
		cairo_fill(at->c);
	}
}

/* The hour hand is shorter and thicker. */
static void draw_hands(const struct moe_panel *p, const struct moe_panel_stage *at, double reach)
{
	double thick = moe_draw_real(at->r, 2.6, 3.6), thin = moe_draw_real(at->r, 1.3, 1.9), tail = moe_draw_chance(at->r, 0.4) ? -0.12 * reach : 0;
	double hour = reach * moe_draw_real(at->r, 0.46, 0.54), minute = reach * moe_draw_real(at->r, 0.78, 0.88);

	cairo_set_line_cap(at->c, moe_draw_chance(at->r, 0.5) ? CAIRO_LINE_CAP_ROUND : CAIRO_LINE_CAP_BUTT);
	ray(at->c, p->clock.hour_hand, tail, hour, thick);
	ray(at->c, p->clock.minute_hand, tail, minute, thin);
	cairo_arc(at->c, 0, 0, 0.6 * thick + 0.6, 0, 2 * M_PI);
	cairo_fill(at->c);
}

static void draw(const struct moe_panel *p, const struct moe_panel_stage *at)
{
	struct look look = draw_look(at->r);
	double reach = moe_draw_real(at->r, 26.5, 30), play = 31.5 - reach, border = moe_draw_real(at->r, 0.5, 2);

	moe_panel_hide(p, at);
	moe_ink_set(at->c, look.case_);
	cairo_paint(at->c);
	double x = 32 + moe_draw_real(at->r, -play, play);
	cairo_translate(at->c, x, 32 + moe_draw_real(at->r, -play, play));
	if (p->style == SQUARE)
		moe_outline_box(at->c, -reach, -reach, 2 * reach, 2 * reach, 3);
	else
		cairo_arc(at->c, 0, 0, reach, 0, 2 * M_PI);
	moe_ink_set(at->c, look.face);
	cairo_fill_preserve(at->c);
	moe_ink_set(at->c, look.ink);
	cairo_set_line_width(at->c, border);
	cairo_stroke(at->c);
	draw_marks(at, p->style, reach - border / 2);
	draw_numerals(at, p->style, reach);
	moe_ink_set(at->c, look.hands);
	draw_hands(p, at, reach - border / 2);
}

static void ask(const struct moe_panel *p, struct moe_draw *r, struct moe_synth_sample *out)
{
	const char *prompt = moe_draw_chance(r, 0.7) ? "<ask> what time is it?" : "<ask> what time is shown?";

	moe_synth_ask(out, p->clock.minute % 5 ? "clock-minute" : "clock", prompt, time_text(out, p), true);
}

const struct moe_panel_kind moe_panel_clock = {"clock", styles, 6, 0.26, compose, key, draw, ask};
