/* One to four lamps in a row, each of a colour, on or off. */
#include "synth/panel_priv.h"

#include <math.h>

static const char *const styles[] = {"round", "round-bezel", "square", "square-bezel", "bar"};
enum { PLAIN_ROUND, ROUND_BEZEL, PLAIN_SQUARE, SQUARE_BEZEL, UPRIGHT };

static const char *const colours[] = {"red", "green", "blue", "yellow", "orange", "white"};
static const struct moe_ink glow[MOE_PANEL_COLOURS] = {{255, 40, 35}, {50, 230, 70}, {50, 110, 255}, {255, 235, 60}, {255, 140, 20}, {250, 250, 250}};

const char *moe_panel_colour(unsigned colour)
{
	return colour < MOE_PANEL_COLOURS ? colours[colour] : NULL;
}

static void compose(struct moe_panel *p, struct moe_draw *r)
{
	static const double weight[] = {0.1, 0.25, 0.3, 0.35};
	struct moe_panel_lights *l = &p->lights;

	l->n = 1 + (unsigned)moe_draw_weighted(r, weight, 4);
	for (unsigned i = 0; i < l->n; i++) {
		l->colour[i] = (unsigned)moe_draw_below(r, MOE_PANEL_COLOURS);
		l->on[i] = moe_draw_chance(r, 0.5);
	}
	if (l->n > 1 && moe_draw_chance(r, 0.5))
		moe_panel_wide(p, r);
	else
		moe_panel_square(p);
}

static const char *key(struct moe_synth_sample *out, const struct moe_panel *p)
{
	const char *text = styles[p->style];

	for (unsigned i = 0; i < p->lights.n; i++)
		text = moe_synth_text(out, "%s %s%c", text, colours[p->lights.colour[i]], p->lights.on[i] ? '+' : '-');
	return text;
}

static void outline(cairo_t *c, unsigned style, double radius)
{
	switch (style) {
	case PLAIN_ROUND:
	case ROUND_BEZEL:
		cairo_new_sub_path(c);
		cairo_arc(c, 0, 0, radius, 0, 2 * M_PI);
		cairo_close_path(c);
		break;
	case UPRIGHT:
		moe_outline_box(c, -0.55 * radius, -radius, 1.1 * radius, 2 * radius, 0.55 * radius);
		break;
	default:
		moe_outline_box(c, -0.9 * radius, -0.9 * radius, 1.8 * radius, 1.8 * radius, 0.15 * radius);
	}
}

/* Light around a lamp that is on, on a dark ground. */
static void draw_halo(cairo_t *c, struct moe_ink ink, double radius)
{
	cairo_pattern_t *halo = cairo_pattern_create_radial(0, 0, 0.8 * radius, 0, 0, 1.4 * radius);

	cairo_pattern_add_color_stop_rgba(halo, 0, ink.r / 255, ink.g / 255, ink.b / 255, 0.6);
	cairo_pattern_add_color_stop_rgba(halo, 1, ink.r / 255, ink.g / 255, ink.b / 255, 0);
	cairo_set_source(c, halo);
	cairo_rectangle(c, -1.4 * radius, -1.4 * radius, 2.8 * radius, 2.8 * radius);
	cairo_fill(c);
	cairo_pattern_destroy(halo);
}

/* The middle of a lamp that is on is brighter; one that is off is dark, with a trace of its colour. */
static void draw_lamp(const struct moe_panel_stage *at, const struct moe_panel *p, unsigned i, double radius, struct moe_ink ground)
{
	static const struct moe_ink dark = {38, 38, 38}, light = {255, 255, 255};
	struct moe_ink ink = moe_ink_jitter(at->r, glow[p->lights.colour[i]], 12);
	bool on = p->lights.on[i], bezel = p->style == ROUND_BEZEL || p->style == SQUARE_BEZEL;
	double share = moe_draw_real(at->r, 0.1, 0.22);

	if (on && ground.r + ground.g + ground.b < 330)
		draw_halo(at->c, ink, radius);
	cairo_new_path(at->c);
	if (bezel) {
		outline(at->c, p->style, 1.18 * radius);
		moe_panel_fill(at, (struct moe_ink){120, 122, 126}, NULL);
	}
	outline(at->c, p->style, radius);
	moe_panel_fill(at, on ? ink : moe_ink_mix(dark, ink, share), moe_synth_text(at->out, " %s", on ? colours[p->lights.colour[i]] : "off"));
	if (on) {
		outline(at->c, p->style, 0.45 * radius);
		moe_panel_fill(at, moe_ink_mix(ink, light, 0.3), NULL);
	}
}

/* The ground is dark or a middling grey, so that lamps stand out whether on or off. */
static void draw(const struct moe_panel *p, const struct moe_panel_stage *at)
{
	double tone = moe_draw_chance(at->r, 0.5) ? moe_draw_real(at->r, 0, 14) : moe_draw_real(at->r, 95, 185), step = p->width / p->lights.n, most;
	struct moe_ink ground = moe_ink_jitter(at->r, (struct moe_ink){tone, tone, tone}, tone < 20 ? 6 : 14);

	moe_ink_set(at->c, ground);
	cairo_paint(at->c);
	most = fmin(step, p->height) / 2;
	double radius = fmin(most * moe_draw_real(at->r, 0.6, 0.76), 18), room = p->height / 2 - 1.25 * radius;
	double y = p->height / 2 + room * moe_draw_real(at->r, -0.7, 0.7), squeeze = moe_draw_real(at->r, 0.88, 1);
	for (unsigned i = 0; i < p->lights.n; i++) {
		cairo_save(at->c);
		cairo_translate(at->c, p->width / 2 + squeeze * step * (i + 0.5 - p->lights.n / 2.0), y);
		draw_lamp(at, p, i, radius, ground);
		cairo_restore(at->c);
	}
}

/* "first", ...; a single light has no number. */
static const char *which(struct moe_synth_sample *out, const struct moe_panel *p, unsigned i)
{
	static const char *const rank[MOE_PANEL_MOST_LIGHTS] = {"first", "second", "third", "fourth"};

	return p->lights.n == 1 ? "light" : moe_synth_text(out, "%s light", rank[i]);
}

static void ask_on(const struct moe_panel *p, unsigned i, struct moe_synth_sample *out)
{
	moe_synth_ask(out, "light-on", moe_synth_text(out, "<ask> is the %s on?", which(out, p, i)), p->lights.on[i] ? " yes" : " no", false);
}

/* As many of lights that are on as of those that are off: one, or two where there are so many. Where all are alike, one is asked about: all on is as
 * likely as all off. */
static void ask_states(const struct moe_panel *p, const unsigned *order, unsigned n_on, struct moe_synth_sample *out)
{
	unsigned n = p->lights.n, of_each = n_on * 2 == n ? n_on : 1, left[2] = {of_each, of_each};

	for (unsigned i = 0; i < n; i++)
		if (left[p->lights.on[order[i]]]) {
			left[p->lights.on[order[i]]]--;
			ask_on(p, order[i], out);
		}
}

static void ask(const struct moe_panel *p, struct moe_draw *r, struct moe_synth_sample *out)
{
	unsigned order[MOE_PANEL_MOST_LIGHTS], n_on = 0;

	for (unsigned i = 0; i < p->lights.n; i++) {
		order[i] = i;
		n_on += p->lights.on[i];
	}
	moe_draw_shuffle(r, order, p->lights.n, sizeof *order);
	moe_synth_ask(out, "light-count", "<ask> how many lights are on?", moe_synth_text(out, "%u", n_on), true);
	ask_states(p, order, n_on, out);
	for (unsigned i = 0, asked = 0; i < p->lights.n && asked < 2; i++)
		if (p->lights.on[order[i]]) {
			moe_synth_ask(out, "light-colour", moe_synth_text(out, "<ask> what colour is the %s?", which(out, p, order[i])),
				moe_synth_text(out, " %s", colours[p->lights.colour[order[i]]]), false);
			asked++;
		}
}

const struct moe_panel_kind moe_panel_lights = {"lights", styles, 5, 0.16, compose, key, draw, ask};
