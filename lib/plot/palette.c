#include "plot/palette.h"

#include <math.h>
#include <stdlib.h>

/* The first 8 were chosen by hand and by search, each further one as that of a grid of colours which is farthest from all before it: by the least distance in
 * Oklab under normal sight and under protanopia, deuteranopia and tritanopia (Machado, Oliveira and Fernandes, "A physiologically-based model for simulation
 * of color vision deficiency", 2009). */
static const struct moe_rgb experts[MOE_EXPERT_COLOURS] = {
	{0x2f, 0x65, 0xac}, {0xf5, 0x9a, 0x23}, {0x2f, 0xa0, 0x84}, {0xc4, 0x2f, 0x3b}, {0xb8, 0x74, 0xe8}, {0x7c, 0xc8, 0xf5},
	{0xd9, 0xe6, 0x7a}, {0x45, 0x10, 0x7a}, {0x69, 0x2d, 0x00}, {0x00, 0xff, 0xe1}, {0x87, 0x3c, 0x78}, {0xff, 0x5a, 0x5a},
	{0xe1, 0xb4, 0xb4}, {0x87, 0x78, 0xa5}, {0x2d, 0x2d, 0xb4}, {0xc3, 0x69, 0x0f}, {0x87, 0xa5, 0xb4}, {0xa5, 0xc3, 0x78},
	{0x4b, 0x69, 0x1e}, {0x69, 0x69, 0xf0}, {0x00, 0x4b, 0x3c}, {0xa5, 0xe1, 0x2d}, {0xa5, 0x5a, 0x78}, {0x87, 0x0f, 0x3c},
	{0xc3, 0x96, 0xe1}, {0x78, 0x0f, 0x96}, {0xb4, 0x2d, 0x96}, {0xa5, 0xff, 0xb4}, {0xd2, 0x78, 0x87}, {0x4b, 0x96, 0xff},
	{0x5a, 0x2d, 0x69}, {0x87, 0x4b, 0xd2}, {0x0f, 0xe1, 0xe1}, {0x5a, 0x4b, 0x5a}, {0x87, 0x96, 0x5a}, {0xf0, 0x78, 0x0f},
	{0xc3, 0xff, 0x5a}, {0xa5, 0x0f, 0x5a}, {0x78, 0xc3, 0x4b}, {0x87, 0xe1, 0x96}, {0x69, 0x4b, 0x00}, {0x78, 0x69, 0x4b},
	{0xc3, 0x5a, 0xc3}, {0x5a, 0x3c, 0xc3}, {0xff, 0x78, 0xb4}, {0x2d, 0xb4, 0xf0}, {0xb4, 0xe1, 0xff}, {0xa5, 0xa5, 0x78},
	{0xf0, 0xd2, 0xb4}, {0xc3, 0xd2, 0x69}, {0xa5, 0x87, 0xd2}, {0x2d, 0x5a, 0x78}, {0x69, 0x5a, 0x96}, {0xb4, 0x69, 0x69},
	{0xe1, 0xc3, 0xe1}, {0xa5, 0x5a, 0xd2}, {0x78, 0x00, 0x5a}, {0xc3, 0xb4, 0x96}, {0xf0, 0x96, 0xd2}, {0x69, 0x87, 0x0f},
	{0x96, 0x4b, 0x00}, {0x69, 0xa5, 0x3c}, {0x69, 0x3c, 0xa5}, {0xd2, 0x4b, 0xa5},
};

struct moe_rgb moe_expert_colour(size_t expert) { return experts[expert % MOE_EXPERT_COLOURS]; }

/* sRGB (IEC 61966-2-1) and light. */
static double to_light(uint8_t v)
{
	double s = v / 255.0;

	return s <= 0.04045 ? s / 12.92 : pow((s + 0.055) / 1.055, 2.4);
}

static uint8_t from_light(double v)
{
	double s = v <= 0.0031308 ? 12.92 * v : 1.055 * pow(v, 1 / 2.4) - 0.055;

	return (uint8_t)(fmin(fmax(s, 0), 1) * 255 + 0.5);
}

/* Oklab (Ottosson, "A perceptual color space for image processing", 2020). */
static void to_oklab(struct moe_rgb c, double lab[3])
{
	double r = to_light(c.r), g = to_light(c.g), b = to_light(c.b);
	double l = cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b), m = cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
	double s = cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);

	lab[0] = 0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s;
	lab[1] = 1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s;
	lab[2] = 0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s;
}

static struct moe_rgb from_oklab(const double lab[3])
{
	double l = lab[0] + 0.3963377774 * lab[1] + 0.2158037573 * lab[2], m = lab[0] - 0.1055613458 * lab[1] - 0.0638541728 * lab[2];
	double s = lab[0] - 0.0894841775 * lab[1] - 1.2914855480 * lab[2];

	l = l * l * l;
	m = m * m * m;
	s = s * s * s;
	return (struct moe_rgb){from_light(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
				from_light(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
				from_light(-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s)};
}

struct moe_rgb moe_mix_colours(struct moe_rgb a, struct moe_rgb b, double share)
{
	double x[3], y[3];

	to_oklab(a, x);
	to_oklab(b, y);
	for (int i = 0; i < 3; i++)
		x[i] += (y[i] - x[i]) * share;
	return from_oklab(x);
}

struct moe_rgb moe_grey(struct moe_rgb c)
{
	uint8_t l = (uint8_t)((2126u * c.r + 7152u * c.g + 722u * c.b) / 10000);

	return (struct moe_rgb){l, l, l};
}

double moe_lightness(struct moe_rgb c)
{
	double lab[3];

	to_oklab(c, lab);
	return lab[0];
}

/* The contrast of WCAG 2.1: (lighter + 0.05) / (darker + 0.05). */
struct moe_rgb moe_ink_on(struct moe_rgb paper)
{
	double y = 0.2126 * to_light(paper.r) + 0.7152 * to_light(paper.g) + 0.0722 * to_light(paper.b);

	return (y + 0.05) / 0.05 >= 1.05 / (y + 0.05) ? (struct moe_rgb){0, 0, 0} : (struct moe_rgb){255, 255, 255};
}

static double apart(struct moe_rgb a, struct moe_rgb b)
{
	double x[3], y[3];

	to_oklab(a, x);
	to_oklab(b, y);
	return hypot(hypot(x[0] - y[0], x[1] - y[1]), x[2] - y[2]);
}

static const uint8_t cube[] = {0, 95, 135, 175, 215, 255};      /* what xterm's cube is made of */

static unsigned nearest(uint8_t v)
{
	unsigned best = 0;

	for (unsigned i = 1; i < 6; i++)
		if (abs(cube[i] - v) < abs(cube[best] - v))
			best = i;
	return best;
}

unsigned moe_colour_256(struct moe_rgb c)
{
	unsigned r = nearest(c.r), g = nearest(c.g), b = nearest(c.b);
	int mean = (c.r + c.g + c.b) / 3, step = mean < 8 ? 0 : mean > 238 ? 23 : (mean - 3) / 10;
	uint8_t grey = (uint8_t)(8 + 10 * step);

	return apart(c, (struct moe_rgb){grey, grey, grey}) < apart(c, (struct moe_rgb){cube[r], cube[g], cube[b]}) ? 232 + (unsigned)step : 16 + 36 * r + 6 * g + b;
}

double moe_scale_place(const struct moe_scale *s, double value, double chance)
{
	double at = 0;

	switch (s->kind) {
	case MOE_SCALE_NONE: return 0;
	case MOE_SCALE_RATIO: at = !(value > 0) ? 0 : chance > 0 ? 0.5 + log2(value / chance) / 4 : 1; break;
	case MOE_SCALE_SHARE: at = s->most > 0 ? value / s->most : 0; break;
	case MOE_SCALE_CHANGE: at = s->most > 0 ? 0.5 + value / s->most / 2 : 0.5; break;
	}
	return fmin(fmax(at, 0), 1);
}

struct moe_rgb moe_scale_colour(const struct moe_scale *s, double place)
{
	static const struct moe_rgb low = {0x1d, 0x5b, 0xa6}, middle = {0xf7, 0xf5, 0xf1}, high = {0xc2, 0x4d, 0x12}, share = {0x12, 0x5d, 0x6e};

	if (s->kind == MOE_SCALE_SHARE)
		return moe_mix_colours(middle, share, place);
	return place < 0.5 ? moe_mix_colours(middle, low, 1 - 2 * place) : moe_mix_colours(middle, high, 2 * place - 1);
}
