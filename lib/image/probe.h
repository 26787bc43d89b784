/* What kind of picture the bytes are, and how large: a bounded look at the headers, before any decoder sees them.
 *
 * Refuses here, without allocating: formats that are not supported (by name), sizes above the limits, and files that end too early to hold
 * the pixels they declare. For PNG the checksums of the critical chunks are compared, for JPEG the markers are walked to the end. */
#ifndef MOE_IMAGE_PROBE_H
#define MOE_IMAGE_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum moe_picture_format { MOE_PNG, MOE_JPEG, MOE_BMP, MOE_PNM };

struct moe_picture_head {
	enum moe_picture_format format;
	uint32_t width, height;         /* as stored, before the orientation is applied; neither is 0 */
	unsigned orientation;           /* EXIF, 1 to 8; 1 where none is stored */
	bool opaque;                    /* an alpha channel that the decoder may report means nothing */
};

struct moe_picture_limits { uint64_t max_pixels; uint32_t max_side; };

/* MOE_EINPUT: unknown, not supported or damaged; MOE_ENOMEM: above the limits. */
enum moe_err moe_picture_probe(struct moe_picture_head *out, const void *bytes, size_t n, const struct moe_picture_limits *limits, struct moe_diag *d)
	MOE_CHECK_RESULT;

/* Does the file name end like that of a picture, supported or not? (".png", ".JPG", ".webp") */
bool moe_picture_named(const char *name);

/* The endings that moe_picture_named knows, with their dots; the last is NULL. */
extern const char *const moe_picture_suffixes[];

#endif
