/* Byte-pair encoding of one piece (Sennrich et al. 2016): the pair of lowest rank is joined first, the leftmost of equal ones. A heap of candidate
 * pairs over a doubly linked list of symbols: O(n log n). */
#include "text/text_priv.h"

#include <stdlib.h>

struct heap {
	struct candidate *c;
	size_t n;
};

static bool before(const struct candidate *a, const struct candidate *b) { return a->rank != b->rank ? a->rank < b->rank : a->at < b->at; }

static void push(struct heap *h, struct candidate c)
{
	size_t i = h->n++;

	for (; i && before(&c, &h->c[(i - 1) / 2]); i = (i - 1) / 2)
		h->c[i] = h->c[(i - 1) / 2];
	h->c[i] = c;
}

static struct candidate pop(struct heap *h)
{
	struct candidate top = h->c[0], last = h->c[--h->n];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < h->n) {
		if (child + 1 < h->n && before(&h->c[child + 1], &h->c[child]))
			child++;
		if (!before(&h->c[child], &last))
			break;
		h->c[i] = h->c[child];
		i = child;
	}
	h->c[i] = last;
	return top;
}

static void consider(const struct moe_tokenizer *t, struct heap *h, const struct symbol *s, int32_t left)
{
	int32_t right = left == NONE ? NONE : s[left].next;
	const struct merge *m = right == NONE ? NULL : moe_merges_find(&t->merges, s[left].id, s[right].id);

	if (m)
		push(h, (struct candidate){m->rank, left, m->left, m->right, m->id});
}

static void join(const struct moe_tokenizer *t, struct symbol *s, struct heap *h, size_t n)
{
	for (size_t i = 0; i + 1 < n; i++)
		consider(t, h, s, (int32_t)i);
	while (h->n) {
		struct candidate c = pop(h);
		int32_t right = s[c.at].next;
		if (s[c.at].id != c.left || right == NONE || s[right].id != c.right)
			continue;       /* one of the two was joined with something else meanwhile */
		s[c.at].id = c.id;
		s[c.at].next = s[right].next;
		if (s[right].next != NONE)
			s[s[right].next].prev = c.at;
		s[right].id = NONE;
		consider(t, h, s, s[c.at].prev);
		consider(t, h, s, c.at);
	}
}

/* ---- the symbols that a piece begins as ---- */

struct symbols {
	struct symbol *s;
	size_t n;
	bool pending;                   /* an unknown character was seen, whose token is put before the next known one */
};

static void put(struct symbols *to, int32_t id)
{
	to->s[to->n] = (struct symbol){id, (int32_t)to->n - 1, (int32_t)to->n + 1};
	to->n++;
}

/* The tokens of the bytes of a character, where the vocabulary has all of them. */
static bool put_bytes(const struct moe_tokenizer *t, const char *text, size_t n, struct symbols *to)
{
	for (size_t i = 0; i < n; i++)
		if (t->fallback_id[(unsigned char)text[i]] == NONE)
			return false;
	for (size_t i = 0; i < n; i++)
		put(to, t->fallback_id[(unsigned char)text[i]]);
	return true;
}

/* Unknown ones in a row are one token where the file says so. (Bytes do not end such a row: the reference puts them before it.) */
static enum moe_err put_unknown(const struct moe_tokenizer *t, const char *text, size_t n, struct symbols *to, struct moe_diag *d)
{
	if (t->byte_fallback && put_bytes(t, text, n, to))
		return MOE_OK;
	if (t->unknown == NONE)
		return moe_fail(d, MOE_EINPUT, "the vocabulary has no token for \"%.*s\", and none for the unknown", (int)n, text);
	if (to->pending && !t->fuse_unknown)
		put(to, t->unknown);
	to->pending = true;
	return MOE_OK;
}

static void put_known(const struct moe_tokenizer *t, int32_t id, struct symbols *to)
{
	if (to->pending)
		put(to, t->unknown);
	to->pending = false;
	put(to, id);
}

/* One symbol for each character; or for each byte, which stands for a character of the byte alphabet. */
static enum moe_err symbols(const struct moe_tokenizer *t, const char *text, size_t n, struct symbols *to, struct moe_diag *d)
{
	size_t step = 1;
	bool good;

	for (size_t i = 0; i < n; i += step) {
		char c[4];
		int32_t id;
		if (!t->byte_level)
			step = moe_utf8_step(text + i, n - i, &good);
		id = t->byte_level ? t->byte_id[(unsigned char)text[i]] : moe_vocab_find(&t->vocab, text + i, step);
		if (id != NONE)
			put_known(t, id, to);
		else if (t->byte_level)
			MOE_TRY(put_unknown(t, c, moe_utf8_put(c, moe_byte_to_rune((unsigned char)text[i])), to, d));
		else
			MOE_TRY(put_unknown(t, text + i, step, to, d));
	}
	if (to->pending)
		put(to, t->unknown);
	if (to->n)
		to->s[to->n - 1].next = NONE;
	return MOE_OK;
}

/* Room for n symbols. The heap begins with n - 1 candidates at most; each of at most n - 1 joins takes one and adds two. */
static enum moe_err reserve(struct bpe_work *w, size_t n, struct moe_diag *d)
{
	MOE_TRY(moe_grow(&w->symbol, &w->n_symbols, n, sizeof *w->symbol, d));
	return moe_grow(&w->heap, &w->n_heap, 2 * n, sizeof *w->heap, d);
}

enum moe_err moe_bpe_encode(struct moe_tokenizer *t, const char *text, size_t n, struct moe_ids *ids, struct moe_diag *d)
{
	struct symbols s = {0};
	struct heap h = {0};

	if (n > INT32_MAX / 2)
		return moe_fail(d, MOE_ENOMEM, "a piece of text of %zu bytes is too long", n);
	MOE_TRY(reserve(&t->work, t->byte_level ? 2 * n : n, d));       /* a character of the byte alphabet has up to two bytes to fall back to */
	s.s = t->work.symbol;
	h.c = t->work.heap;
	MOE_TRY(symbols(t, text, n, &s, d));
	join(t, s.s, &h, s.n);
	for (size_t i = 0; i < s.n; i++)
		if (s.s[i].id != NONE)
			MOE_TRY(moe_ids_add(ids, s.s[i].id, d));
	return MOE_OK;
}
