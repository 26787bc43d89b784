#include "image/png.h"

#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { LEVEL = 6, MAX_SIDE = 65535, HEADER = 8 + 25, CHUNK = 12 };

enum filter { NONE, SUB, UP, N_FILTERS };

struct moe_png {
	struct libdeflate_compressor *compressor;
	uint8_t *rows, *file;
	size_t rows_room, file_room;
};

enum moe_err moe_png_new(struct moe_png **out, struct moe_diag *d)
{
	struct moe_png *p = moe_calloc(1, sizeof *p);

	*out = p;
	if (p)
		p->compressor = libdeflate_alloc_compressor(LEVEL);
	if (p && p->compressor)
		return MOE_OK;
	free(p);
	*out = NULL;
	return moe_fail(d, MOE_ENOMEM, "out of memory");
}

void moe_png_free(struct moe_png *p)
{
	if (!p)
		return;
	libdeflate_free_compressor(p->compressor);
	free(p->rows);
	free(p->file);
	free(p);
}

/* One row of n bytes filtered; `above` is NULL in the first row. Returns the sum of absolute differences, the usual guess at how it compresses. */
static unsigned filter_row(enum filter f, uint8_t *to, const uint8_t *row, const uint8_t *above, size_t n)
{
	unsigned sum = 0;

	for (size_t i = 0; i < n; i++) {
		uint8_t guess = f == SUB ? (i < 3 ? 0 : row[i - 3]) : f == UP && above ? above[i] : 0;
		to[i] = (uint8_t)(row[i] - guess);
		sum += (unsigned)abs((int8_t)to[i]);
	}
	return sum;
}

/* The best filter of each row, and its number in front. `spare` has room for a row. */
static void filter(uint8_t *to, const uint8_t *rgb, size_t width, size_t height, uint8_t *spare)
{
	size_t n = 3 * width;

	for (size_t y = 0; y < height; y++, to += n + 1) {
		const uint8_t *row = rgb + y * n;
		unsigned best = filter_row(NONE, to + 1, row, NULL, n);
		to[0] = NONE;
		for (enum filter f = SUB; f < N_FILTERS; f++) {
			unsigned sum = filter_row(f, spare, row, y ? row - n : NULL, n);
			if (sum >= best)
				continue;
			best = sum;
			to[0] = (uint8_t)f;
			memcpy(to + 1, spare, n);
		}
	}
}

static void put32(uint8_t *to, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		to[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* Length, type and CRC around n bytes of data that lie at to + 8 already; returns the end. */
static uint8_t *close_chunk(uint8_t *to, const char *type, size_t n)
{
	put32(to, (uint32_t)n);
	memcpy(to + 4, type, 4);
	put32(to + 8 + n, libdeflate_crc32(0, to + 4, n + 4));
	return to + CHUNK + n;
}

enum moe_err moe_png_encode(struct moe_png *p, const uint8_t *rgb, uint32_t width, uint32_t height, const uint8_t **bytes, size_t *n, struct moe_diag *d)
{
	static const uint8_t magic[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'}, kind[5] = {8, 2, 0, 0, 0};  /* 8 bits, RGB */
	size_t row = 3 * (size_t)width, raw = (row + 1) * height, most, packed;
	uint8_t *at;

	if (!width || !height || width > MAX_SIDE || height > MAX_SIDE)
		return moe_fail(d, MOE_EUSAGE, "a picture of %u x %u pixels cannot be written", width, height);
	MOE_TRY(moe_grow(&p->rows, &p->rows_room, raw + row, 1, d));
	filter(p->rows, rgb, width, height, p->rows + raw);
	most = libdeflate_zlib_compress_bound(p->compressor, raw);
	MOE_TRY(moe_grow(&p->file, &p->file_room, HEADER + 2 * CHUNK + most, 1, d));
	memcpy(p->file, magic, sizeof magic);
	at = p->file + sizeof magic;
	put32(at + 8, width);
	put32(at + 12, height);
	memcpy(at + 16, kind, sizeof kind);
	at = close_chunk(at, "IHDR", 13);
	packed = libdeflate_zlib_compress(p->compressor, p->rows, raw, at + 8, most);
	if (!packed || packed > INT32_MAX)
		return moe_fail(d, MOE_EUSAGE, "a picture of %u x %u pixels is too large", width, height);
	at = close_chunk(at, "IDAT", packed);
	at = close_chunk(at, "IEND", 0);
	*bytes = p->file;
	*n = (size_t)(at - p->file);
	return MOE_OK;
}
