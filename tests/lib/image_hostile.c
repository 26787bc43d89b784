/* Pictures that are damaged, huge, of another kind, or meant to break the decoder; and decoders that misbehave. After each of them a
 * good picture must decode as before. */
#include "image_data.h"

#include <sys/resource.h>

#include "base/rng.h"
#include "image/decoder.h"
#include "image/exif.h"
#include "image/feed.h"
#include "sys/sandbox.h"
#include "sys/server.h"

static struct moe_decoder *decoder;
static uint8_t *good;
static size_t n_good;
static uint32_t good_crc;

static void still_good(struct moe_decoder *dec)
{
	struct moe_diag d = {0};
	struct moe_picture p;

	if (moe_decoder_run(dec, good, n_good, &p, &d))
		fail_msg("the good picture failed: %s", d.text);
	assert_int_equal(picture_crc(&p), good_crc);
	free(p.rgb);
}

/* The bytes must be refused with a message that contains `text`. */
static void refused(const void *bytes, size_t n, const char *text)
{
	struct moe_diag d = {0};
	struct moe_picture p;

	assert_int_not_equal(moe_decoder_run(decoder, bytes, n, &p, &d), MOE_OK);
	if (!strstr(d.text, text))
		fail_msg("'%s' does not say '%s'", d.text, text);
	assert_null(p.rgb);
}

/* ---- prefixes ---- */

static void test_prefixes(void **state)
{
	static const char *const names[] = {"one.png", "tiny.png", "interlaced-tiny.png", "palette-2bit.png", "tiny.jpg", "bilevel.bmp", "gray.pgm"};

	(void)state;
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
		char path[128];
		size_t n;
		uint8_t *bytes;
		snprintf(path, sizeof path, IMAGES "files/%s", names[i]);
		bytes = read_bytes(path, &n);
		for (size_t k = 0; k < n; k++) {
			uint8_t *cut = malloc(k ? k : 1);       /* a block of its own, so that ASan sees a byte too far */
			struct moe_picture p;
			memcpy(cut, bytes, k);
			if (!moe_decoder_run(decoder, cut, k, &p, NULL))
				fail_msg("%s: the first %zu of %zu bytes decode", names[i], k, n);
			free(cut);
		}
		free(bytes);
	}
	still_good(decoder);
}

/* ---- bombs ---- */

static void put_be(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static size_t put_chunk(uint8_t *p, const char *type, const void *data, uint32_t n)
{
	put_be(p, n);
	memcpy(p + 4, type, 4);
	memcpy(p + 8, data, n);
	put_be(p + 8 + n, (uint32_t)crc32(0, p + 4, n + 4));
	return n + 12;
}

/* A PNG whose checksums are right and whose pixels are n bytes of `data`. */
static size_t make_png(uint8_t *out, uint32_t w, uint32_t h, uint8_t depth, uint8_t colour, uint8_t interlaced, const void *data, uint32_t n)
{
	uint8_t head[13] = {0};
	size_t at = 8;

	memcpy(out, "\x89PNG\r\n\x1a\n", 8);
	put_be(head, w);
	put_be(head + 4, h);
	head[8] = depth;
	head[9] = colour;
	head[12] = interlaced;
	at += put_chunk(out + at, "IHDR", head, 13);
	at += put_chunk(out + at, "IDAT", data, n);
	return at + put_chunk(out + at, "IEND", "", 0);
}

static void png_bomb(uint32_t w, uint32_t h, uint8_t depth, uint8_t colour, uint8_t interlaced, const char *text)
{
	uint8_t out[4096], zeros[1000] = {0x78, 0x9c};

	refused(out, make_png(out, w, h, depth, colour, interlaced, zeros, sizeof zeros), text);
}

static void test_bombs(void **state)
{
	static const uint8_t tga[18] = {[2] = 2, [12] = 0x81, 0x5a, 0x81, 0x5a, 32};
	static const uint8_t jpeg[] = {0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, 0xff, 0xdc, 0xff, 0xdc, 1, 1, 0x11, 0,
	                               0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0, 0xff, 0xd9};
	uint8_t bmp[54] = {'B', 'M', [10] = 54, [14] = 40, [26] = 1, [28] = 24}, small[sizeof jpeg];
	uint8_t long_chunk[100] = {0};
	uint64_t begin = moe_now_ms();
	struct rusage usage;

	(void)state;
	png_bomb(65535, 65535, 8, 6, 0, "the limit is");
	png_bomb(1 << 24, 1, 8, 2, 0, "the limit is");
	png_bomb(1, 0x7fffffff, 8, 2, 0, "the limit is");
	png_bomb(0, 5, 8, 2, 0, "0 x 5");
	png_bomb(8192, 8192, 16, 6, 1, "cannot hold");
	png_bomb(8192, 8192, 1, 0, 0, "cannot hold");
	png_bomb(5, 5, 3, 2, 0, "unknown kind");
	png_bomb(5, 5, 8, 7, 0, "unknown kind");
	put_be(long_chunk + make_png(long_chunk, 5, 5, 8, 2, 0, "", 0) - 24, 0xfffffffc);      /* with type and 32 bits: 0 bytes */
	refused(long_chunk, sizeof long_chunk, "a chunk of 4294967292 bytes");
	refused(tga, sizeof tga, "not a picture that is known");
	refused("GIF89a\xff\xff\xff\xff\x80", 11, "GIF is not supported");
	refused(jpeg, sizeof jpeg, "the limit is");
	memcpy(small, jpeg, sizeof jpeg);
	small[7] = small[9] = 0x1f;     /* 8156 x 8156: within the limit, but not in 27 bytes */
	refused(small, sizeof small, "cannot hold");
	memcpy(bmp + 18, "\x00\x20\x00\x00\x00\x20\x00\x00", 8);
	refused(bmp, sizeof bmp, "ends too early");
	memcpy(bmp + 22, "\x00\x00\x00\x80", 4);
	refused(bmp, sizeof bmp, "the limit is");
	refused("P6 8000 8000 255\n", 17, "ends too early");
	refused("P5 99999999999999999999 1 255\n", 30, "damaged PNM");
	refused("P5 1 1 65535\nxx", 15, "largest value 65535");
	still_good(decoder);
	if (moe_sandbox_real()) {
		getrusage(RUSAGE_SELF, &usage);
		assert_true(usage.ru_maxrss < 64 << 10);
		assert_true(moe_now_ms() - begin < 500);
	}
}

static void test_limits(void **state)
{
	struct moe_decode_options o = {.max_pixels = 100};
	struct moe_decoder *dec;
	struct moe_diag d = {0};
	struct moe_picture p;

	(void)state;
	assert_int_equal(moe_decoder_new(&dec, &o, &d), MOE_OK);
	assert_int_equal(moe_decoder_run(dec, good, n_good, &p, &d), MOE_ENOMEM);
	assert_non_null(strstr(d.text, "100 in all"));
	moe_decoder_free(dec);
}

/* Shapes at the edge (IA4, I10): a row and a column of 65535. */
static void test_shapes(void **state)
{
	(void)state;
	for (int turn = 0; turn < 2; turn++) {
		uint32_t w = turn ? 65535 : 1, h = turn ? 1 : 65535;
		size_t n_raw = (size_t)h * (w + 1);
		uLongf n = compressBound(n_raw);
		uint8_t *raw = calloc(n_raw, 1), *data = malloc(n), *png = malloc(n + 100);
		struct moe_diag d = {0};
		struct moe_picture p;
		assert_int_equal(compress(data, &n, raw, n_raw), Z_OK);
		if (moe_decoder_run(decoder, png, make_png(png, w, h, 8, 0, 0, data, (uint32_t)n), &p, &d))
			fail_msg("%s", d.text);
		assert_true(p.width == w && p.height == h && !p.rgb[0] && !p.rgb[3 * 65534]);
		free(p.rgb);
		free(raw);
		free(data);
		free(png);
	}
}

/* ---- formats ---- */

static void test_formats(void **state)
{
	static const struct { const char *bytes; size_t n; const char *name; } row[] = {
#define ROW(bytes, name) {bytes, sizeof bytes - 1, name}
		ROW("GIF87a....", "GIF"), ROW("RIFF\1\2\3\4WEBPVP8 ", "WebP is not supported; convert it first: convert IN.webp OUT.png"),
		ROW("II*\0\1\1\1\1", "TIFF"), ROW("MM\0*\1\1\1\1", "TIFF"),
		ROW("\0\0\0\x1c" "ftypavif", "AVIF"), ROW("\0\0\0\x1c" "ftypheic", "HEIC"),
		ROW("\0\0\0\x0cjP  \r\n", "JPEG 2000"), ROW("\xff\x0a\xff", "JPEG XL"), ROW("8BPS\0\1", "PSD"), ROW("#?RADIANCE\n", "HDR"),
		ROW("<svg xmlns=\"\"/>", "SVG"), ROW("<?xml version=\"1.0\"?>\n<svg/>", "SVG"), ROW("P3\n1 1\n255\n", "plain PPM"), ROW("P4\n1 1\n", "PBM"),
		ROW("\x53\x80\xf6\x34", "PIC"), ROW("%PDF-1.7", "PDF"), ROW("PK\3\4....", "zip archive"), ROW("\x1f\x8b\x08", "gzip"),
		ROW("", "empty"), ROW("hello", "not a picture that is known (PNG, JPEG, BMP, PNM)"), ROW("\0", "not a picture"),
	};
	static const char *const files[] = {"lossy.webp", "animated.gif", "rgb.tga"};

	(void)state;
	for (unsigned i = 0; i < sizeof row / sizeof *row; i++)
		refused(row[i].bytes, row[i].n, row[i].name);
	for (unsigned i = 0; i < 3; i++) {
		char path[128];
		size_t n;
		uint8_t *bytes;
		snprintf(path, sizeof path, IMAGES "files/%s", files[i]);
		bytes = read_bytes(path, &n);
		refused(bytes, n, "is not supported; convert it first");
		free(bytes);
	}
}

/* ---- no crash of the program, whatever is inside ---- */

static unsigned random_below(uint64_t stream, uint64_t i, unsigned n) { return (unsigned)(moe_random_u64(7, stream, i) % n); }

/* Repairs the checksums, so that the damage reaches the decoder. */
static void repair_png(uint8_t *p, size_t n)
{
	for (size_t at = 8; at + 12 <= n;) {
		uint32_t size = (uint32_t)p[at] << 24 | (uint32_t)p[at + 1] << 16 | (uint32_t)p[at + 2] << 8 | p[at + 3];
		if (size > n - at - 12)
			return;
		put_be(p + at + 8 + size, (uint32_t)crc32(0, p + at + 4, size + 4));
		at += size + 12;
	}
}

static void mutate(const char *name, unsigned n_turns, uint64_t stream)
{
	char path[128];
	size_t n;
	uint8_t *bytes;

	snprintf(path, sizeof path, IMAGES "files/%s", name);
	bytes = read_bytes(path, &n);
	for (unsigned turn = 0; turn < n_turns; turn++) {
		uint8_t *copy = malloc(n);
		struct moe_picture p;
		memcpy(copy, bytes, n);
		for (unsigned k = 0, m = 1 + random_below(stream, 16 * turn, 4); k < m; k++)
			copy[random_below(stream, 16 * turn + 2 * k + 1, (unsigned)n)] = (uint8_t)random_below(stream, 16 * turn + 2 * k + 2, 256);
		repair_png(copy, strstr(name, ".png") ? n : 0);
		if (!moe_decoder_run(decoder, copy, n, &p, NULL))
			free(p.rgb);
		free(copy);
	}
	free(bytes);
	still_good(decoder);
}

static void test_mutations(void **state)
{
	static const char *const names[] = {"tiny.jpg", "progressive.jpg", "cmyk.jpg", "palette.png", "rgba16.png", "interlaced-pal4.png",
	                                    "palette.bmp", "rgb.ppm"};
	unsigned n = moe_sandbox_real() ? 200 : 40;

	(void)state;
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
		mutate(names[i], n, i);
}

/* A Huffman table that declares more than 256 codes (I8; wrote past an array in stb_image 2.27). */
static void test_jpeg_codes(void **state)
{
	uint8_t jpeg[700] = {0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, 0, 8, 0, 8, 1, 1, 0x11, 0, 0xff, 0xc4};
	size_t at = 17;
	struct moe_picture p;

	(void)state;
	for (unsigned counts = 1; counts <= 255; counts += 127) {
		at = 17;
		jpeg[at++] = 1;
		jpeg[at++] = 0x90;
		jpeg[at++] = 0;
		memset(jpeg + at, (int)counts, 16);
		at = 17 + 0x190;
		memcpy(jpeg + at, "\xff\xda\0\x08\1\1\0\0\x3f\0\x12\x34\xff\xd9", 14);
		if (!moe_decoder_run(decoder, jpeg, at + 14, &p, NULL))
			free(p.rgb);
	}
	still_good(decoder);
}

static void test_garbage(void **state)
{
	static const struct { const char *magic; size_t n; } row[] = {
		{"\x89PNG\r\n\x1a\n", 8}, {"\xff\xd8\xff", 3}, {"BM", 2}, {"P5 ", 3}, {"P6\n9 9\n255\n", 11},
	};

	(void)state;
	for (unsigned turn = 0; turn < 500; turn++) {
		uint8_t bytes[600];
		struct moe_picture p;
		size_t n = row[turn % 5].n + random_below(90, turn, 500);
		for (unsigned i = 0; i < sizeof bytes; i++)
			bytes[i] = (uint8_t)moe_random_u64(9, turn, i);
		memcpy(bytes, row[turn % 5].magic, row[turn % 5].n);
		if (!moe_decoder_run(decoder, bytes, n, &p, NULL))
			free(p.rgb);
	}
	still_good(decoder);
}

/* EXIF that lies: offsets and counts beyond the data, and every prefix of a good one. */
static void test_exif(void **state)
{
	static const uint8_t good_exif[] = {'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0};
	uint8_t bad[sizeof good_exif];

	(void)state;
	assert_int_equal(moe_exif_orientation(good_exif, sizeof good_exif), 6);
	for (size_t n = 0; n < sizeof good_exif; n++) {
		uint8_t *cut = malloc(n ? n : 1);
		memcpy(cut, good_exif, n);
		assert_int_equal(moe_exif_orientation(cut, n), n < 20 ? 1 : 6);
		free(cut);
	}
	for (unsigned turn = 0; turn < 5000; turn++) {
		unsigned o;
		memcpy(bad, good_exif, sizeof bad);
		bad[random_below(91, 2 * turn, sizeof bad)] = (uint8_t)random_below(91, 2 * turn + 1, 256);
		o = moe_exif_orientation(bad, sizeof bad);
		assert_true(o >= 1 && o <= 8);
	}
}

/* ---- decoders that misbehave ---- */

static void faulty(enum moe_decode_fault fault, const char *text)
{
	struct moe_decode_options o = {.timeout_ms = 300, .test_fault = fault}, fine = {0};
	struct moe_decoder *dec;
	struct moe_diag d = {0};
	struct moe_picture p;

	assert_int_equal(moe_decoder_new(&dec, &o, &d), MOE_OK);
	for (int i = 0; i < 2; i++) {
		moe_diag_clear(&d);
		assert_int_equal(moe_decoder_run(dec, good, n_good, &p, &d), MOE_EINPUT);
		if (!strstr(d.text, text))
			fail_msg("'%s' does not say '%s'", d.text, text);
		assert_null(p.rgb);
	}
	moe_decoder_free(dec);
	assert_int_equal(moe_decoder_new(&dec, &fine, &d), MOE_OK);
	still_good(dec);
	moe_decoder_free(dec);
}

static void test_faults(void **state)
{
	struct moe_decode_options o = {.test_fault = MOE_FAULT_LONG};
	struct moe_decoder *dec;

	(void)state;
	faulty(MOE_FAULT_CRASH, "the decoder crashed (signal 11)");
	faulty(MOE_FAULT_HANG, "the decoder took longer than 0.3 s");
	faulty(MOE_FAULT_SHORT, "the decoder ended early");
	faulty(MOE_FAULT_OPEN_FILE, "the decoder ended early (exit status 3)");         /* 4: it was opened */
	if (moe_sandbox_real()) {
		faulty(MOE_FAULT_SOCKET, "forbidden system call");
		faulty(MOE_FAULT_GREED, "the decoder ended early (exit status 3)");
	}
	/* A byte too many must not become the next answer's first. */
	assert_int_equal(moe_decoder_new(&dec, &o, NULL), MOE_OK);
	for (int i = 0; i < 20; i++)
		still_good(dec);
	moe_decoder_free(dec);
}

static void test_no_sandbox(void **state)
{
	struct moe_decode_options o = {.no_sandbox = true};
	struct moe_decoder *dec;

	(void)state;
	assert_int_equal(moe_decoder_new(&dec, &o, NULL), MOE_OK);
	still_good(dec);
	moe_decoder_free(dec);
}

static int begin(void **state)
{
	struct moe_decode_options o = {0};
	struct moe_diag d = {0};
	struct moe_picture p;

	(void)state;
	good = read_bytes(IMAGES "files/rgb.bmp", &n_good);
	if (moe_decoder_new(&decoder, &o, &d) || moe_decoder_run(decoder, good, n_good, &p, &d))
		return -1;
	good_crc = picture_crc(&p);
	free(p.rgb);
	return 0;
}

static int end(void **state)
{
	(void)state;
	moe_decoder_free(decoder);
	free(good);
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bombs), cmocka_unit_test(test_prefixes), cmocka_unit_test(test_limits), cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_formats), cmocka_unit_test(test_mutations), cmocka_unit_test(test_jpeg_codes), cmocka_unit_test(test_garbage), cmocka_unit_test(test_exif), cmocka_unit_test(test_faults),
		cmocka_unit_test(test_no_sandbox),
	};
	struct moe_diag d = {0};

	if (moe_feed_server_start(&d))
		return 1;
	return cmocka_run_group_tests(tests, begin, end);
}
