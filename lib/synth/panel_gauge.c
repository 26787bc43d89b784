/* Gauges: a scale with labelled ticks, and a needle near one of them. */
#include "synth/panel_priv.h"

#include <math.h>

static const char *const styles[] = {"round", "round-zones", "half", "half-zones", "arc"};
enum { ROUND, ROUND_ZONES, HALF, HALF_ZONES, ARC };

/* low, step, labelled ticks; more than seven have room on a round one only. */
static const struct { int low, step; unsigned n; } scales[] = {
	{0, 20, 6}, {0, 10, 11}, {0, 25, 5}, {0, 50, 3}, {0, 2, 6}, {0, 1, 11}, {0, 1, 6}, {0, 5, 5}, {0, 50, 5}, {0, 100, 5}, {0, 10, 7}, {0, 1, 5},
	{-20, 20, 4}, {-10, 5, 5}, {-40, 20, 6}, {0, 10, 6}, {0, 30, 5}, {0, 2, 5}, {0, 1, 9}, {1, 1, 7}, {-2, 1, 5}, {0, 40, 6},
};
enum { SCALES = sizeof scales / sizeof *scales };

struct look { struct moe_ink case_, face, ink, needle; };

static void compose(struct moe_panel *p, struct moe_draw *r)
{
	struct moe_panel_gauge *g = &p->gauge;

	moe_panel_square(p);
	g->round = p->style != HALF && p->style != HALF_ZONES;
	do
		g->scale = (unsigned)moe_draw_below(r, SCALES);
	while (!g->round && scales[g->scale].n > 7);
	g->low = scales[g->scale].low;
	g->step = scales[g->scale].step;
	g->n_ticks = scales[g->scale].n;
	g->tick = (unsigned)moe_draw_below(r, g->n_ticks);
	/* A fifth of a step from the border between two ticks; not beyond the ends of the scale. */
	g->shown = fmin(fmax(g->tick + moe_draw_real(r, -0.3, 0.3), 0), g->n_ticks - 1);
}

static const char *answer(struct moe_synth_sample *out, const struct moe_panel *p)
{
	return moe_synth_text(out, "%d", p->gauge.low + (int)p->gauge.tick * p->gauge.step);
}

static const char *key(struct moe_synth_sample *out, const struct moe_panel *p)
{
	return moe_synth_text(out, "%s %d %d %u: %s", styles[p->style], p->gauge.low, p->gauge.step, p->gauge.n_ticks, answer(out, p));
}

static struct look draw_look(struct moe_draw *r)
{
	static const struct moe_ink needle[] = {{225, 35, 30}, {225, 35, 30}, {240, 120, 20}, {20, 20, 20}, {245, 245, 245}, {30, 90, 220}};
	struct look look;
	double distance;

	look.face = moe_ink_ground(r, NULL, 0, 0, &distance);
	look.ink = moe_ink_ground(r, &look.face, 1, 170, &distance);
	look.case_ = moe_ink_ground(r, &look.face, 1, 30, &distance);
	look.needle = look.ink;
	for (int tries = 0; tries < 8; tries++) {
		struct moe_ink ink = MOE_PICK(r, needle);
		if (moe_ink_distance(ink, look.face) > 140) {
			look.needle = ink;
			break;
		}
	}
	return look;
}

/* Cairo's angle of a place on the scale, in ticks. */
static double angle(const struct moe_panel_gauge *g, double ticks)
{
	double part = ticks / (g->n_ticks - 1);

	return g->round ? (0.75 + 1.5 * part) * M_PI : (1 + part) * M_PI;
}

static void ray(cairo_t *c, double turn, double from, double to, double width)
{
	cairo_set_line_width(c, width);
	cairo_move_to(c, from * cos(turn), from * sin(turn));
	cairo_line_to(c, to * cos(turn), to * sin(turn));
	cairo_stroke(c);
}

/* Coloured arcs: green, yellow, red as a rule; they say nothing about the value. */
static void draw_zones(const struct moe_panel *p, const struct moe_panel_stage *at, double reach, double width)
{
	static const struct moe_ink zone[] = {{60, 170, 80}, {230, 190, 50}, {210, 60, 50}};
	double from = 0, all = p->gauge.n_ticks - 1, to = all * moe_draw_real(at->r, 0.4, 0.65);

	cairo_set_line_width(at->c, width);
	for (int i = 0; i < 3; i++) {
		cairo_new_path(at->c);
		cairo_arc(at->c, 0, 0, reach, angle(&p->gauge, from), angle(&p->gauge, to));
		moe_ink_set(at->c, zone[i]);
		cairo_stroke(at->c);
		from = to;
		to = i ? all : from + (all - from) * moe_draw_real(at->r, 0.4, 0.6);
	}
}

static void draw_ticks(const struct moe_panel *p, const struct moe_panel_stage *at, double reach)
{
	unsigned minor = p->gauge.n_ticks > 7 ? 1 + (unsigned)moe_draw_below(at->r, 2) : MOE_PICK(at->r, ((const unsigned[]){1, 2, 4, 5}));

	for (unsigned i = 0; i <= (p->gauge.n_ticks - 1) * minor; i++)
		ray(at->c, angle(&p->gauge, i / (double)minor), i % minor ? 0.9 * reach : 0.76 * reach, reach, i % minor ? 0.6 : 1.5);
}

static void draw_labels(const struct moe_panel *p, const struct moe_panel_stage *at, double reach)
{
	const struct moe_panel_gauge *g = &p->gauge;
	cairo_font_face_t *face = moe_panel_face(at, 0);

	for (unsigned i = 0; face && i < g->n_ticks; i++) {
		const char *text = moe_synth_text(at->out, "%d", g->low + (int)i * g->step);
		double turn = angle(g, i);
		cairo_new_path(at->c);
		moe_ink_text(at->c, face, text, reach * cos(turn), reach * sin(turn), 11, g->n_ticks > 7 ? 5 : 5.8);
		cairo_fill(at->c);
	}
}

static void draw_needle(const struct moe_panel *p, const struct moe_panel_stage *at, double reach)
{
	double wide = moe_draw_real(at->r, 1.6, 2.6), tail = moe_draw_real(at->r, 0, 5), hub = moe_draw_real(at->r, 1.8, 3.4);

	cairo_save(at->c);
	cairo_rotate(at->c, angle(&p->gauge, p->gauge.shown));
	cairo_new_path(at->c);
	cairo_move_to(at->c, -tail, -wide / 2);
	cairo_line_to(at->c, reach, -0.35);
	cairo_line_to(at->c, reach, 0.35);
	cairo_line_to(at->c, -tail, wide / 2);
	cairo_close_path(at->c);
	cairo_fill(at->c);
	cairo_restore(at->c);
	cairo_arc(at->c, 0, 0, hub, 0, 2 * M_PI);
	cairo_fill(at->c);
}

static void draw_face(const struct moe_panel *p, const struct moe_panel_stage *at, const struct look *look)
{
	moe_ink_set(at->c, look->case_);
	cairo_paint(at->c);
	cairo_new_path(at->c);
	if (p->style == ARC || !p->gauge.round)
		moe_outline_box(at->c, 0.5, 0.5, 63, 63, 4);
	else
		cairo_arc(at->c, 32, 32, 31.5, 0, 2 * M_PI);
	moe_ink_set(at->c, look->face);
	cairo_fill(at->c);
}

/* The labels stand outside, where the needle does not hide them. */
static void draw(const struct moe_panel *p, const struct moe_panel_stage *at)
{
	struct look look = draw_look(at->r);
	double labels = p->gauge.round ? 25.2 : 25.5, reach = labels - 6.8, low = moe_draw_real(at->r, 0, 3);
	bool zones = p->style == ROUND_ZONES || p->style == HALF_ZONES || p->style == ARC;

	moe_panel_hide(p, at);
	draw_face(p, at, &look);
	cairo_translate(at->c, 32, p->gauge.round ? 32 : 43 + low);
	if (zones)
		draw_zones(p, at, p->style == ARC ? 0.84 * reach : 0.95 * reach, p->style == ARC ? 5 : 2.2);
	moe_ink_set(at->c, look.ink);
	draw_ticks(p, at, reach);
	draw_labels(p, at, labels);
	moe_ink_set(at->c, look.needle);
	draw_needle(p, at, reach * moe_draw_real(at->r, 0.84, 0.96));
}

static void ask(const struct moe_panel *p, struct moe_draw *r, struct moe_synth_sample *out)
{
	(void)r;
	moe_synth_ask(out, "gauge", "<ask> what does the gauge show?", answer(out, p), true);
}

const struct moe_panel_kind moe_panel_gauge = {"gauge", styles, 5, 0.16, compose, key, draw, ask};
