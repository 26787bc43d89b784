/* Progress bars, level or upright, filled to a multiple of five percent. */
#include "synth/panel_priv.h"

#include <math.h>

static const char *const styles[] = {"flat", "round", "ticks", "segments", "slanted"};
enum { FLAT, ROUND, WITH_TICKS, SEGMENTS, SLANTED };

struct look { struct moe_ink ground, track, fill; };

static void compose(struct moe_panel *p, struct moe_draw *r)
{
	struct moe_panel_bar *b = &p->bar;

	b->vertical = moe_draw_chance(r, 0.35);
	b->segments = p->style != SEGMENTS ? 0 : moe_draw_chance(r, 0.5) ? 10 : 20;
	b->percent = b->segments ? 100 / b->segments * (unsigned)moe_draw_below(r, b->segments + 1) : 5 * (unsigned)moe_draw_below(r, 21);
	/* The border between two answers is 2.5 away: a fifth of a step is left, and as much again. */
	b->shown = b->segments ? b->percent : fmin(fmax(b->percent + moe_draw_real(r, -1, 1), 0), 100);
	if (b->vertical || moe_draw_chance(r, 0.35))
		moe_panel_square(p);
	else
		moe_panel_wide(p, r);
}

static const char *key(struct moe_synth_sample *out, const struct moe_panel *p)
{
	return moe_synth_text(out, "%s %c %u", styles[p->style], p->bar.vertical ? 'v' : 'h', p->bar.percent);
}

/* A colour whose channels are far apart. */
static struct moe_ink vivid(struct moe_draw *r)
{
	double channel[3] = {moe_draw_real(r, 170, 255), 0, 0};

	channel[1] = moe_draw_real(r, 20, 230);
	channel[2] = moe_draw_real(r, 0, 70);
	moe_draw_shuffle(r, channel, 3, sizeof *channel);
	return (struct moe_ink){channel[0], channel[1], channel[2]};
}

/* What is filled has a colour and what is empty is grey: so that full and empty bars, of one colour each, can be told apart. */
static struct look draw_look(struct moe_draw *r)
{
	struct look look;
	double tone = moe_draw_chance(r, 0.5) ? moe_draw_real(r, 10, 80) : moe_draw_real(r, 170, 245), distance;

	look.track = moe_ink_jitter(r, (struct moe_ink){tone, tone, tone}, 8);
	look.ground = moe_ink_ground(r, &look.track, 1, 60, &distance);
	do
		look.fill = vivid(r);
	while (moe_ink_distance(look.fill, look.track) < 110 || moe_ink_distance(look.fill, look.ground) < 60);
	return look;
}

/* From `from` to `to` percent of the bar; it lies level, as seen by the context. */
static void part(cairo_t *c, double from, double to, double length, double thick)
{
	cairo_rectangle(c, from / 100 * length, 0, (to - from) / 100 * length, thick);
}

static void draw_segments(const struct moe_panel *p, const struct moe_panel_stage *at, const struct look *look, double length, double thick)
{
	double step = 100.0 / p->bar.segments;

	for (unsigned i = 0; i < p->bar.segments; i++) {
		bool full = i * step < p->bar.percent - 1e-9;
		cairo_new_path(at->c);
		part(at->c, i * step + 0.11 * step, (i + 1) * step - 0.11 * step, length, thick);
		moe_panel_fill(at, full ? look->fill : moe_ink_mix(look->track, look->fill, 0.1), full ? " full" : " empty");
	}
}

/* Diagonal stripes of a darker shade on the filled part. */
static void draw_stripes(const struct moe_panel *p, const struct moe_panel_stage *at, const struct look *look, double length, double thick)
{
	cairo_save(at->c);
	part(at->c, 0, p->bar.shown, length, thick);
	cairo_clip(at->c);
	for (double x = -thick; x < length; x += 6) {
		cairo_move_to(at->c, x, thick);
		cairo_line_to(at->c, x + thick, 0);
	}
	cairo_set_line_width(at->c, 1.8);
	moe_ink_set(at->c, moe_ink_mix(look->fill, look->track, 0.3));
	cairo_stroke(at->c);
	cairo_restore(at->c);
}

static void draw_filling(const struct moe_panel *p, const struct moe_panel_stage *at, const struct look *look, double length, double thick)
{
	cairo_save(at->c);
	cairo_new_path(at->c);
	moe_outline_box(at->c, 0, 0, length, thick, p->style == ROUND ? 2.5 : 0);
	cairo_clip(at->c);
	part(at->c, p->bar.shown, 100, length, thick);
	moe_panel_fill(at, look->track, p->bar.shown < 100 ? " empty" : NULL);
	part(at->c, 0, p->bar.shown, length, thick);
	moe_panel_fill(at, look->fill, p->bar.shown > 0 ? " full" : NULL);
	if (p->style == SLANTED)
		draw_stripes(p, at, look, length, thick);
	cairo_restore(at->c);
}

/* Marks at every quarter or tenth beside the bar. */
static void draw_ticks(const struct moe_panel_stage *at, struct moe_ink ink, double length, double thick)
{
	unsigned n = moe_draw_chance(at->r, 0.5) ? 4 : 10;

	moe_ink_set(at->c, ink);
	cairo_set_line_width(at->c, 0.8);
	for (unsigned i = 0; i <= n; i++) {
		cairo_move_to(at->c, length * i / n, thick + 1);
		cairo_line_to(at->c, length * i / n, thick + (i % (n / 2) ? 3 : 4.5));
	}
	cairo_stroke(at->c);
}

static void draw(const struct moe_panel *p, const struct moe_panel_stage *at)
{
	struct look look = draw_look(at->r);
	double along = p->bar.vertical ? p->height : p->width, across = p->bar.vertical ? p->width : p->height, distance;
	double margin = moe_draw_real(at->r, 2.5, 5), length = along - 2 * margin, thick = moe_draw_real(at->r, 8, 18);
	struct moe_ink edge = moe_ink_ground(at->r, &look.ground, 1, 120, &distance);
	bool framed = p->style != SEGMENTS && (p->style == WITH_TICKS || moe_draw_chance(at->r, 0.5));

	moe_ink_set(at->c, look.ground);
	cairo_paint(at->c);
	if (p->bar.vertical) {  /* lying on its side: empty at the top */
		cairo_translate(at->c, 0, p->height);
		cairo_rotate(at->c, -M_PI / 2);
	}
	cairo_translate(at->c, margin, 3 + (across - thick - 8) * moe_draw_unit(at->r));
	if (p->bar.segments)
		draw_segments(p, at, &look, length, thick);
	else
		draw_filling(p, at, &look, length, thick);
	if (framed) {
		moe_outline_box(at->c, -0.5, -0.5, length + 1, thick + 1, p->style == ROUND ? 3 : 0);
		cairo_set_line_width(at->c, 1);
		moe_ink_set(at->c, edge);
		cairo_stroke(at->c);
	}
	if (p->style == WITH_TICKS)
		draw_ticks(at, edge, length, thick);
}

static void ask(const struct moe_panel *p, struct moe_draw *r, struct moe_synth_sample *out)
{
	(void)r;
	moe_synth_ask(out, "bar", "<ask> how full is the bar?", moe_synth_text(out, "%u%%", p->bar.percent), true);
}

const struct moe_panel_kind moe_panel_bar = {"bar", styles, 5, 0.12, compose, key, draw, ask};
