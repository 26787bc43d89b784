/* stb_image decodes here outside its confined worker: the bytes are our own encoder's. */
#include "synth/jpeg.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "image/stb.h"

#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#define STBIW_ASSERT(x) ((x) ? (void)0 : __builtin_trap())

/* To the end of the file: gcc reports what is declared and never used there. */
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wshadow"
#include <stb/stb_image_write.h>

enum { DECODER_BUDGET = 256 << 20 };

struct bytes {
	uint8_t *at;
	size_t n, room;
	enum moe_err err;
	struct moe_diag *d;
};

static void on_bytes(void *arg, void *from, int n)
{
	struct bytes *b = arg;

	if (!b->err)
		b->err = moe_grow(&b->at, &b->room, b->n + (size_t)n, 1, b->d);
	if (b->err)
		return;
	memcpy(b->at + b->n, from, (size_t)n);
	b->n += (size_t)n;
}

static enum moe_err decode(const struct bytes *b, uint8_t *rgb, uint32_t w, uint32_t h, struct moe_diag *d)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;        /* the decoder is for one thread */
	uint32_t have_w, have_h;
	unsigned channels;
	uint8_t *pixels;
	const char *why;

	pthread_mutex_lock(&lock);
	why = moe_stb_decode(b->at, b->n, DECODER_BUDGET, &pixels, &have_w, &have_h, &channels);
	if (!why && (have_w != w || have_h != h || channels != 3))
		why = "another size";
	if (!why)
		memcpy(rgb, pixels, 3 * (size_t)w * h);
	moe_stb_free(pixels);
	pthread_mutex_unlock(&lock);
	return why ? moe_fail(d, MOE_ENOMEM, "a compressed picture cannot be decoded: %s", why) : MOE_OK;
}

enum moe_err moe_jpeg_round_trip(uint8_t *rgb, uint32_t w, uint32_t h, int quality, struct moe_diag *d)
{
	struct bytes b = {.d = d};
	enum moe_err err;

	if (!stbi_write_jpg_to_func(on_bytes, &b, (int)w, (int)h, 3, rgb, quality) && !b.err)
		b.err = moe_fail(d, MOE_EUSAGE, "a picture of %u x %u pixels cannot be compressed", w, h);
	err = b.err ? b.err : decode(&b, rgb, w, h, d);
	free(b.at);
	return err;
}
