#include "image/decoder.h"

#include <ctype.h>
#include <stdlib.h>

#include "image/decoder_priv.h"
#include "image/probe.h"

enum { BATCH = 64, PIXELS = 64 << 20, SIDE = 65535, TIMEOUT_MS = 10000 };

static const char who[] = "decoder";

struct moe_decoder {
	struct moe_decode_options o;
	struct moe_worker worker;       /* between pictures: of the batch formats, or none */
	unsigned used;                  /* pictures that it has had */
};

enum moe_err moe_decoder_new(struct moe_decoder **out, const struct moe_decode_options *o, struct moe_diag *d)
{
	struct moe_decoder *dec = calloc(1, sizeof *dec);

	if (!dec)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	dec->o = *o;
	dec->worker.fd = -1;
	if (!dec->o.max_pixels)
		dec->o.max_pixels = PIXELS;
	if (!dec->o.max_side || dec->o.max_side > SIDE)
		dec->o.max_side = SIDE;
	if (!dec->o.timeout_ms)
		dec->o.timeout_ms = TIMEOUT_MS;
	*out = dec;
	return MOE_OK;
}

void moe_decoder_free(struct moe_decoder *dec)
{
	if (!dec)
		return;
	moe_worker_end(&dec->worker, NULL);
	free(dec);
}

/* A worker for the next picture: a fresh one for JPEG, else the batch's while it is good. */
static enum moe_err hire(struct moe_decoder *dec, enum moe_picture_format format, struct moe_diag *d)
{
	if (dec->worker.fd >= 0 && (format == MOE_JPEG || dec->used >= BATCH || !moe_worker_silent(&dec->worker)))
		moe_worker_end(&dec->worker, NULL);
	if (dec->worker.fd >= 0)
		return MOE_OK;
	dec->used = 0;
	return moe_worker_start(&dec->worker, MOE_WORK_PICTURES, -1, dec->o.no_sandbox, d);
}

/* Reads why the worker could not, as text that cannot spoil a message. */
static enum moe_err complaint(struct moe_decoder *dec, const struct moe_decode_answer *a, uint64_t deadline, struct moe_diag *d)
{
	char text[MOE_DECODE_TEXT + 1] = {0};
	uint32_t n = a->n_text;

	if (a->ok || n > MOE_DECODE_TEXT)
		return moe_fail(d, MOE_EINPUT, "the decoder's answer makes no sense");
	MOE_TRY(moe_worker_receive(&dec->worker, text, n, deadline));
	for (uint32_t i = 0; i < n; i++)
		if (!isprint((unsigned char)text[i]))
			text[i] = '?';
	return moe_fail(d, MOE_EINPUT, "cannot be decoded: %s", text);
}

/* Sends the request and takes exactly the answer that it may have. */
static enum moe_err exchange(struct moe_decoder *dec, const struct moe_decode_request *q, const void *bytes, uint8_t **rgb, struct moe_diag *d)
{
	size_t n_rgb = (size_t)q->head.width * q->head.height * 3;
	uint64_t deadline = moe_now_ms() + dec->o.timeout_ms;
	struct moe_decode_answer a;
	enum moe_err err;

	MOE_TRY(moe_worker_send(&dec->worker, q, sizeof *q, deadline));
	MOE_TRY(moe_worker_send(&dec->worker, bytes, q->n, deadline));
	MOE_TRY(moe_worker_receive(&dec->worker, &a, sizeof a, deadline));
	if (a.ok != 1)
		return complaint(dec, &a, deadline, d);
	*rgb = malloc(n_rgb);
	if (!*rgb)
		return moe_fail(d, MOE_ENOMEM, "out of memory for %u x %u pixels", q->head.width, q->head.height);
	err = moe_worker_receive(&dec->worker, *rgb, n_rgb, deadline);
	if (err) {
		free(*rgb);
		*rgb = NULL;
	}
	return err;
}

/* One try; the worker is gone afterwards if it may not have another picture. */
static enum moe_err try(struct moe_decoder *dec, const struct moe_decode_request *q, const void *bytes, uint8_t **rgb, struct moe_diag *d)
{
	enum moe_err err;

	MOE_TRY(hire(dec, q->head.format, d));
	err = exchange(dec, q, bytes, rgb, d);
	if (err && !d->code)
		err = moe_worker_fail(&dec->worker, err, who, dec->o.timeout_ms, d);
	if (err || q->head.format == MOE_JPEG || ++dec->used == BATCH)
		moe_worker_end(&dec->worker, NULL);
	return err;
}

enum moe_err moe_decoder_run(struct moe_decoder *dec, const void *bytes, size_t n, struct moe_picture *out, struct moe_diag *d)
{
	struct moe_picture_limits limits = {.max_pixels = dec->o.max_pixels, .max_side = dec->o.max_side};
	struct moe_decode_request q = {.n = n, .over = dec->o.alpha == MOE_ALPHA_OVER, .fault = dec->o.test_fault};
	struct moe_diag why = {0};
	bool turned, batch = dec->used && dec->worker.fd >= 0;
	enum moe_err err;

	*out = (struct moe_picture){0};
	MOE_TRY(moe_picture_probe(&q.head, bytes, n, &limits, d));
	for (int c = 0; c < 3; c++)
		q.background[c] = dec->o.background[c];
	if (dec->o.keep_orientation)
		q.head.orientation = 1;
	err = try(dec, &q, bytes, &out->rgb, &why);
	/* An earlier picture of the batch may have spoilt the worker: what fails there is tried once more on its own. */
	if (err && batch) {
		moe_diag_clear(&why);
		err = try(dec, &q, bytes, &out->rgb, &why);
	}
	if (err)
		return moe_fail(d, err, "%s", why.text);
	turned = q.head.orientation >= 5;
	out->width = turned ? q.head.height : q.head.width;
	out->height = turned ? q.head.width : q.head.height;
	return MOE_OK;
}
