#include "image/outline.h"

#include <math.h>

void moe_outline_box(cairo_t *c, double x, double y, double width, double height, double radius)
{
	double r = fmin(radius, fmin(width, height) / 2);

	if (!(r > 0)) {
		cairo_rectangle(c, x, y, width, height);
		return;
	}
	cairo_new_sub_path(c);
	cairo_arc(c, x + width - r, y + r, r, -M_PI / 2, 0);
	cairo_arc(c, x + width - r, y + height - r, r, 0, M_PI / 2);
	cairo_arc(c, x + r, y + height - r, r, M_PI / 2, M_PI);
	cairo_arc(c, x + r, y + r, r, M_PI, 3 * M_PI / 2);
	cairo_close_path(c);
}
