/* The orientation in EXIF data (a TIFF structure). */
#ifndef MOE_IMAGE_EXIF_H
#define MOE_IMAGE_EXIF_H

#include <stddef.h>

/* Orientation 1 to 8 of the first directory of n bytes that begin with "II" or "MM"; 1 where there is none or the data are damaged: a
 * broken tag does not make a picture unreadable. */
unsigned moe_exif_orientation(const void *bytes, size_t n);

#endif
