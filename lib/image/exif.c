/* TIFF 6.0, section 2: byte order, 42, offset of the first directory; a directory is a count and entries of 12 bytes. */
#include "image/exif.h"

#include "base/rd.h"

enum { TAG_ORIENTATION = 0x0112, SHORT = 3, LONG = 4 };

static uint64_t number(struct moe_rd *r, bool big, unsigned n) { return big ? moe_rd_be(r, n) : moe_rd_le(r, n); }

/* Value of an entry behind its tag. A SHORT stands in the first two of the four bytes of value. */
static unsigned entry_value(struct moe_rd *r, bool big)
{
	uint64_t type = number(r, big, 2), count = number(r, big, 4), v;

	if (count != 1 || (type != SHORT && type != LONG))
		return 1;
	v = number(r, big, type == SHORT ? 2 : 4);
	return v >= 1 && v <= 8 ? (unsigned)v : 1;
}

unsigned moe_exif_orientation(const void *bytes, size_t n)
{
	const uint8_t *b = bytes;
	struct moe_rd r;
	uint64_t at, entries;
	bool big;

	if (n < 8 || b[0] != b[1] || (b[0] != 'I' && b[0] != 'M'))
		return 1;
	big = b[0] == 'M';
	moe_rd_init(&r, b + 2, n - 2);
	if (number(&r, big, 2) != 42 || (at = number(&r, big, 4)) > n)
		return 1;
	moe_rd_init(&r, b + at, n - at);
	entries = number(&r, big, 2);
	for (uint64_t i = 0; i < entries && !r.bad; i++) {
		if (number(&r, big, 2) == TAG_ORIENTATION)
			return entry_value(&r, big);
		moe_rd_bytes(&r, 10);
	}
	return 1;
}
