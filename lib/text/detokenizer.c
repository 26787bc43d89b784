/* The decoder: a chain of steps, each of which turns a row of tokens into a row of tokens, whose texts are joined at the end. Every step takes the
 * row in portions and keeps what it cannot decide yet, so that decoding at once and decoding id by id are the same code. */
#include "text/detokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "text/text_priv.h"

#define REPLACEMENT "\xef\xbf\xbd"

/* Part of a row of tokens: where tokens end in the text. What follows the last end belongs to a token that goes on. Whole characters only. */
struct row {
	struct buffer text;
	size_t *end;
	size_t n_ends, cap;
};

struct decode_state {
	struct regex regex;             /* REPLACE: this stream's own */
	struct buffer held;             /* bytes of a token that goes on, or of a run that is not decided */
	size_t checked;                 /* BYTES, FALLBACK: so much of `held` is good UTF-8 */
	bool broken;                    /* FALLBACK: the run is not UTF-8 */
	struct buffer part;             /* FALLBACK: a token that goes on */
	size_t cut, waiting;            /* STRIP: characters taken from the beginning, and those at the end that may have to go */
	bool inside;                    /* STRIP: past the beginning of the token */
	bool later;                     /* METASPACE: past the first token */
};

struct moe_text_stream {
	const struct moe_tokenizer *t;
	bool skip_special;
	struct row row[2];
	struct decode_state state[MAX_STEPS];
};

static enum moe_err end_token(struct row *r, struct moe_diag *d)
{
	if (r->n_ends == r->cap)
		MOE_TRY(moe_grow(&r->end, &r->cap, r->n_ends + 1, sizeof *r->end, d));
	r->end[r->n_ends++] = r->text.n;
	return MOE_OK;
}

static enum moe_err put(struct row *r, const char *s, size_t n, struct moe_diag *d) { return moe_buffer_add(&r->text, s, n, d); }

/* A portion of a token: `ends` says that it is the last of it. */
struct portion {
	const char *s;
	size_t n;
	bool ends;
};

/* ---- ByteLevel ---- */

/* More bytes could make a character of what begins here. */
static bool unfinished(const char *s, size_t left, size_t step) { return step == left && (unsigned char)*s >= 0xc2 && (unsigned char)*s <= 0xf4; }

/* Gives the decided part of the bytes, every maximal broken part as one U+FFFD (Unicode 15, section 3.9), as Rust's from_utf8_lossy does. */
static enum moe_err give_bytes(struct buffer *b, bool last, struct row *out, struct moe_diag *d)
{
	size_t i = 0, step;
	bool good;

	for (; i < b->n; i += step) {
		size_t plain = moe_utf8_prefix(b->s + i, b->n - i);
		MOE_TRY(put(out, b->s + i, plain, d));
		i += plain;
		if (i == b->n)
			break;
		step = moe_utf8_step(b->s + i, b->n - i, &good);
		if (!last && unfinished(b->s + i, b->n - i, step))
			break;
		MOE_TRY(put(out, REPLACEMENT, 3, d));
	}
	if (i)
		memmove(b->s, b->s + i, b->n - i);
	b->n -= i;
	return MOE_OK;
}

/* Bytes of a token, through the byte alphabet where every character belongs to it. */
static enum moe_err add_bytes(struct buffer *to, const char *s, size_t n, struct moe_diag *d)
{
	size_t start = to->n, step;
	bool good;

	MOE_TRY(moe_grow(&to->s, &to->cap, to->n + n + 1, 1, d));
	for (size_t i = 0; i < n; i += step) {
		int byte;
		step = moe_utf8_step(s + i, n - i, &good);
		byte = moe_rune_to_byte(moe_utf8_get(s + i, step));
		if (byte < 0) {
			to->n = start;
			return moe_buffer_add(to, s, n, d);
		}
		to->s[to->n++] = (char)byte;
	}
	return MOE_OK;
}

/* All tokens become one. A token that comes in portions must be seen whole. */
static enum moe_err byte_level(struct decode_state *st, struct portion p, struct moe_diag *d)
{
	if (!p.ends)
		return moe_buffer_add(&st->part, p.s, p.n, d);
	if (st->part.n) {
		MOE_TRY(moe_buffer_add(&st->part, p.s, p.n, d));
		p.s = st->part.s;
		p.n = st->part.n;
		st->part.n = 0;
	}
	return add_bytes(&st->held, p.s, p.n, d);
}

/* ---- ByteFallback ---- */

static int hex_digit(char c) { return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1; }

/* The byte of <0xNN>; -1: another token. (<0x+N> is one too, as Rust reads numbers.) */
static int byte_of(struct portion p)
{
	int high, low;

	if (p.n != 6 || memcmp(p.s, "<0x", 3) || p.s[5] != '>')
		return -1;
	high = p.s[3] == '+' ? 0 : hex_digit(p.s[3]);
	low = hex_digit(p.s[4]);
	return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* One U+FFFD, a token, for every byte that is held. */
static enum moe_err give_broken(struct decode_state *st, struct row *out, struct moe_diag *d)
{
	for (size_t i = 0; i < st->held.n; i++) {
		MOE_TRY(put(out, REPLACEMENT, 3, d));
		MOE_TRY(end_token(out, d));
	}
	st->held.n = st->checked = 0;
	return MOE_OK;
}

static enum moe_err end_run(struct decode_state *st, struct row *out, struct moe_diag *d)
{
	if (st->checked < st->held.n || st->broken) {
		MOE_TRY(give_broken(st, out, d));
	} else if (st->held.n) {
		MOE_TRY(put(out, st->held.s, st->held.n, d));
		MOE_TRY(end_token(out, d));
	}
	st->held.n = st->checked = 0;
	st->broken = false;
	return MOE_OK;
}

/* Once a run is certain to be broken, nothing of it has to wait. */
static enum moe_err add_to_run(struct decode_state *st, char byte, struct row *out, struct moe_diag *d)
{
	size_t step;
	bool good = true;

	MOE_TRY(moe_buffer_add(&st->held, &byte, 1, d));
	while (st->checked < st->held.n && good) {
		const char *s = st->held.s + st->checked;
		size_t left = st->held.n - st->checked;
		step = moe_utf8_step(s, left, &good);
		st->checked += good ? step : 0;
		st->broken |= !good && !unfinished(s, left, step);
	}
	return st->broken ? give_broken(st, out, d) : MOE_OK;
}

static enum moe_err fallback(struct decode_state *st, struct portion p, struct row *out, struct moe_diag *d)
{
	int byte;

	if (!p.ends || st->part.n) {    /* a portion of a token */
		MOE_TRY(moe_buffer_add(&st->part, p.s, p.n, d));
		if (!p.ends)
			return MOE_OK;
		p.s = st->part.s;
		p.n = st->part.n;
		st->part.n = 0;
	}
	byte = byte_of(p);
	if (byte >= 0)
		return add_to_run(st, (char)byte, out, d);
	MOE_TRY(end_run(st, out, d));
	MOE_TRY(put(out, p.s, p.n, d));
	return end_token(out, d);
}

/* ---- Replace ---- */

/* What at the end of the text could be the beginning of a match. */
static size_t begun_match(struct string pattern, const char *s, size_t n)
{
	size_t k = moe_min(n, pattern.n - 1);

	while (k && memcmp(s + n - k, pattern.s, k))
		k--;
	return k;
}

/* Replaces in the decided part of what is held, up to the last match or to where one may begin. */
static enum moe_err replace_held(const struct decode_step *step, struct decode_state *st, bool ends, struct row *out, struct moe_diag *d)
{
	struct string pattern = st->regex.pattern;
	const char *s = st->held.s, *end = s + st->held.n, *hit;
	size_t keep = 0;

	while (st->held.n && (hit = memmem(s, (size_t)(end - s), pattern.s, pattern.n))) {
		MOE_TRY(put(out, s, (size_t)(hit - s), d));
		MOE_TRY(put(out, step->content.s, step->content.n, d));
		s = hit + pattern.n;
	}
	if (!ends && s < end)
		keep = begun_match(pattern, s, (size_t)(end - s));
	if (s < end)
		MOE_TRY(put(out, s, (size_t)(end - s) - keep, d));
	if (keep)
		memmove(st->held.s, end - keep, keep);
	st->held.n = keep;
	return MOE_OK;
}

static enum moe_err replace(const struct decode_step *step, struct decode_state *st, struct portion p, struct row *out, struct moe_diag *d)
{
	if (p.ends && !st->held.n) {
		MOE_TRY(moe_regex_replace(&st->regex, p.s, p.n, step->content, &out->text, d));
		return end_token(out, d);
	}
	MOE_TRY(moe_buffer_add(&st->held, p.s, p.n, d));
	if (st->regex.literal) {
		MOE_TRY(replace_held(step, st, p.ends, out, d));
	} else if (p.ends) {
		MOE_TRY(moe_regex_replace(&st->regex, st->held.s, st->held.n, step->content, &out->text, d));
		st->held.n = 0;
	}
	return p.ends ? end_token(out, d) : MOE_OK;
}

/* ---- Strip, Metaspace ---- */

static enum moe_err give_waiting(const struct decode_step *step, struct decode_state *st, size_t keep, struct row *out, struct moe_diag *d)
{
	char c[4];
	size_t n = moe_utf8_put(c, step->rune);

	for (; st->waiting > keep; st->waiting--)
		MOE_TRY(put(out, c, n, d));
	return MOE_OK;
}

/* Takes away up to `start` of the character at the beginning of each token, and up to `stop` at its end. */
static enum moe_err strip(const struct decode_step *step, struct decode_state *st, struct portion p, struct row *out, struct moe_diag *d)
{
	size_t n;
	bool good;

	for (size_t i = 0; i < p.n; i += n) {
		bool is;
		n = moe_utf8_step(p.s + i, p.n - i, &good);
		is = moe_utf8_get(p.s + i, n) == step->rune;
		if (!st->inside && is && st->cut < step->start) {
			st->cut++;
			continue;
		}
		st->inside = true;
		st->waiting += is;
		MOE_TRY(give_waiting(step, st, is ? step->stop : 0, out, d));
		if (!is)
			MOE_TRY(put(out, p.s + i, n, d));
	}
	if (!p.ends)
		return MOE_OK;
	st->cut = st->waiting = 0;
	st->inside = false;
	return end_token(out, d);
}

/* The character becomes a space; in the first token it goes, where the pre-tokenizer had put it there. */
static enum moe_err metaspace(const struct decode_step *step, struct decode_state *st, struct portion p, struct row *out, struct moe_diag *d)
{
	size_t n;
	bool good;

	for (size_t i = 0; i < p.n; i += n) {
		n = moe_utf8_step(p.s + i, p.n - i, &good);
		if (moe_utf8_get(p.s + i, n) != step->rune)
			MOE_TRY(put(out, p.s + i, n, d));
		else if (st->later || step->keep_first)
			MOE_TRY(put(out, " ", 1, d));
	}
	st->later |= p.ends;
	return p.ends ? end_token(out, d) : MOE_OK;
}

/* ---- the chain ---- */

static enum moe_err take(const struct decode_step *step, struct decode_state *st, struct portion p, struct row *out, struct moe_diag *d)
{
	switch (step->kind) {
	case DECODE_BYTES:
		return byte_level(st, p, d);
	case DECODE_FALLBACK:
		return fallback(st, p, out, d);
	case DECODE_REPLACE:
		return replace(step, st, p, out, d);
	case DECODE_STRIP:
		return strip(step, st, p, out, d);
	case DECODE_METASPACE:
		return metaspace(step, st, p, out, d);
	default:
		return put(out, p.s, p.n, d);   /* Fuse: one token of all */
	}
}

/* After a portion of the row, or (last) at its end. A token without an end is not possible there: every step ends its own. */
static enum moe_err settle(const struct decode_step *step, struct decode_state *st, bool last, struct row *out, struct moe_diag *d)
{
	if (step->kind == DECODE_BYTES)
		MOE_TRY(give_bytes(&st->held, last, out, d));
	if (!last)
		return MOE_OK;
	if (step->kind == DECODE_FALLBACK)
		MOE_TRY(end_run(st, out, d));
	st->later = false;
	return step->kind == DECODE_BYTES || step->kind == DECODE_FUSE ? end_token(out, d) : MOE_OK;
}

static enum moe_err run_step(const struct decode_step *step, struct decode_state *st, const struct row *in, bool last, struct row *out, struct moe_diag *d)
{
	size_t done = 0;

	out->text.n = out->n_ends = 0;
	for (size_t i = 0; i < in->n_ends; i++) {
		MOE_TRY(take(step, st, (struct portion){in->text.s ? in->text.s + done : "", in->end[i] - done, true}, out, d));
		done = in->end[i];
	}
	if (done < in->text.n)
		MOE_TRY(take(step, st, (struct portion){in->text.s + done, in->text.n - done, false}, out, d));
	return settle(step, st, last, out, d);
}

/* Sends row[0] through all steps; the result is in *text. */
static enum moe_err run(struct moe_text_stream *s, bool last, const char **text, size_t *n, struct moe_diag *d)
{
	unsigned now = 0;
	struct buffer *b;

	for (size_t i = 0; i < s->t->n_decode; i++, now ^= 1)
		MOE_TRY(run_step(&s->t->decode_step[i], &s->state[i], &s->row[now], last, &s->row[now ^ 1], d));
	b = &s->row[now].text;
	MOE_TRY(moe_grow(&b->s, &b->cap, b->n + 1, 1, d));
	b->s[b->n] = 0;
	*text = b->s;
	*n = b->n;
	return MOE_OK;
}

static enum moe_err add_id(struct moe_text_stream *s, int32_t id, struct moe_diag *d)
{
	const struct token *k = id >= 0 && (size_t)id < s->t->n_tokens ? &s->t->token[id] : NULL;

	if (!k || !k->text || (s->skip_special && k->special))
		return MOE_OK;
	MOE_TRY(put(&s->row[0], k->text, k->n, d));
	return end_token(&s->row[0], d);
}

static enum moe_err begin(struct moe_text_stream *s, const struct moe_tokenizer *t, bool skip_special, struct moe_diag *d)
{
	if (!t->decoder)
		return moe_fail(d, MOE_EINPUT, "tokenizer.json has no decoder: how its tokens make a text is not said");
	s->t = t;
	s->skip_special = skip_special;
	for (size_t i = 0; i < t->n_decode; i++)
		s->state[i].regex = t->decode_step[i].regex;
	return MOE_OK;
}

static void clear(struct moe_text_stream *s)
{
	for (size_t i = 0; i < MAX_STEPS; i++) {
		moe_regex_free(&s->state[i].regex);
		free(s->state[i].held.s);
		free(s->state[i].part.s);
	}
	for (int i = 0; i < 2; i++) {
		free(s->row[i].text.s);
		free(s->row[i].end);
	}
}

enum moe_err moe_text_stream_new(struct moe_text_stream **out, const struct moe_tokenizer *t, bool skip_special, struct moe_diag *d)
{
	struct moe_text_stream *s = calloc(1, sizeof *s);
	enum moe_err err;

	if (!s)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	err = begin(s, t, skip_special, d);
	if (err)
		free(s);
	else
		*out = s;
	return err;
}

void moe_text_stream_free(struct moe_text_stream *s)
{
	if (s)
		clear(s);
	free(s);
}

enum moe_err moe_text_stream_push(struct moe_text_stream *s, int32_t id, const char **text, size_t *n, struct moe_diag *d)
{
	s->row[0].text.n = s->row[0].n_ends = 0;
	MOE_TRY(add_id(s, id, d));
	return run(s, false, text, n, d);
}

enum moe_err moe_text_stream_finish(struct moe_text_stream *s, const char **text, size_t *n, struct moe_diag *d)
{
	s->row[0].text.n = s->row[0].n_ends = 0;
	return run(s, true, text, n, d);
}

static enum moe_err decode(struct moe_text_stream *s, const int32_t *id, size_t n_ids, struct buffer *out, struct moe_diag *d)
{
	const char *text;
	size_t n;

	for (size_t i = 0; i < n_ids; i++)
		MOE_TRY(add_id(s, id[i], d));
	MOE_TRY(run(s, true, &text, &n, d));
	MOE_TRY(moe_grow(&out->s, &out->cap, out->n + n + 1, 1, d));
	memcpy(out->s + out->n, text, n + 1);
	out->n += n;
	return MOE_OK;
}

enum moe_err moe_tokenizer_decode(const struct moe_tokenizer *t, const int32_t *id, size_t n_ids, bool skip_special, char **text, size_t *n,
				  size_t *cap, struct moe_diag *d)
{
	struct moe_text_stream s = {0};
	struct buffer out = {*text, *n, *cap};
	enum moe_err err = begin(&s, t, skip_special, d);

	if (!err)
		err = decode(&s, id, n_ids, &out, d);
	clear(&s);
	*text = out.s;
	*n = out.n;
	*cap = out.cap;
	return err;
}
