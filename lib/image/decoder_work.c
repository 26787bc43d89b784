/* The worker's side: everything here runs confined, on bytes of strangers. */
#include "image/decoder_priv.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image/compose.h"
#include "image/decoder.h"
#include "image/stb.h"

/* More than any of the four needs: 16-bit RGBA takes 8 + 8 + 4 bytes a pixel while it is narrowed, a progressive JPEG 3·(2 + 1) + 3 with its
 * sides rounded up to whole blocks. */
static size_t budget(const struct moe_decode_request *q)
{
	return ((size_t)q->head.width + 32) * ((size_t)q->head.height + 32) * 24 + 4 * q->n + (1 << 20);
}

/* Upright RGB, or NULL and the reason. */
static uint8_t *decode(const struct moe_decode_request *q, const uint8_t *bytes, const char **why)
{
	uint8_t *pixels, *rgb, *upright;
	uint32_t w, h;
	unsigned channels;
	size_t n;

	*why = moe_stb_decode(bytes, q->n, budget(q), &pixels, &w, &h, &channels);
	if (*why)
		return NULL;
	n = (size_t)w * h;
	rgb = w == q->head.width && h == q->head.height && channels >= 1 && channels <= 4 ? malloc(3 * n) : NULL;
	if (!rgb) {
		*why = "the header says another size";
		moe_stb_free(pixels);
		return NULL;
	}
	moe_compose_rgb(rgb, pixels, n, channels, q->over && !q->head.opaque ? q->background : NULL);
	moe_stb_free(pixels);
	if (q->head.orientation < 2 || q->head.orientation > 8)
		return rgb;
	upright = malloc(3 * n);
	if (upright)
		moe_compose_upright(upright, rgb, w, h, q->head.orientation);
	else
		*why = "out of memory";
	free(rgb);
	return upright;
}

/* For tests: what faulty and hostile decoders do. */
static void misbehave(unsigned fault)
{
	volatile uintptr_t nowhere = 16;        /* not 0, which compilers and sanitizers see coming */
	void *p;
	volatile unsigned turns = 0;
	int fd;

	switch (fault) {
	case MOE_FAULT_CRASH:
		*(volatile char *)nowhere = 1;
		break;
	case MOE_FAULT_HANG:
		for (;;)
			turns++;
	case MOE_FAULT_SOCKET:
		fd = dup(0);
		_exit(fd < 0 ? 3 : 4);
	case MOE_FAULT_OPEN_FILE:
		fd = open("/etc/passwd", O_RDONLY);
		_exit(fd < 0 ? 3 : 4);
	case MOE_FAULT_GREED:
		p = malloc((size_t)64 << 30);
		_exit(p ? 4 : 3);
	default:
		break;
	}
}

static bool answer(int socket, const struct moe_decode_request *q, const uint8_t *rgb, const char *why)
{
	struct moe_decode_answer a = {.ok = rgb != NULL};
	size_t n = (size_t)q->head.width * q->head.height * 3;
	bool ok;

	if (rgb) {
		if (q->fault == MOE_FAULT_SHORT)
			n--;
		ok = moe_work_write(socket, &a, sizeof a) && moe_work_write(socket, rgb, n);
		if (q->fault == MOE_FAULT_LONG)
			ok = moe_work_write(socket, rgb, 1);
		return ok && q->fault != MOE_FAULT_SHORT;
	}
	a.n_text = (uint32_t)strnlen(why, MOE_DECODE_TEXT);
	return moe_work_write(socket, &a, sizeof a) && moe_work_write(socket, why, a.n_text);
}

static void run(int socket, int file)
{
	struct moe_decode_request q;
	bool ok = true;

	(void)file;
	while (ok && moe_work_read(socket, &q, sizeof q)) {
		uint8_t *bytes = malloc(q.n ? q.n : 1), *rgb = NULL;
		const char *why = "out of memory";
		if (bytes && !moe_work_read(socket, bytes, q.n))
			return;
		misbehave(q.fault);
		if (bytes)
			rgb = decode(&q, bytes, &why);
		ok = bytes && answer(socket, &q, rgb, why);
		free(rgb);
		free(bytes);
	}
}

const struct moe_work moe_decode_work = {.run = run, .memory = (uint64_t)5 << 29, .cpu_seconds = 3600};
