/* From text to pieces: the steps of the pre-tokenizer one after the other, each over all pieces; then the model encodes the pieces. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "text/text_priv.h"

static enum moe_err add_span(struct pieces *p, size_t at, size_t n, struct moe_diag *d)
{
	if (!n)
		return MOE_OK;
	if (p->n_spans == p->cap)
		MOE_TRY(moe_grow(&p->span, &p->cap, p->n_spans + 1, sizeof *p->span, d));
	p->span[p->n_spans++] = (struct span){at, n, false};
	return MOE_OK;
}

/* The same text, no pieces yet. */
static void same_text(const struct pieces *from, struct pieces *to)
{
	to->text = from->text;
	to->first = from->first;
	to->n_spans = 0;
}

/* ---- Split ---- */

static enum moe_err add_match(struct moe_tokenizer *t, size_t *n, size_t from, size_t to, bool match, struct moe_diag *d)
{
	MOE_TRY(moe_grow(&t->matches, &t->matches_cap, *n + 1, sizeof *t->matches, d));
	t->matches[(*n)++] = (struct span){from, to - from, match};
	return MOE_OK;
}

/* A piece as matches (empty ones too) and what lies between them. */
static enum moe_err find_matches(struct moe_tokenizer *t, struct piece_step *s, const char *text, size_t n, size_t *count, struct moe_diag *d)
{
	struct finder f = {.text = text, .n = n};
	size_t done = 0;
	bool found;

	*count = 0;
	for (;;) {
		MOE_TRY(moe_regex_next(&s->regex, &f, &found, d));
		if (!found)
			break;
		if (f.from > done)
			MOE_TRY(add_match(t, count, done, f.from, s->invert, d));
		MOE_TRY(add_match(t, count, f.from, f.to, !s->invert, d));
		done = f.to;
	}
	return done < n ? add_match(t, count, done, n, s->invert, d) : MOE_OK;
}

static bool merges_with_last(enum split_behavior b, bool match, bool last_match)
{
	return b == SPLIT_CONTIGUOUS ? match == last_match : match && !last_match;
}

/* Pieces of a Split that are put together from neighbours; for WITH_NEXT seen from the end. */
static enum moe_err join_matches(struct span *m, size_t n, enum split_behavior b, size_t base, struct pieces *to, struct moe_diag *d)
{
	bool last_match = false, reverse = b == SPLIT_WITH_NEXT;
	size_t kept = 0;

	for (size_t k = 0; k < n; k++) {
		struct span one = m[reverse ? n - 1 - k : k], *last = !kept ? NULL : &m[reverse ? n - kept : kept - 1];
		if (last && merges_with_last(b, one.match, last_match)) {
			last->at = reverse ? one.at : last->at;
			last->n += one.n;
		} else {
			kept++;
			m[reverse ? n - kept : kept - 1] = one;
		}
		last_match = one.match;
	}
	for (size_t k = 0; k < kept; k++)
		MOE_TRY(add_span(to, base + m[reverse ? n - kept + k : k].at, m[reverse ? n - kept + k : k].n, d));
	return MOE_OK;
}

/* Isolated and Removed, without a list of the matches. */
static enum moe_err split_simple(struct piece_step *s, const char *text, size_t n, size_t base, struct pieces *to, struct moe_diag *d)
{
	bool found, drop = s->behavior == SPLIT_REMOVED;
	struct finder f = {.text = text, .n = n};
	size_t done = 0;

	for (;;) {
		MOE_TRY(moe_regex_next(&s->regex, &f, &found, d));
		if (!found)
			break;
		if (!drop || !s->invert)
			MOE_TRY(add_span(to, base + done, f.from - done, d));
		if (!drop || s->invert)
			MOE_TRY(add_span(to, base + f.from, f.to - f.from, d));
		done = f.to;
	}
	return drop && s->invert ? MOE_OK : add_span(to, base + done, n - done, d);
}

static enum moe_err split(struct moe_tokenizer *t, struct piece_step *s, const struct pieces *from, struct pieces *to, struct moe_diag *d)
{
	size_t n;

	same_text(from, to);
	for (size_t i = 0; i < from->n_spans; i++) {
		struct span one = from->span[i];
		if (s->behavior == SPLIT_ISOLATED || s->behavior == SPLIT_REMOVED) {
			MOE_TRY(split_simple(s, from->text + one.at, one.n, one.at, to, d));
			continue;
		}
		MOE_TRY(find_matches(t, s, from->text + one.at, one.n, &n, d));
		MOE_TRY(join_matches(t->matches, n, s->behavior, one.at, to, d));
	}
	to->first &= to->n_spans && to->span[0].at == from->span[0].at;
	return MOE_OK;
}

/* ---- steps that change the text ---- */

static enum moe_err metaspace(const struct piece_step *s, const char *text, size_t n, bool first, struct buffer *out, struct moe_diag *d)
{
	bool begins = n >= s->replacement.n && !memcmp(text, s->replacement.s, s->replacement.n);
	const char *end = text + n, *space;

	if (!begins && *text != ' ' && (s->scheme == PREPEND_ALWAYS || (s->scheme == PREPEND_FIRST && first)))
		MOE_TRY(moe_buffer_add(out, s->replacement.s, s->replacement.n, d));
	while ((space = memchr(text, ' ', (size_t)(end - text)))) {
		MOE_TRY(moe_buffer_add(out, text, (size_t)(space - text), d));
		MOE_TRY(moe_buffer_add(out, s->replacement.s, s->replacement.n, d));
		text = space + 1;
	}
	return moe_buffer_add(out, text, (size_t)(end - text), d);
}

static enum moe_err change_piece(const struct piece_step *s, const char *text, size_t n, bool first, struct buffer *out, struct moe_diag *d)
{
	if (s->kind == PIECE_METASPACE)
		return metaspace(s, text, n, first, out, d);
	if (s->kind == PIECE_BYTES)
		return moe_bytes_to_alphabet(text, n, out, d);
	if (*text != ' ')
		MOE_TRY(moe_buffer_add(out, " ", 1, d));
	return moe_buffer_add(out, text, n, d);
}

static enum moe_err change(const struct piece_step *s, struct pieces *from, struct pieces *to, struct moe_diag *d)
{
	struct buffer free_one = from->text == to->own.s ? from->own : to->own;

	from->own = from->text == to->own.s ? to->own : from->own;
	to->own = free_one;
	same_text(from, to);
	to->own.n = 0;
	for (size_t i = 0; i < from->n_spans; i++) {
		size_t at = to->own.n;
		MOE_TRY(change_piece(s, from->text + from->span[i].at, from->span[i].n, from->first && !i, &to->own, d));
		MOE_TRY(add_span(to, at, to->own.n - at, d));
	}
	to->text = to->own.s;
	return MOE_OK;
}

enum moe_err moe_pieces_encode(struct moe_tokenizer *t, const char *text, size_t n, bool first, struct moe_ids *ids, struct moe_diag *d)
{
	struct pieces *now = &t->pieces[0], *next = &t->pieces[1], *old;

	if (!n)
		return MOE_OK;
	*now = (struct pieces){.text = text, .first = first, .own = now->own, .span = now->span, .cap = now->cap};
	MOE_TRY(add_span(now, 0, n, d));
	for (size_t i = 0; i < t->n_piece && now->n_spans; i++) {
		struct piece_step *s = &t->piece_step[i];
		if (s->kind == PIECE_SPLIT)
			MOE_TRY(split(t, s, now, next, d));
		else
			MOE_TRY(change(s, now, next, d));
		old = now;
		now = next;
		next = old;
	}
	for (size_t i = 0; i < now->n_spans; i++)
		MOE_TRY(moe_word_encode(t, now->text + now->span[i].at, now->span[i].n, ids, d));
	return MOE_OK;
}
