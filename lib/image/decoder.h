/* Decodes pictures (PNG, JPEG, BMP, PNM) in a confined process.
 *
 * The decoder (Debian's stb_image) has known faults, so it never runs in the program itself: a worker of the server (sys/server.h) gets the bytes
 * and answers with pixels. One fresh worker per JPEG, one per 64 of the others. A worker that crashes, or takes too long, costs the picture it
 * had and nothing else.
 *
 * The format, the size, the orientation and the limits are found by the program's own bounded parser (probe.h) before a byte is sent, and the
 * answer must have exactly that size: nothing from the worker is believed. */
#ifndef MOE_IMAGE_DECODER_H
#define MOE_IMAGE_DECODER_H

#include <stdbool.h>

#include "base/err.h"
#include "image/picture.h"

enum moe_alpha {
	MOE_ALPHA_OVER,         /* lay over `background`, as Pillow's alpha_composite over an opaque picture */
	MOE_ALPHA_DROP,         /* forget it, as Pillow's convert("RGB") */
};

/* Zeroed options are the defaults: 64 Mi pixels, sides up to 65535, 10 s, alpha over black, upright by EXIF, confined. */
struct moe_decode_options {
	uint64_t max_pixels;            /* 0: 64 Mi (67,108,864) */
	uint32_t max_side;              /* 0: 65535 */
	unsigned timeout_ms;            /* wall clock for one picture; 0: 10,000 */
	enum moe_alpha alpha;
	uint8_t background[3];
	bool keep_orientation;          /* do not turn by the EXIF orientation */
	bool no_sandbox;                /* work without seccomp (limits and the separate process stay); otherwise its lack is an error */
	unsigned test_fault;            /* enum moe_decode_fault, for tests only */
};

/* What a worker does in place of decoding, to test what the program makes of it. */
enum moe_decode_fault { MOE_FAULT_NONE, MOE_FAULT_CRASH, MOE_FAULT_HANG, MOE_FAULT_SOCKET, MOE_FAULT_OPEN_FILE, MOE_FAULT_GREED,
                        MOE_FAULT_SHORT, MOE_FAULT_LONG };

struct moe_decoder;

/* Cheap: the first worker starts with the first picture. The server must run (moe_feed_server_start); when it does not, decoding fails. */
enum moe_err moe_decoder_new(struct moe_decoder **out, const struct moe_decode_options *o, struct moe_diag *d) MOE_CHECK_RESULT;

/* Ends the worker. NULL is fine. */
void moe_decoder_free(struct moe_decoder *dec);

/* Decodes n bytes into *out (release with free(out->rgb)). MOE_EINPUT: the picture is damaged, unknown or not supported, or its worker died;
 * MOE_ENOMEM: larger than the limits; MOE_EIO: no worker could be had. After any of them the decoder can be used on. One thread per decoder. */
enum moe_err moe_decoder_run(struct moe_decoder *dec, const void *bytes, size_t n, struct moe_picture *out, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
