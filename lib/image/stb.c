/* Compiled with the formats that we do not want left out, and with an allocator that zeroes what it gives (the faults read memory that was never
 * written) and stops at a budget (the faults ask for gigabytes). */
#include "image/stb.h"

#include <limits.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

static size_t room;     /* bytes that may still be allocated */

static void *take(size_t n)
{
	void *p = n <= room ? calloc(1, n ? n : 1) : NULL;

	if (p)
		room -= room < malloc_usable_size(p) ? room : malloc_usable_size(p);
	return p;
}

static void give(void *p)
{
	if (p)
		room += malloc_usable_size(p);
	free(p);
}

static void *retake(void *p, size_t old, size_t n)
{
	void *q = take(n);

	if (q && p) {
		memcpy(q, p, old < n ? old : n);
		give(p);
	}
	return q;
}

#define STBI_MALLOC(n) take(n)
#define STBI_REALLOC_SIZED(p, old, n) retake(p, old, n)
#define STBI_FREE(p) give(p)
#define STBI_ASSERT(x) ((x) ? (void)0 : __builtin_trap())
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_ONLY_BMP
#define STBI_ONLY_PNM
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_NO_THREAD_LOCALS
#define STBI_MAX_DIMENSIONS 65535
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION

/* To the end of the file: gcc reports what is declared and never defined there. */
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-but-set-variable"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#include <stb/stb_image.h>

const char *moe_stb_decode(const uint8_t *bytes, size_t n, size_t budget, uint8_t **pixels, uint32_t *w, uint32_t *h, unsigned *n_channels)
{
	int x = 0, y = 0, c = 0;

	room = budget;
	*pixels = n <= INT_MAX ? stbi_load_from_memory(bytes, (int)n, &x, &y, &c, 0) : NULL;
	if (!*pixels)
		return stbi_failure_reason() ? stbi_failure_reason() : "unknown failure";
	*w = (uint32_t)x;
	*h = (uint32_t)y;
	*n_channels = (unsigned)c;
	return NULL;
}

void moe_stb_free(uint8_t *pixels) { give(pixels); }
