/* A decoded picture: 8-bit RGB, rows top to bottom, no padding. */
#ifndef MOE_IMAGE_PICTURE_H
#define MOE_IMAGE_PICTURE_H

#include <stdint.h>
#include <stddef.h>

struct moe_picture {
	uint32_t width, height;
	uint8_t *rgb;           /* [height][width][3], owned: free() */
};

#endif
