/* Outlines that are drawn in more than one place, as cairo paths. */
#ifndef MOE_IMAGE_OUTLINE_H
#define MOE_IMAGE_OUTLINE_H

#include <cairo.h>

/* Adds a rectangle to the path, its corners rounded by `radius`, at most half of its shorter side; not above 0: corners. */
void moe_outline_box(cairo_t *c, double x, double y, double width, double height, double radius);

#endif
