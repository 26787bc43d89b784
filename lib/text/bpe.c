/* Byte-pair encoding of one piece (Sennrich et al. 2016): the pair of lowest rank is joined first, the leftmost of equal ones. A heap of candidate
 * pairs over a doubly linked list of symbols: O(n log n). */
#include "text/text_priv.h"

#include <stdlib.h>
#include <string.h>

struct symbol {
	int32_t id, prev, next;         /* prev, next: NONE at the ends; a symbol that was joined away has id NONE */
};

struct candidate {
	int32_t rank, at, left, right, id;
};

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

/* The symbols that a piece begins as: one per character; unknown ones in a row are one where the file says so. */
static enum moe_err symbols(const struct moe_tokenizer *t, const char *text, size_t n, struct symbol *s, size_t *count, struct moe_diag *d)
{
	bool good, known, known_before = true;
	size_t step;

	*count = 0;
	for (size_t i = 0; i < n; i += step) {
		int32_t id;
		step = moe_utf8_step(text + i, n - i, &good);
		id = moe_vocab_find(&t->vocab, text + i, step);
		known = id != NONE;
		id = known ? id : t->unknown;
		if (id == NONE)
			return moe_fail(d, MOE_EINPUT, "the vocabulary has no token for \"%.*s\", and none for the unknown", (int)step, text + i);
		if (!known && !known_before && t->fuse_unknown)
			continue;
		known_before = known;
		s[*count] = (struct symbol){id, (int32_t)*count - 1, (int32_t)*count + 1};
		++*count;
	}
	s[*count - 1].next = NONE;
	return MOE_OK;
}

enum moe_err moe_bpe_encode(struct moe_tokenizer *t, const char *text, size_t n, struct moe_ids *ids, struct moe_diag *d)
{
	struct symbol *s;
	struct heap h = {0};
	enum moe_err err;
	int32_t whole;
	size_t count;

	if (!n)
		return MOE_OK;
	if (n > INT32_MAX / 2)
		return moe_fail(d, MOE_ENOMEM, "a piece of text of %zu bytes is too long", n);
	whole = t->ignore_merges ? moe_vocab_find(&t->vocab, text, n) : NONE;
	if (whole != NONE)
		return moe_ids_add(ids, whole, d);
	s = malloc(n * sizeof *s);
	h.c = malloc(3 * n * sizeof *h.c);      /* n - 1 at first, and at most two more for each of at most n - 1 joins */
	if (!s || !h.c) {
		free(s);
		free(h.c);
		return moe_fail(d, MOE_ENOMEM, "out of memory for a piece of %zu bytes", n);
	}
	err = symbols(t, text, n, s, &count, d);
	if (!err) {
		join(t, s, &h, count);
		for (size_t i = 0; i < count && !err; i++)
			if (s[i].id != NONE)
				err = moe_ids_add(ids, s[i].id, d);
	}
	free(s);
	free(h.c);
	return err;
}
