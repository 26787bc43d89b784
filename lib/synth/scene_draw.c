/* A scene's picture. Outlines stand in a unit in which a thing's radius is 1. */
#include "synth/scene.h"

#include <math.h>

static void polygon(cairo_t *c, const double (*point)[2], size_t n)
{
	for (size_t i = 0; i < n; i++)
		cairo_line_to(c, point[i][0], point[i][1]);
	cairo_close_path(c);
}

static void star(cairo_t *c)
{
	for (int i = 0; i < 10; i++) {
		double reach = i % 2 ? 0.44 : 1.04, angle = M_PI / 5 * i - M_PI / 2;
		cairo_line_to(c, reach * cos(angle), 0.08 + reach * sin(angle));
	}
	cairo_close_path(c);
}

static void cross(cairo_t *c)
{
	static const double point[][2] = {{-0.32, -0.95}, {0.32, -0.95}, {0.32, -0.32}, {0.95, -0.32}, {0.95, 0.32}, {0.32, 0.32}, {0.32, 0.95}, {-0.32, 0.95},
		{-0.32, 0.32}, {-0.95, 0.32}, {-0.95, -0.32}, {-0.32, -0.32}};

	polygon(c, point, 12);
}

static void heart(cairo_t *c)
{
	for (int side = -1; side <= 1; side += 2) {
		cairo_move_to(c, 0, 0.95);
		cairo_curve_to(c, side * 0.45, 0.5, side, 0.2, side, -0.32);
		cairo_curve_to(c, side, -0.72, side * 0.75, -0.88, side * 0.52, -0.88);
		cairo_curve_to(c, side * 0.26, -0.88, side * 0.08, -0.7, 0, -0.42);
		cairo_close_path(c);
	}
}

static void ring(cairo_t *c)
{
	cairo_arc(c, 0, 0, 0.97, 0, 2 * M_PI);
	cairo_close_path(c);
	cairo_new_sub_path(c);
	cairo_arc_negative(c, 0, 0, 0.5, 2 * M_PI, 0);
	cairo_close_path(c);
}

static void outline(cairo_t *c, unsigned kind)
{
	static const double square[][2] = {{-0.82, -0.82}, {0.82, -0.82}, {0.82, 0.82}, {-0.82, 0.82}};
	static const double triangle[][2] = {{0, -0.9}, {1, 0.82}, {-1, 0.82}}, diamond[][2] = {{0, -1}, {0.76, 0}, {0, 1}, {-0.76, 0}};

	switch (kind) {
	case 0:
		cairo_arc(c, 0, 0, 0.95, 0, 2 * M_PI);
		break;
	case 1:
		polygon(c, square, 4);
		break;
	case 2:
		polygon(c, triangle, 3);
		break;
	case 3:
		star(c);
		break;
	case 4:
		polygon(c, diamond, 4);
		break;
	case 5:
		cross(c);
		break;
	case 6:
		ring(c);
		break;
	default:
		heart(c);
	}
}

/* Holes through which the ground is seen, within the clip; the current unit is a 64th of the side. */
static void texture(cairo_t *c, const struct moe_scene_thing *t, struct moe_draw *r)
{
	double slant = MOE_PICK(r, ((const double[]){0, M_PI / 2, M_PI / 4, -M_PI / 4})), period, reach = 2 * t->radius;

	if (t->value[MOE_SCENE_TEXTURE] == MOE_SCENE_PLAIN)
		return;
	cairo_set_operator(c, CAIRO_OPERATOR_DEST_OUT);
	switch (t->value[MOE_SCENE_TEXTURE]) {
	case 1:         /* stripes */
		period = moe_draw_real(r, 3.6, 4.4);
		cairo_rotate(c, slant);
		for (double y = -reach + moe_draw_real(r, 0, period); y < reach; y += period)
			cairo_rectangle(c, -reach, y, 2 * reach, 0.45 * period);
		break;
	case 2:         /* dots: in rows that are shifted by half of their distance */
		period = moe_draw_real(r, 5.4, 6);
		for (int row = -5; row <= 5; row++)
			for (int column = -5; column <= 5; column++) {
				cairo_new_sub_path(c);
				cairo_arc(c, (column + (row & 1) / 2.0) * period, row * 0.8 * period, 0.23 * period, 0, 2 * M_PI);
			}
		break;
	default:        /* checks */
		period = moe_draw_real(r, 3, 3.4);
		for (int row = -7; row < 7; row++)
			for (int column = -7; column < 7; column++)
				if ((row + column) & 1)
					cairo_rectangle(c, column * period, row * period, period, period);
	}
	cairo_fill(c);
	cairo_set_operator(c, CAIRO_OPERATOR_OVER);
}

/* The shape is filled, its texture cut out, and its edge drawn again on the inside, so that the outline stays whole. */
static struct moe_rect draw_shape(cairo_t *c, const struct moe_scene_thing *t, struct moe_draw *r)
{
	cairo_save(c);
	cairo_translate(c, t->x, t->y);
	cairo_save(c);
	cairo_rotate(c, t->turn);
	cairo_scale(c, t->radius, t->radius);
	cairo_new_path(c);
	outline(c, t->value[MOE_SCENE_KIND]);
	cairo_restore(c);
	struct moe_rect box = moe_ink_extents(c);
	cairo_path_t *shape = cairo_copy_path(c);
	cairo_push_group(c);
	moe_ink_set(c, t->ink);
	cairo_fill(c);
	cairo_save(c);
	texture(c, t, r);
	cairo_restore(c);
	cairo_append_path(c, shape);
	cairo_clip_preserve(c);
	cairo_set_line_width(c, 2);     /* half of it is outside the clip */
	moe_ink_set(c, t->ink);
	cairo_stroke(c);
	cairo_pop_group_to_source(c);
	cairo_paint(c);
	cairo_path_destroy(shape);
	cairo_restore(c);
	return box;
}

/* A font that cannot be opened any more draws nothing. */
static struct moe_rect draw_text(cairo_t *c, const struct moe_scene_thing *t, cairo_font_face_t *face)
{
	struct moe_rect box;

	cairo_new_path(c);
	if (face)
		moe_ink_text(c, face, (const char[]){t->text, 0}, t->x, t->y, 1.95 * t->radius, 1.9 * t->radius);
	box = moe_ink_extents(c);
	moe_ink_set(c, t->ink);
	cairo_fill(c);
	return box;
}

static void draw_thing(cairo_t *c, const struct moe_scene_thing *t, struct moe_synth *s, struct moe_draw *r, struct moe_synth_sample *out)
{
	struct moe_rect box;
	const char *label;

	if (t->text) {
		box = draw_text(c, t, moe_face_get(s->faces, t->font));
		label = moe_synth_text(out, "%c", t->text);
	} else {
		box = draw_shape(c, t, r);
		label = moe_synth_text(out, " %s", moe_scene_value(MOE_SCENE_KIND, t->value[MOE_SCENE_KIND]));
	}
	moe_synth_box(out, label, box.x0, box.y0, box.x1, box.y1);
	moe_synth_attribute(out, "kind", moe_scene_value(MOE_SCENE_KIND, t->value[MOE_SCENE_KIND]));
	moe_synth_attribute(out, "colour", moe_scene_value(MOE_SCENE_COLOUR, t->value[MOE_SCENE_COLOUR]));
	moe_synth_attribute(out, "size", moe_scene_value(MOE_SCENE_SIZE, t->value[MOE_SCENE_SIZE]));
	if (!t->text)
		moe_synth_attribute(out, "texture", moe_scene_value(MOE_SCENE_TEXTURE, t->value[MOE_SCENE_TEXTURE]));
}

/* Plain, or from one colour to another along a line; both differ from all things. */
static void draw_ground(cairo_t *c, const struct moe_scene *scene, struct moe_draw *r)
{
	struct moe_ink ink[MOE_SCENE_MOST], from, to;
	double distance, angle = moe_draw_real(r, 0, 2 * M_PI), dx = 32 * cos(angle), dy = 32 * sin(angle);

	for (size_t i = 0; i < scene->n; i++)
		ink[i] = scene->thing[i].ink;
	from = to = moe_ink_ground(r, ink, scene->n, 150, &distance);
	if (moe_draw_chance(r, 0.35))
		to = moe_ink_jitter(r, from, 50);
	for (size_t i = 0; i < scene->n; i++)
		if (moe_ink_distance(to, ink[i]) < 130)
			to = from;
	cairo_pattern_t *slope = cairo_pattern_create_linear(32 - dx, 32 - dy, 32 + dx, 32 + dy);
	cairo_pattern_add_color_stop_rgb(slope, 0, from.r / 255, from.g / 255, from.b / 255);
	cairo_pattern_add_color_stop_rgb(slope, 1, to.r / 255, to.g / 255, to.b / 255);
	cairo_set_source(c, slope);
	cairo_paint(c);
	cairo_pattern_destroy(slope);
}

enum moe_err moe_scene_draw(const struct moe_scene *scene, struct moe_synth *s, struct moe_draw *r, struct moe_synth_sample *out, struct moe_diag *d)
{
	uint32_t side = moe_ink_side(r);
	cairo_t *c = moe_synth_canvas(s, side, side);

	if (!c)
		return moe_fail(d, MOE_ENOMEM, "no memory for a picture of %u x %u", side, side);
	cairo_scale(c, side / (double)MOE_SCENE_SIDE, side / (double)MOE_SCENE_SIDE);
	draw_ground(c, scene, r);
	for (size_t i = 0; i < scene->n; i++)
		draw_thing(c, &scene->thing[i], s, r, out);
	MOE_TRY(moe_synth_canvas_take(c, out, d));
	return moe_ink_weather(out, r, side / (double)MOE_SCENE_SIDE, d);
}
