#include "stream/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <libdeflate.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/utf8.h"
#include "io/sink.h"

enum { GATHER = 64 << 10, LARGE = 16 << 10, MAX_PIECES = 30, PIPE_SIZE = 256 << 10, UNIT = 64 };

struct moe_writer {
	int fd;
	const char *name;
	uint8_t *buf;
	size_t n, cap;
};

enum moe_err moe_writer_new(struct moe_writer **out, int fd, struct moe_diag *d)
{
	struct moe_writer *w = calloc(1, sizeof *w);

	if (!w)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	w->fd = fd;
	w->name = "standard output";
	fcntl(fd, F_SETPIPE_SZ, PIPE_SIZE);     /* best effort: not a pipe, or the user's share is used up */
	*out = w;
	return MOE_OK;
}

void moe_writer_name(struct moe_writer *w, const char *name) { w->name = name; }

void moe_writer_free(struct moe_writer *w)
{
	if (w) {
		free(w->buf);
		free(w);
	}
}

static enum moe_err write_out(struct moe_writer *w, struct iovec *iov, int n, struct moe_diag *d)
{
	enum moe_err err = moe_write_all(w->fd, iov, n, d);

	if (err)
		moe_diag_path(d, w->name);
	return err;
}

/* Appends text to a buffer that was made large enough before. */
static inline char *put(char *p, const char *s)
{
	size_t n = strlen(s);

	memcpy(p, s, n);
	return p + n;
}

/* A character of several bytes, or U+FFFD for bytes that are none (names of files may have such); *n: how many bytes it took. */
static char *put_wide(char *p, const char *s, size_t left, size_t *n)
{
	bool good;

	*n = moe_utf8_step(s, left, &good);
	if (!good)
		return put(p, "\\ufffd");
	memcpy(p, s, *n);
	return p + *n;
}

static char *put_string(char *p, const char *s, size_t n)
{
	static const char hex[] = "0123456789abcdef";

	*p++ = '"';
	for (size_t i = 0, step; i < n; i += step) {
		unsigned char c = (unsigned char)s[i];
		step = 1;
		if (c >= 0x80) {
			p = put_wide(p, s + i, n - i, &step);
		} else if (c == '"' || c == '\\') {
			*p++ = '\\';
			*p++ = (char)c;
		} else if (c < 0x20) {
			p = put(p, "\\u00");
			*p++ = hex[c >> 4];
			*p++ = hex[c & 15];
		} else {
			*p++ = (char)c;
		}
	}
	*p++ = '"';
	return p;
}

static char *put_number(char *p, uint64_t v)
{
	char digits[20];
	int n = 0;

	do
		digits[n++] = (char)('0' + v % 10);
	while (v /= 10);
	while (n)
		*p++ = digits[--n];
	return p;
}

static char *put_tensor(char *p, const struct moe_tensor *t, uint64_t at)
{
	p = put_string(p, t->name, t->name_nbytes);
	p = put(put(put(p, ":{\"dtype\":\""), moe_dtype_name(t->type)), "\",\"shape\":[");
	for (unsigned i = 0; i < t->rank; i++) {
		if (i)
			*p++ = ',';
		p = put_number(p, t->shape[i]);
	}
	p = put_number(put(p, "],\"data_offsets\":["), at);
	*p++ = ',';
	return put(put_number(p, at + t->nbytes), "]}");
}

/* Upper bound of the header's length: every byte of a string may become six. */
static size_t header_bound(const struct moe_frame *f)
{
	size_t n = 512;

	for (size_t i = 0; i < f->h.n_meta; i++)
		n += 8 + 6 * (f->h.meta[i].key_nbytes + f->h.meta[i].value_nbytes);
	for (size_t i = 0; i < f->h.n_tensors; i++)
		n += 128 + 21 * MOE_MAX_RANK + 6 * f->h.tensor[i].name_nbytes;
	return n;
}

static char *put_metadata(char *p, const struct moe_frame *f, char **digits)
{
	p = put(p, "{\"__metadata__\":{\"moe.crc32\":\"");
	*digits = p;
	p = put(p, "00000000\"");
	for (size_t i = 0; i < f->h.n_meta; i++) {
		const struct moe_meta *m = &f->h.meta[i];
		if (!strcmp(m->key, "moe.crc32"))
			continue;
		*p++ = ',';
		p = put_string(p, m->key, m->key_nbytes);
		*p++ = ':';
		p = put_string(p, m->value, m->value_nbytes);
	}
	return put(p, "}");
}

/* Tensors in the order of a frame: by falling element size. Begins with zeros; NULL behind the last. */
struct order {
	unsigned width, narrower;       /* bits of the elements that are being listed, and the widest of the rest */
	size_t i;
};

static const struct moe_tensor *next_tensor(const struct moe_frame *f, struct order *o)
{
	for (;;) {
		while (o->i < f->h.n_tensors) {
			const struct moe_tensor *t = &f->h.tensor[o->i++];
			unsigned width = moe_dtype_nbits(t->type);
			if (width == o->width)
				return t;
			if (width > o->narrower && (width < o->width || !o->width))
				o->narrower = width;
		}
		if (!o->narrower)
			return NULL;
		*o = (struct order){.width = o->narrower};
	}
}

/* A frame on its way out: the header with its length, and where the digits of the CRC go. */
struct outline {
	char *header, *digits;
	size_t header_nbytes;
	uint64_t payload, pad;
};

/* Writes the header behind the n bytes of *buf, with room for the payload behind it if that is to follow. */
static enum moe_err put_header(struct outline *l, const struct moe_frame *f, bool payload, uint8_t **buf, size_t n, size_t *cap, struct moe_diag *d)
{
	const struct moe_tensor *t;
	uint64_t at = 0;
	char *p;

	*l = (struct outline){0};
	for (size_t i = 0; i < f->h.n_tensors; i++) {
		if (f->h.tensor[i].name[0] == '_' && !strcmp(f->h.tensor[i].name, "_pad"))
			return moe_frame_fail(f, d, MOE_EUSAGE, "the name _pad belongs to the writer");
		l->payload += f->h.tensor[i].nbytes;
	}
	l->pad = moe_round_up(l->payload, UNIT) - l->payload;
	MOE_TRY(moe_grow(buf, cap, n + header_bound(f) + (payload ? l->payload : 0) + 2 * UNIT, 1, d));
	l->header = (char *)*buf + n;
	p = put_metadata(l->header + 8, f, &l->digits);
	for (struct order o = {0}; (t = next_tensor(f, &o)); at += t->nbytes) {
		*p++ = ',';
		p = put_tensor(p, t, at);
	}
	if (l->pad) {
		*p++ = ',';
		p = put_tensor(p, &(struct moe_tensor){"_pad", 4, MOE_U8, 1, {l->pad}, 0, l->pad, NULL}, at);
	}
	*p++ = '}';
	l->header_nbytes = moe_round_up((size_t)(p - l->header), UNIT);
	memset(p, ' ', l->header_nbytes - (size_t)(p - l->header));
	for (int i = 0; i < 8; i++)
		l->header[i] = (char)((l->header_nbytes - 8) >> 8 * i);
	return MOE_OK;
}

static void sign(const struct outline *l, uint32_t crc)
{
	for (int i = 0; i < 8; i++)
		l->digits[i] = "0123456789abcdef"[crc >> (28 - 4 * i) & 15];
}

enum moe_err moe_frame_format(const struct moe_frame *f, uint8_t **buf, size_t *n, size_t *cap, struct moe_diag *d)
{
	const struct moe_tensor *t;
	struct outline l;
	char *to;

	MOE_TRY(put_header(&l, f, true, buf, *n, cap, d));
	to = l.header + l.header_nbytes;
	for (struct order o = {0}; (t = next_tensor(f, &o)); to += t->nbytes)
		if (t->nbytes)
			memcpy(to, t->data, t->nbytes);
	memset(to, 0, l.pad);
	to += l.pad;
	sign(&l, libdeflate_crc32(0, l.header, (size_t)(to - l.header)));
	*n += (size_t)(to - l.header);
	return MOE_OK;
}

/* A large frame goes out from where its tensors lie, in one writev with what was gathered before it. */
static enum moe_err put_large(struct moe_writer *w, const struct moe_frame *f, struct moe_diag *d)
{
	static const char zeros[UNIT];
	struct iovec piece[MAX_PIECES + 2];
	const struct moe_tensor *t;
	struct outline l;
	uint32_t crc;
	int n = 1;

	MOE_TRY(put_header(&l, f, false, &w->buf, w->n, &w->cap, d));
	crc = libdeflate_crc32(0, l.header, l.header_nbytes);
	for (struct order o = {0}; (t = next_tensor(f, &o));) {
		if (!t->nbytes)
			continue;
		crc = libdeflate_crc32(crc, t->data, t->nbytes);
		piece[n++] = (struct iovec){(void *)(uintptr_t)t->data, t->nbytes};
	}
	sign(&l, libdeflate_crc32(crc, zeros, l.pad));
	if (l.pad)
		piece[n++] = (struct iovec){(void *)(uintptr_t)zeros, l.pad};
	piece[0] = (struct iovec){w->buf, w->n + l.header_nbytes};
	w->n = 0;
	return write_out(w, piece, n, d);
}

enum moe_err moe_writer_put(struct moe_writer *w, const struct moe_frame *f, struct moe_diag *d)
{
	size_t payload = 0;

	for (size_t i = 0; i < f->h.n_tensors; i++)
		payload += f->h.tensor[i].nbytes;
	if (payload >= LARGE && f->h.n_tensors <= MAX_PIECES)
		return put_large(w, f, d);
	MOE_TRY(moe_frame_format(f, &w->buf, &w->n, &w->cap, d));
	return w->n >= GATHER ? moe_writer_flush(w, d) : MOE_OK;
}

enum moe_err moe_writer_flush(struct moe_writer *w, struct moe_diag *d)
{
	struct iovec iov = {w->buf, w->n};

	if (!w->n)
		return MOE_OK;
	w->n = 0;
	return write_out(w, &iov, 1, d);
}

enum moe_err moe_writer_wait(const struct moe_writer *w, int input, struct moe_diag *d)
{
	struct pollfd p[2] = {{.fd = input, .events = POLLIN}, {.fd = w->fd}};

	while (poll(p, 2, -1) < 0)
		if (errno != EINTR)
			return moe_fail_errno(d, "cannot wait for the input");
	if (p[0].revents || !(p[1].revents & POLLERR))
		return MOE_OK;
	raise(SIGPIPE);
	moe_fail(d, MOE_EIO, "nobody reads the output any more");
	return moe_diag_path(d, w->name);
}
