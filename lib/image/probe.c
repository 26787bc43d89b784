#include "image/probe.h"

#include <string.h>
#include <strings.h>
#include <zlib.h>

#include "base/check.h"
#include "base/rd.h"
#include "image/exif.h"

static enum moe_err check_size(uint64_t w, uint64_t h, const struct moe_picture_limits *l, struct moe_diag *d)
{
	if (!w || !h)
		return moe_fail(d, MOE_EINPUT, "a picture of %llu x %llu pixels", (unsigned long long)w, (unsigned long long)h);
	if (w > l->max_side || h > l->max_side || w * h > l->max_pixels)
		return moe_fail(d, MOE_ENOMEM, "%llu x %llu pixels: the limit is %u a side and %llu in all", (unsigned long long)w,
		                (unsigned long long)h, l->max_side, (unsigned long long)l->max_pixels);
	return MOE_OK;
}

static enum moe_err cut_short(struct moe_diag *d, size_t n, const char *format)
{
	return moe_fail_at(d, MOE_EINPUT, n, "the %s file ends too early", format);
}

/* ---- PNG (ISO 15948) ---- */

enum { DEFLATE_RATIO = 1032 };          /* the most that deflate can expand: 258 bytes from 2 bits */

#define CHUNK(a, b, c, d) ((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))

/* Bits of a pixel for a colour type and depth, 0 for a pair that the standard does not know. */
static unsigned png_bits(unsigned colour, unsigned depth)
{
	static const struct { uint8_t samples, depths; } allowed[7] = {     /* depths: a mask of 1, 2, 4, 8, 16 */
		[0] = {1, 0x1f}, [2] = {3, 0x18}, [3] = {1, 0x0f}, [4] = {2, 0x18}, [6] = {4, 0x18},
	};

	if (colour > 6 || !depth || (depth & (depth - 1)) || !(allowed[colour].depths & depth))
		return 0;
	return allowed[colour].samples * depth;
}

static enum moe_err png_header(struct moe_picture_head *out, struct moe_rd *r, unsigned *bits, const struct moe_picture_limits *l, struct moe_diag *d)
{
	uint64_t w, h;
	unsigned depth, colour;

	if (moe_rd_be(r, 4) != 13 || moe_rd_be(r, 4) != CHUNK('I', 'H', 'D', 'R')) {
		if (moe_rd_left(r) >= 4 && !memcmp(r->p - 4, "CgBI", 4))
			return moe_fail(d, MOE_EINPUT, "Apple's variant of PNG is not supported; convert it first: convert IN.png OUT.png");
		return r->bad ? MOE_OK : moe_fail_at(d, MOE_EINPUT, 8, "a PNG without its header");
	}
	w = moe_rd_be(r, 4);
	h = moe_rd_be(r, 4);
	depth = (unsigned)moe_rd_be(r, 1);
	colour = (unsigned)moe_rd_be(r, 1);
	if (r->bad)
		return MOE_OK;
	*bits = png_bits(colour, depth);
	if (!*bits || moe_rd_be(r, 1) || moe_rd_be(r, 1) || moe_rd_be(r, 1) > 1)
		return moe_fail_at(d, MOE_EINPUT, 24, "a PNG of an unknown kind (colour type %u, depth %u)", colour, depth);
	MOE_TRY(check_size(w, h, l, d));
	out->width = (uint32_t)w;
	out->height = (uint32_t)h;
	return MOE_OK;
}

/* Walks the chunks up to IEND. */
static enum moe_err probe_png(struct moe_picture_head *out, const uint8_t *bytes, size_t n, const struct moe_picture_limits *l, struct moe_diag *d)
{
	uint64_t n_data = 0;
	uint32_t type = 0;
	unsigned bits = 0;
	struct moe_rd r;

	moe_rd_init(&r, bytes, n);
	moe_rd_bytes(&r, 8);
	MOE_TRY(png_header(out, &r, &bits, l, d));
	if (r.bad)
		return cut_short(d, n, "PNG");
	for (r.p = bytes + 8; type != CHUNK('I', 'E', 'N', 'D');) {
		const uint8_t *start = r.p, *data;
		uint64_t size = moe_rd_be(&r, 4);
		uint32_t crc;
		type = (uint32_t)moe_rd_be(&r, 4);
		if (size > INT32_MAX)           /* the standard's limit, and zlib counts in 32 bits */
			return moe_fail_at(d, MOE_EINPUT, (uint64_t)(start - bytes), "damaged PNG: a chunk of %llu bytes", (unsigned long long)size);
		data = moe_rd_bytes(&r, size);
		crc = (uint32_t)moe_rd_be(&r, 4);
		if (r.bad)
			return cut_short(d, n, "PNG");
		if (!(type & 1u << 29) && crc32(0, start + 4, (uInt)(size + 4)) != crc)        /* critical: bit 5 of the first letter */
			return moe_fail_at(d, MOE_EINPUT, (uint64_t)(start - bytes), "damaged PNG: the checksum of a chunk is wrong");
		if (type == CHUNK('I', 'D', 'A', 'T'))
			n_data += size;
		if (type == CHUNK('e', 'X', 'I', 'f'))
			out->orientation = moe_exif_orientation(data, size);
	}
	if ((uint64_t)out->width * out->height * bits / 8 > n_data * DEFLATE_RATIO)
		return moe_fail(d, MOE_EINPUT, "damaged PNG: %llu compressed bytes cannot hold %u x %u pixels", (unsigned long long)n_data, out->width,
		                out->height);
	return MOE_OK;
}

/* ---- JPEG (ITU-T T.81, annex B) ---- */

enum {
	TEM = 0x01, SOF0 = 0xc0, DHT = 0xc4, JPG = 0xc8, DAC = 0xcc, SOF15 = 0xcf, RST0 = 0xd0, RST7 = 0xd7, SOI = 0xd8, EOI = 0xd9, SOS = 0xda,
	APP1 = 0xe1,
};

/* The next marker, after fill bytes, 0 where none stands; behind a scan everything up to it is entropy-coded data, where FF 00 and
 * restarts are no markers. */
static unsigned next_marker(struct moe_rd *r, bool scan)
{
	for (;;) {
		const uint8_t *ff = moe_rd_left(r) ? memchr(r->p, 0xff, moe_rd_left(r)) : NULL;
		unsigned m = 0xff;
		if (!ff)
			r->bad = true;
		if (!ff || (!scan && ff != r->p))
			return 0;
		r->p = ff;
		while (m == 0xff && !r->bad)
			m = (unsigned)moe_rd_be(r, 1);
		if (r->bad || !scan || (m && !(m >= RST0 && m <= RST7)))
			return m;
	}
}

static bool is_frame(unsigned m) { return m >= SOF0 && m <= SOF15 && m != DHT && m != JPG && m != DAC; }

static enum moe_err jpeg_frame(struct moe_picture_head *out, unsigned m, struct moe_rd seg, const struct moe_picture_limits *l, struct moe_diag *d)
{
	unsigned precision = (unsigned)moe_rd_be(&seg, 1);
	uint64_t h = moe_rd_be(&seg, 2), w = moe_rd_be(&seg, 2);

	if (m > SOF0 + 2)
		return moe_fail(d, MOE_EINPUT, "%s JPEG is not supported; convert it first: convert IN.jpg OUT.png",
		                m > JPG ? "arithmetic-coded" : "lossless or hierarchical");
	if (seg.bad || precision != 8)
		return moe_fail(d, MOE_EINPUT, seg.bad ? "damaged JPEG frame" : "JPEG with more than 8 bits a sample is not supported");
	if (out->width)
		return moe_fail(d, MOE_EINPUT, "damaged JPEG: two frames");
	MOE_TRY(check_size(w, h, l, d));
	out->width = (uint32_t)w;
	out->height = (uint32_t)h;
	return MOE_OK;
}

static void jpeg_exif(struct moe_picture_head *out, bool *seen, struct moe_rd seg)
{
	if (*seen || moe_rd_left(&seg) < 6 || memcmp(seg.p, "Exif\0", 6))
		return;
	*seen = true;
	out->orientation = moe_exif_orientation(seg.p + 6, moe_rd_left(&seg) - 6);
}

static enum moe_err probe_jpeg(struct moe_picture_head *out, const uint8_t *bytes, size_t n, const struct moe_picture_limits *l, struct moe_diag *d)
{
	bool exif = false, scan = false;
	struct moe_rd r, seg;
	unsigned m;

	moe_rd_init(&r, bytes, n);
	moe_rd_bytes(&r, 2);
	while ((m = next_marker(&r, scan)) != EOI) {
		uint64_t size;
		scan = false;
		if (!r.bad && (m == TEM || (m >= RST0 && m <= RST7)))
			continue;
		size = moe_rd_be(&r, 2);
		if (!r.bad && (size < 2 || m < SOF0 || m == SOI))
			return moe_fail_at(d, MOE_EINPUT, (uint64_t)(r.p - bytes), "damaged JPEG: marker %02x of %u bytes", m, (unsigned)size);
		moe_rd_init(&seg, r.p, 0);
		seg.end = moe_rd_bytes(&r, size - 2) ? r.p : seg.end;
		if (r.bad)
			return cut_short(d, n, "JPEG");
		if (is_frame(m))
			MOE_TRY(jpeg_frame(out, m, seg, l, d));
		if (m == APP1)
			jpeg_exif(out, &exif, seg);
		scan = m == SOS;
		if (scan && !out->width)
			return moe_fail(d, MOE_EINPUT, "damaged JPEG: a scan before the frame");
	}
	if (!out->width)
		return moe_fail(d, MOE_EINPUT, "damaged JPEG: no picture in it");
	/* Each block of 64 samples takes one bit at least. */
	if ((uint64_t)out->width * out->height / 64 / 8 > n)
		return moe_fail(d, MOE_EINPUT, "damaged JPEG: %zu bytes cannot hold %u x %u pixels", n, out->width, out->height);
	return MOE_OK;
}

/* ---- BMP ---- */

enum { BMP_FILE = 14, BI_RGB = 0, BI_BITFIELDS = 3 };

static enum moe_err probe_bmp(struct moe_picture_head *out, const uint8_t *bytes, size_t n, const struct moe_picture_limits *l, struct moe_diag *d)
{
	struct moe_rd r;
	uint64_t offset, size, w, h, bits, compression = BI_RGB, row;
	uint32_t alpha = 0;

	moe_rd_init(&r, bytes, n);
	moe_rd_bytes(&r, 10);
	offset = moe_rd_le(&r, 4);
	size = moe_rd_le(&r, 4);
	if (!r.bad && size != 12 && size != 40 && size != 56 && size != 108 && size != 124)
		return moe_fail_at(d, MOE_EINPUT, BMP_FILE, "BMP with a header of %llu bytes is not known", (unsigned long long)size);
	w = moe_rd_le(&r, size == 12 ? 2 : 4);
	h = moe_rd_le(&r, size == 12 ? 2 : 4);
	if (size > 12 && h > INT32_MAX)         /* negative: the rows run from top to bottom */
		h = UINT32_MAX - h + 1;
	moe_rd_bytes(&r, 2);
	bits = moe_rd_le(&r, 2);
	if (size > 12)
		compression = moe_rd_le(&r, 4);
	if (size >= 56) {
		moe_rd_bytes(&r, 32);
		alpha = (uint32_t)moe_rd_le(&r, 4);
	}
	if (r.bad)
		return cut_short(d, n, "BMP");
	if (bits != 1 && bits != 4 && bits != 8 && bits != 16 && bits != 24 && bits != 32)
		return moe_fail_at(d, MOE_EINPUT, 28, "BMP with %llu bits a pixel is not known", (unsigned long long)bits);
	if (compression != BI_RGB && compression != BI_BITFIELDS)
		return moe_fail(d, MOE_EINPUT, "compressed BMP is not supported; convert it first: convert IN.bmp OUT.png");
	MOE_TRY(check_size(w, h, l, d));
	row = (w * bits + 31) / 32 * 4;
	if (offset > n || row * h > n - offset)
		return cut_short(d, n, "BMP");
	out->width = (uint32_t)w;
	out->height = (uint32_t)h;
	out->opaque = bits < 16 || compression == BI_RGB || !alpha;
	return MOE_OK;
}

/* ---- PNM (netpbm's PGM and PPM, binary) ---- */

static bool blank(int c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* A decimal number after blanks and comments; above 9 digits is damage. */
static uint64_t pnm_number(struct moe_rd *r)
{
	unsigned digits = 0;
	uint64_t v = 0;

	while (moe_rd_left(r) && (blank(*r->p) || *r->p == '#')) {
		if (*r->p == '#')
			while (moe_rd_left(r) && *r->p != '\n' && *r->p != '\r')
				r->p++;
		else
			r->p++;
	}
	for (; moe_rd_left(r) && *r->p >= '0' && *r->p <= '9' && digits < 10; digits++)
		v = v * 10 + (uint64_t)(*r->p++ - '0');
	if (!digits || digits > 9)
		r->bad = true;
	return v;
}

static enum moe_err probe_pnm(struct moe_picture_head *out, const uint8_t *bytes, size_t n, const struct moe_picture_limits *l, struct moe_diag *d)
{
	unsigned channels = bytes[1] == '6' ? 3 : 1;
	uint64_t w, h, most;
	struct moe_rd r;

	moe_rd_init(&r, bytes, n);
	moe_rd_bytes(&r, 2);
	w = pnm_number(&r);
	h = pnm_number(&r);
	most = pnm_number(&r);
	if (r.bad || !moe_rd_left(&r) || !blank(*r.p))
		return moe_fail(d, MOE_EINPUT, "damaged PNM header");
	moe_rd_bytes(&r, 1);
	if (most != 255)
		return moe_fail(d, MOE_EINPUT, "PNM with largest value %llu is not supported: expected 255", (unsigned long long)most);
	MOE_TRY(check_size(w, h, l, d));
	if (w * h * channels > moe_rd_left(&r))
		return cut_short(d, n, "PNM");
	out->width = (uint32_t)w;
	out->height = (uint32_t)h;
	return MOE_OK;
}

/* ---- what it is ---- */

struct magic { uint8_t at, n; const char *bytes, *name, *suffix; };

#define MAGIC(at, bytes, name, suffix) {at, sizeof bytes - 1, bytes, name, suffix}

static const struct magic refused[] = {
	MAGIC(0, "GIF8", "GIF", "gif"),
	MAGIC(8, "WEBP", "WebP", "webp"),
	MAGIC(0, "II*\0", "TIFF", "tif"), MAGIC(0, "MM\0*", "TIFF", "tif"), MAGIC(0, "II+\0", "TIFF", "tif"), MAGIC(0, "MM\0+", "TIFF", "tif"),
	MAGIC(4, "ftypavi", "AVIF", "avif"),
	MAGIC(4, "ftyphe", "HEIC", "heic"), MAGIC(4, "ftypmif1", "HEIC", "heic"), MAGIC(4, "ftypmsf1", "HEIC", "heic"),
	MAGIC(4, "jP  ", "JPEG 2000", "jp2"), MAGIC(0, "\xff\x4f\xff\x51", "JPEG 2000", "j2k"),
	MAGIC(4, "JXL ", "JPEG XL", "jxl"), MAGIC(0, "\xff\x0a", "JPEG XL", "jxl"),
	MAGIC(0, "8BPS", "PSD", "psd"),
	MAGIC(0, "#?RADIANCE", "Radiance HDR", "hdr"), MAGIC(0, "#?RGBE", "Radiance HDR", "hdr"),
	MAGIC(0, "v/1\x01", "OpenEXR", "exr"),
	MAGIC(0, "DDS ", "DDS", "dds"),
	MAGIC(0, "qoif", "QOI", "qoi"),
	MAGIC(0, "farbfeld", "farbfeld", "ff"),
	MAGIC(0, "\x8aMNG", "MNG", "mng"),
	MAGIC(0, "\x53\x80\xf6\x34", "Softimage PIC", "pic"),
	MAGIC(0, "\0\0\1\0", "ICO", "ico"), MAGIC(0, "\0\0\2\0\1", "CUR", "cur"),
	MAGIC(0, "P1", "plain PBM", "pbm"), MAGIC(0, "P2", "plain PGM", "pgm"), MAGIC(0, "P3", "plain PPM", "ppm"), MAGIC(0, "P4", "PBM", "pbm"),
	MAGIC(0, "P7\n", "PAM", "pam"), MAGIC(0, "PF\n", "PFM", "pfm"), MAGIC(0, "Pf\n", "PFM", "pfm"),
	MAGIC(0, "/* XPM", "XPM", "xpm"),
	MAGIC(0, "%PDF", "PDF", "pdf"), MAGIC(0, "%!PS", "PostScript", "ps"),
	MAGIC(0, "<svg", "SVG", "svg"),
};

static const struct magic archives[] = {
	MAGIC(0, "PK\3\4", "a zip archive", "zip"), MAGIC(0, "\x1f\x8b", "gzip", "tar.gz"), MAGIC(0, "Rar!", "a RAR archive", 0),
	MAGIC(0, "7z\xbc\xaf", "a 7z archive", 0), MAGIC(0, "BZh", "bzip2", 0), MAGIC(0, "\xfd" "7zXZ", "xz", 0), MAGIC(0, "\x28\xb5\x2f\xfd", "zstd", 0),
};

static bool has(const struct magic *m, const uint8_t *bytes, size_t n)
{
	return n >= (size_t)m->at + m->n && !memcmp(bytes + m->at, m->bytes, m->n);
}

/* XML that has an svg element near its beginning. */
static bool is_svg(const uint8_t *bytes, size_t n)
{
	return n >= 5 && (!memcmp(bytes, "<?xml", 5) || !memcmp(bytes, "<!--", 4) || !memcmp(bytes, "<!DOC", 5)) && memmem(bytes, moe_min(n, 4096), "<svg", 4);
}

static bool is_targa(const uint8_t *bytes, size_t n) { return n >= 44 && !memcmp(bytes + n - 18, "TRUEVISION-XFILE.", 18); }

static enum moe_err refuse(const uint8_t *bytes, size_t n, struct moe_diag *d)
{
	const char *name = is_svg(bytes, n) ? "SVG" : is_targa(bytes, n) ? "TGA" : NULL, *suffix = is_svg(bytes, n) ? "svg" : "tga";

	for (size_t i = 0; !name && i < sizeof refused / sizeof *refused; i++)
		if (has(&refused[i], bytes, n)) {
			name = refused[i].name;
			suffix = refused[i].suffix;
		}
	if (name)
		return moe_fail(d, MOE_EINPUT, "%s is not supported; convert it first: convert IN.%s OUT.png", name, suffix);
	for (size_t i = 0; i < sizeof archives / sizeof *archives; i++)
		if (has(&archives[i], bytes, n))
			return moe_fail(d, MOE_EINPUT, "this is %s, not a picture; archives are known by their names (.tar, .tar.gz, .tgz, .zip)", archives[i].name);
	return moe_fail(d, MOE_EINPUT, n ? "not a picture that is known (PNG, JPEG, BMP, PNM)" : "the file is empty");
}

enum moe_err moe_picture_probe(struct moe_picture_head *out, const void *bytes, size_t n, const struct moe_picture_limits *limits, struct moe_diag *d)
{
	static const struct magic known[] = {
		[MOE_PNG] = MAGIC(0, "\x89PNG\r\n\x1a\n", "PNG", "png"), [MOE_JPEG] = MAGIC(0, "\xff\xd8\xff", "JPEG", "jpg"),
		[MOE_BMP] = MAGIC(0, "BM", "BMP", "bmp"), [MOE_PNM] = MAGIC(0, "P5", "PGM", "pgm"),
	};
	static enum moe_err (*const probe[])(struct moe_picture_head *, const uint8_t *, size_t, const struct moe_picture_limits *, struct moe_diag *) = {
		[MOE_PNG] = probe_png, [MOE_JPEG] = probe_jpeg, [MOE_BMP] = probe_bmp, [MOE_PNM] = probe_pnm,
	};
	const uint8_t *b = bytes;

	*out = (struct moe_picture_head){.orientation = 1};
	for (unsigned f = MOE_PNG; f <= MOE_PNM; f++)
		if (has(&known[f], b, n) || (f == MOE_PNM && n >= 2 && b[0] == 'P' && b[1] == '6')) {
			out->format = (enum moe_picture_format)f;
			return probe[f](out, b, n, limits, d);
		}
	return refuse(b, n, d);
}

const char *const moe_picture_suffixes[] = {
	".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".pgm", ".ppm", ".pnm",
	".gif", ".webp", ".tif", ".tiff", ".avif", ".heic", ".heif", ".jp2", ".j2k", ".jxl", ".psd", ".hdr", ".exr", ".dds", ".qoi",
	".tga", ".pic", ".ico", ".cur", ".pbm", ".pam", ".pfm", ".xpm", ".svg", ".apng", ".mng",
	NULL,
};

bool moe_picture_named(const char *name)
{
	size_t n = strlen(name);

	for (const char *const *s = moe_picture_suffixes; *s; s++) {
		size_t k = strlen(*s);
		if (n > k && !strcasecmp(name + n - k, *s))
			return true;
	}
	return false;
}
