#include "stream/reader.h"

#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/rd.h"

enum { FIRST_BUFFER = 128 << 10, AHEAD = 32 << 10 };    /* bytes read before a frame's length is known: some small frames at once */

struct moe_reader {
	struct moe_source *source;
	uint8_t *buf;
	size_t beg, end, cap;           /* unread bytes are buf[beg, end) */
	uint64_t offset;                /* of buf[beg] in the stream */
	struct moe_header pending;      /* header of the frame at `beg`, once it is complete */
	struct moe_header_tail tail;
	size_t header_nbytes, total;    /* 8 + header, and the whole frame; 0 until known */
	bool in_member, any_crc, open_end, at_end, bare;
	bool endless;                   /* the head of this member says moe.end = none */
};

enum moe_err moe_reader_new(struct moe_reader **out, struct moe_source *s, struct moe_diag *d)
{
	struct moe_reader *r = calloc(1, sizeof *r);

	if (!r) {
		moe_source_close(s);
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	r->source = s;
	*out = r;
	return MOE_OK;
}

void moe_reader_free(struct moe_reader *r)
{
	if (!r)
		return;
	moe_source_close(r->source);
	moe_header_free(&r->pending);
	moe_header_tail_free(&r->tail);
	free(r->buf);
	free(r);
}

void moe_reader_any_crc(struct moe_reader *r, bool any) { r->any_crc = any; }
void moe_reader_open_end(struct moe_reader *r) { r->open_end = true; }
const char *moe_reader_name(const struct moe_reader *r) { return moe_source_name(r->source); }
int moe_reader_descriptor(const struct moe_reader *r) { return moe_source_descriptor(r->source); }
uint64_t moe_reader_offset(const struct moe_reader *r) { return r->offset; }

static enum moe_err fail(struct moe_reader *r, struct moe_diag *d, uint64_t at, const char *what)
{
	moe_fail_at(d, MOE_EINPUT, r->offset + at, "%s", what);
	return moe_diag_path(d, moe_source_name(r->source));
}

/* Makes room for at least one more byte, growing with what has arrived and never with what is merely claimed. A large frame is read to its end
 * and no further, so that it comes to lie alone in the buffer, which then changes hands. */
static enum moe_err make_room(struct moe_reader *r, struct moe_diag *d)
{
	if (r->beg && r->end - r->beg < moe_max(AHEAD, r->cap / 2)) {
		memmove(r->buf, r->buf + r->beg, r->end - r->beg);
		r->end -= r->beg;
		r->beg = 0;
	}
	if (r->end == r->cap)
		MOE_TRY(moe_grow(&r->buf, &r->cap, moe_max(FIRST_BUFFER, r->cap + 1), 1, d));
	return MOE_OK;
}

/* The length and the header at `beg`, as far as they have arrived: sets header_nbytes and total. */
static enum moe_err look(struct moe_reader *r, struct moe_diag *d)
{
	size_t have = r->end - r->beg;
	const uint8_t *p;
	struct moe_rd rd;
	uint64_t n;

	if (!have)              /* nothing has come yet: there is no buffer either */
		return MOE_OK;
	p = r->buf + r->beg;
	if (!r->header_nbytes && have >= 8) {
		moe_rd_init(&rd, p, 8);
		n = moe_rd_le(&rd, 8);
		if (n < 2 || n > MOE_FRAME_HEADER_LIMIT)
			return fail(r, d, 0, "not a frame: its header length is outside 2 to 16777216 (damaged, or not a tensor stream)");
		if (have > 8 && !(p[8] && strchr("{ \t\r\n", p[8])))   /* blanks are against the format's text, but its library takes them */
			return fail(r, d, 8, "not a frame: its header does not begin with '{' (damaged, or not a tensor stream)");
		r->header_nbytes = 8 + n;
	}
	if (!r->header_nbytes || have < r->header_nbytes || r->total)
		return MOE_OK;
	if (moe_header_parse(&r->pending, (const char *)p + 8, r->header_nbytes - 8, &r->tail, d)) {
		if (d && d->path[0] == 0) {
			d->byte = (int64_t)r->offset + (d->byte >= 0 ? d->byte + 8 : 8);
			moe_diag_path(d, moe_source_name(r->source));
		}
		return d ? d->code : MOE_EINPUT;
	}
	if (r->pending.payload_nbytes > MOE_FRAME_PAYLOAD_LIMIT)
		return fail(r, d, 8, "the frame claims a payload of more than 64 GiB");
	r->total = r->header_nbytes + r->pending.payload_nbytes;
	return MOE_OK;
}

static bool complete(const struct moe_reader *r) { return r->total && r->end - r->beg >= r->total; }

/* Input has ended: fine between members, an error anywhere else. */
static enum moe_err ended(struct moe_reader *r, struct moe_diag *d)
{
	if (r->end > r->beg) {
		moe_fail_at(d, MOE_EINPUT, r->offset, "truncated: the input ends at byte %llu, inside the frame that begins here",
			    (unsigned long long)(r->offset + r->end - r->beg));
		return moe_diag_path(d, moe_source_name(r->source));
	}
	if (r->in_member && !r->open_end && !r->endless)
		return fail(r, d, 0, "truncated: the input ends without an end frame (the program before this one failed or was stopped)");
	if (!r->offset && !r->open_end)
		return fail(r, d, 0, "the input is empty: expected a tensor stream");
	return MOE_END;
}

static bool lower_hex(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'f')))
			return false;
	return true;
}

static const uint8_t *skip_blanks(const uint8_t *p, const uint8_t *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
		p++;
	return p;
}

/* The eight digits behind the key at p, NULL when the pattern does not fit. */
static const uint8_t *digits_behind(const uint8_t *p, const uint8_t *end)
{
	p = skip_blanks(p + strlen("\"moe.crc32\""), end);
	if (p == end || *p != ':')
		return NULL;
	p = skip_blanks(p + 1, end);
	if ((size_t)(end - p) < 10 || p[0] != '"' || p[9] != '"' || !lower_hex(p + 1, 8))
		return NULL;
	return p + 1;
}

/* CRC-32 of the frame with its own digits taken as zeros, against the digits. */
static enum moe_err check_crc(struct moe_reader *r, struct moe_diag *d)
{
	static const char key[] = "\"moe.crc32\"";
	const uint8_t *p = r->buf + r->beg, *digits = NULL, *hit = p;
	const uint8_t *end = p + r->header_nbytes - (r->tail.same ? r->tail.text_nbytes : 0);   /* a tail was searched when it was new */
	uint32_t crc, want = 0;

	while ((hit = memmem(hit, (size_t)(end - hit), key, sizeof key - 1))) {
		const uint8_t *found = digits_behind(hit, end);
		if (digits || !found)
			return fail(r, d, (uint64_t)(hit - p), digits ? "moe.crc32 stands twice" : "moe.crc32 is not eight lower-case hex digits");
		digits = found;
		hit += sizeof key - 1;
	}
	if (!digits)
		return fail(r, d, 8, "the frame has no moe.crc32 (a program's own frames: pass them through moe-view --seal)");
	for (int i = 0; i < 8; i++)
		want = want << 4 | (uint32_t)(digits[i] <= '9' ? digits[i] - '0' : digits[i] - 'a' + 10);
	crc = libdeflate_crc32(0, p, (size_t)(digits - p));
	crc = libdeflate_crc32(crc, "00000000", 8);
	crc = libdeflate_crc32(crc, digits + 8, r->total - (size_t)(digits + 8 - p));
	return crc == want ? MOE_OK : fail(r, d, 0, "damaged frame: its CRC-32 does not match its bytes");
}

static const char *pending_meta(const struct moe_reader *r, const char *key)
{
	for (size_t i = 0; i < r->pending.n_meta; i++)
		if (!strcmp(r->pending.meta[i].key, key))
			return r->pending.meta[i].value;
	return NULL;
}

static bool has_moe_keys(const struct moe_reader *r)
{
	for (size_t i = 0; i < r->pending.n_meta; i++)
		if (!strncmp(r->pending.meta[i].key, "moe.", 4))
			return true;
	return false;
}

static enum moe_err check_version(struct moe_reader *r, struct moe_diag *d)
{
	const char *version = pending_meta(r, "moe.stream");

	if (!version)
		return fail(r, d, 8, "the head frame does not say its version (moe.stream)");
	if (strncmp(version, "1.", 2)) {
		moe_fail_at(d, MOE_EMATCH, r->offset, "stream version \"%.20s\" is not one that this program reads (1.x)", version);
		return moe_diag_path(d, moe_source_name(r->source));
	}
	return MOE_OK;
}

/* What the frame at `beg` is, and whether it may stand here. */
static enum moe_err classify(struct moe_reader *r, enum moe_kind *kind, struct moe_diag *d)
{
	const char *name = pending_meta(r, "moe.kind");

	if (!has_moe_keys(r)) {
		if (r->offset || r->in_member)
			return fail(r, d, 8, "a frame without any moe. key inside a stream");
		*kind = MOE_KIND_BARE;
		return MOE_OK;
	}
	if (!r->any_crc)
		MOE_TRY(check_crc(r, d));
	if (r->bare)
		return fail(r, d, 0, "bytes follow a bare safetensors file");
	if (!name)
		return fail(r, d, 8, "the frame does not say its kind (moe.kind)");
	*kind = moe_kind_find(name);
	if (*kind == MOE_KIND_HEAD) {
		const char *end = pending_meta(r, "moe.end");
		if (r->in_member)
			return fail(r, d, 0, "a head frame inside a member: the end frame before it is missing");
		r->endless = end && !strcmp(end, "none");
		return check_version(r, d);
	}
	if (!r->in_member && !r->open_end)
		return fail(r, d, 0, "the stream does not begin with a head frame");
	return MOE_OK;
}

/* Hands the frame at `beg` over; the buffer itself changes hands when it holds nothing else. */
static enum moe_err deliver(struct moe_reader *r, struct moe_frame *f, enum moe_kind kind, struct moe_diag *d)
{
	struct moe_header h = f->h;

	if (!r->beg && r->end == r->total) {
		uint8_t *bytes = f->bytes;
		size_t cap = f->cap;
		f->bytes = r->buf;
		f->cap = r->cap;
		r->buf = bytes;
		r->cap = cap;
		r->end = 0;
	} else {
		MOE_TRY(moe_grow(&f->bytes, &f->cap, r->total, 1, d));
		memcpy(f->bytes, r->buf + r->beg, r->total);
		r->beg += r->total;
		if (r->beg == r->end)
			r->beg = r->end = 0;
	}
	f->kind = kind;
	f->at = r->offset;
	f->nbytes = r->total;
	f->h = r->pending;
	r->pending = h;
	moe_arena_reset(&f->own);
	for (size_t i = 0; i < f->h.n_tensors; i++)
		f->h.tensor[i].data = f->bytes + r->header_nbytes + f->h.tensor[i].begin;
	moe_frame_remove(f, "_pad");
	r->offset += r->total;
	r->header_nbytes = r->total = 0;
	if (kind == MOE_KIND_BARE)
		r->bare = true;
	r->in_member = kind != MOE_KIND_END && kind != MOE_KIND_BARE;
	return MOE_OK;
}

enum moe_err moe_reader_next(struct moe_reader *r, struct moe_frame *f, bool wait, struct moe_diag *d)
{
	enum moe_kind kind = MOE_KIND_OTHER;
	size_t got, room;

	for (;;) {
		MOE_TRY(look(r, d));
		if (complete(r))
			break;
		if (r->at_end)
			return ended(r, d);
		if (!wait && !moe_source_ready(r->source))
			return MOE_AGAIN;
		MOE_TRY(make_room(r, d));
		room = moe_min(r->cap - r->end, r->total ? r->total - (r->end - r->beg) : AHEAD);
		MOE_TRY(moe_source_read(r->source, r->buf + r->end, room, &got, d));
		r->end += got;
		r->at_end = !got;
	}
	MOE_TRY(classify(r, &kind, d));
	return deliver(r, f, kind, d);
}

enum moe_err moe_reader_more(struct moe_reader *r, bool *more, struct moe_diag *d)
{
	size_t got;

	if (r->beg == r->end && !r->at_end) {
		MOE_TRY(make_room(r, d));
		MOE_TRY(moe_source_read(r->source, r->buf + r->end, moe_min(r->cap - r->end, AHEAD), &got, d));
		r->end += got;
		r->at_end = !got;
	}
	*more = r->beg < r->end;
	return MOE_OK;
}
