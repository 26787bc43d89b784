#include "synth/ink.h"

#include <math.h>

#include "synth/effects.h"

void moe_ink_set(cairo_t *c, struct moe_ink ink)
{
	cairo_set_source_rgb(c, ink.r / 255, ink.g / 255, ink.b / 255);
}

static double within(double v)
{
	return v < 0 ? 0 : v > 255 ? 255 : v;
}

struct moe_ink moe_ink_jitter(struct moe_draw *r, struct moe_ink ink, double by)
{
	ink.r = within(ink.r + moe_draw_real(r, -by, by));
	ink.g = within(ink.g + moe_draw_real(r, -by, by));
	ink.b = within(ink.b + moe_draw_real(r, -by, by));
	return ink;
}

struct moe_ink moe_ink_mix(struct moe_ink a, struct moe_ink b, double t)
{
	return (struct moe_ink){a.r + t * (b.r - a.r), a.g + t * (b.g - a.g), a.b + t * (b.b - a.b)};
}

double moe_ink_distance(struct moe_ink a, struct moe_ink b)
{
	double x = a.r - b.r, y = a.g - b.g, z = a.b - b.b, light = 0.3 * x + 0.59 * y + 0.11 * z;

	return sqrt(0.5 * x * x + 0.75 * y * y + 0.25 * z * z + 1.5 * light * light);
}

static struct moe_ink any_ground(struct moe_draw *r)
{
	double tone, tint = moe_draw_chance(r, 0.5) ? 45 : 10;
	struct moe_ink ink;

	switch (moe_draw_below(r, 5)) {
	case 0:
	case 1:
		tone = moe_draw_real(r, 205, 255);
		break;
	case 2:
	case 3:
		tone = moe_draw_real(r, 0, 60);
		break;
	default:
		tone = moe_draw_real(r, 60, 205);
		tint = 70;
	}
	ink = (struct moe_ink){tone, tone, tone};
	return moe_ink_jitter(r, ink, tint);
}

struct moe_ink moe_ink_ground(struct moe_draw *r, const struct moe_ink *ink, size_t n, double least, double *distance)
{
	struct moe_ink best = {0};

	*distance = -1;
	for (int tries = 0; tries < 60 && *distance < least; tries++) {
		struct moe_ink try = any_ground(r);
		double nearest = 441;
		for (size_t i = 0; i < n; i++)
			nearest = fmin(nearest, moe_ink_distance(try, ink[i]));
		if (nearest > *distance) {
			*distance = nearest;
			best = try;
		}
	}
	return best;
}

bool moe_ink_text(cairo_t *c, cairo_font_face_t *face, const char *text, double x, double y, double width, double height)
{
	cairo_font_options_t *plain = cairo_font_options_create();
	double x0, y0, x1, y1, k;
	bool drawn;

	cairo_font_options_set_hint_style(plain, CAIRO_HINT_STYLE_NONE);
	cairo_font_options_set_hint_metrics(plain, CAIRO_HINT_METRICS_OFF);
	cairo_save(c);
	cairo_set_font_options(c, plain);
	cairo_set_font_face(c, face);
	cairo_set_font_size(c, 64);
	cairo_path_t *before = cairo_copy_path(c);
	cairo_new_path(c);
	cairo_text_path(c, text);
	cairo_path_extents(c, &x0, &y0, &x1, &y1);
	cairo_new_path(c);
	cairo_append_path(c, before);
	cairo_path_destroy(before);
	drawn = x1 > x0 && y1 > y0;
	if (drawn) {
		k = fmin(width / (x1 - x0), height / (y1 - y0));
		cairo_translate(c, x, y);
		cairo_scale(c, k, k);
		cairo_move_to(c, -(x0 + x1) / 2, -(y0 + y1) / 2);
		cairo_text_path(c, text);
	}
	cairo_restore(c);
	cairo_font_options_destroy(plain);
	return drawn;
}

struct moe_rect moe_ink_extents(cairo_t *c)
{
	struct moe_rect box;

	cairo_save(c);
	cairo_identity_matrix(c);
	cairo_fill_extents(c, &box.x0, &box.y0, &box.x1, &box.y1);
	cairo_restore(c);
	return box;
}

enum moe_err moe_ink_weather(struct moe_synth_sample *p, struct moe_draw *r, double detail, struct moe_diag *d)
{
	if (moe_draw_chance(r, 0.5)) {
		double x = moe_draw_real(r, -14, 14), tint[3];
		for (int channel = 0; channel < 3; channel++)
			tint[channel] = moe_draw_real(r, 0.7, 1);
		moe_effect_slope(p, x, moe_draw_real(r, -14, 14), tint);
	}
	if (moe_draw_chance(r, 0.3))
		moe_effect_blur(p, moe_draw_real(r, 0.15, 0.3) * detail);
	if (moe_draw_chance(r, 0.6)) {
		double deviation = moe_draw_real(r, 0.5, 7);
		moe_effect_noise(p, r, deviation, moe_draw_chance(r, 0.6));
	}
	if (moe_draw_chance(r, 0.2))
		MOE_TRY(moe_effect_jpeg(p, moe_draw_between(r, 75, 95), d));
	return MOE_OK;
}

uint32_t moe_ink_side(struct moe_draw *r)
{
	double u = moe_draw_unit(r);

	return (uint32_t)(u < 0.4 ? 64 : u < 0.9 ? moe_draw_between(r, 65, 96) : moe_draw_between(r, 97, 192));
}
