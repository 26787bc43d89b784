/* Added tokens in a text: the leftmost first, of those the longest; and what their flags ask for. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "text/text_priv.h"

/* What the reference takes for a word beside a single_word token: Unicode's \w (UTS 18, annex C). */
static const char word[] = "\\A[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}]";

static int compare(const void *a, const void *b)
{
	const struct added *x = a, *y = b;
	int order = memcmp(x->text.s, y->text.s, moe_min(x->text.n, y->text.n));

	if (order || x->text.n != y->text.n)
		return order ? order : x->text.n < y->text.n ? -1 : 1;
	if (x->special != y->special)   /* special ones are looked for first, each kind in the order of the file */
		return x->special ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

static void index_set(struct added_set *set)
{
	size_t n = 0;

	if (set->n)
		qsort(set->added, set->n, sizeof *set->added, compare);
	for (size_t i = 0; i < set->n; i++) {
		const struct added *a = &set->added[i];
		unsigned char c = (unsigned char)*a->text.s;
		if (n && set->added[n - 1].text.n == a->text.n && !memcmp(set->added[n - 1].text.s, a->text.s, a->text.n))
			continue;       /* another token that the normalizer makes the same */
		if (!set->first[c])
			set->from[c] = (uint32_t)n;
		set->first[c] = true;
		set->added[n++] = *a;
		set->to[c] = (uint32_t)n;
	}
	set->n = n;
}

/* The text that a token is looked for by. */
static enum moe_err searched(struct moe_tokenizer *t, struct added *a, struct moe_diag *d)
{
	struct string s;
	char *copy;

	a->text = a->content;
	if (!a->normalized || !t->n_normal)
		return MOE_OK;
	MOE_TRY(moe_normalize(t, a->content.s, a->content.n, &s, d));
	copy = moe_arena_string(&t->memory, s.s, s.n);
	if (!copy)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	a->text = (struct string){copy, s.n};
	return s.n ? MOE_OK : moe_fail(d, MOE_EINPUT, "tokenizer.json: added_tokens: of \"%.*s\" the normalizer leaves nothing", (int)moe_min(a->content.n, 60),
				       a->content.s);
}

enum moe_err moe_added_index(struct moe_tokenizer *t, struct moe_diag *d)
{
	t->raw.added = moe_arena_get(&t->memory, t->n_added, sizeof *t->added);
	t->normal.added = moe_arena_get(&t->memory, t->n_added, sizeof *t->added);
	if (!t->raw.added || !t->normal.added)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	MOE_TRY(moe_vocab_reserve(&t->added_texts, t->n_added, d));
	for (size_t i = 0; i < t->n_added; i++) {
		struct added *a = &t->added[i];
		struct added_set *set = a->normalized ? &t->normal : &t->raw;
		int32_t id = moe_vocab_find(&t->vocab, a->content.s, a->content.n), before = moe_vocab_find(&t->added_texts, a->content.s, a->content.n);
		if ((id != NONE && id != a->id) || (before != NONE && t->added[before].id != a->id))
			return moe_fail(d, MOE_EINPUT, "tokenizer.json: the added token \"%.*s\" has two ids, %d and %d", (int)moe_min(a->content.n, 60),
					a->content.s, (int)a->id, (int)(id != NONE ? id : t->added[before].id));
		if (before != NONE)
			continue;
		moe_vocab_add(&t->added_texts, a->content.s, a->content.n, (int32_t)i);
		MOE_TRY(searched(t, a, d));
		set->added[set->n++] = *a;
	}
	index_set(&t->raw);
	index_set(&t->normal);
	t->word.pattern = (struct string){word, sizeof word - 1};
	return MOE_OK;
}

/* Of the tokens lo..hi, which agree in `depth` bytes and are longer, those that go on with c. */
static void narrow(const struct added *a, size_t *lo, size_t *hi, size_t depth, unsigned char c)
{
	size_t from = *lo, to = *hi;

	while (from < to) {
		size_t mid = (from + to) / 2;
		if ((unsigned char)a[mid].text.s[depth] < c)
			from = mid + 1;
		else
			to = mid;
	}
	*lo = from;
	for (to = *hi; from < to;) {
		size_t mid = (from + to) / 2;
		if ((unsigned char)a[mid].text.s[depth] <= c)
			from = mid + 1;
		else
			to = mid;
	}
	*hi = from;
}

static const struct added *longest_at(const struct added_set *set, const char *p, size_t left)
{
	size_t lo = set->from[(unsigned char)*p], hi = set->to[(unsigned char)*p];
	const struct added *best = NULL;

	for (size_t depth = 1; lo < hi; depth++) {
		if (set->added[lo].text.n == depth)
			best = &set->added[lo++];
		if (depth == left)
			break;
		narrow(set->added, &lo, &hi, depth, (unsigned char)p[depth]);
	}
	return best;
}

/* Whether the character at p belongs to a word. */
static enum moe_err is_word(struct moe_tokenizer *t, const char *p, size_t left, bool *yes, struct moe_diag *d)
{
	struct finder f = {.text = p, .n = left};
	bool good;

	f.n = moe_utf8_step(p, left, &good);
	return moe_regex_next(&t->word, &f, yes, d);
}

static enum moe_err stands_alone(struct moe_tokenizer *t, const struct added_scan *s, bool *alone, struct moe_diag *d)
{
	bool before = false, behind = false;
	size_t last = s->from;

	while (last && ((unsigned char)s->text[--last] & 0xc0) == 0x80)
		;
	if (s->from)
		MOE_TRY(is_word(t, s->text + last, s->from - last, &before, d));
	if (s->at < s->n)
		MOE_TRY(is_word(t, s->text + s->at, s->n - s->at, &behind, d));
	*alone = !before && !behind;
	return MOE_OK;
}

/* White space beside the token goes with it: before it as far as the last token (with its own space), behind it all. The search goes on right
 * behind the token itself, so that a token made of white space is found in what was swallowed; one that swallows space before it has nothing left
 * there and is dropped (false). The reference does so. */
static bool swallow(struct added_scan *s)
{
	const struct added *a = s->added;
	size_t begin = moe_min(s->done, s->from), end = s->at;

	s->gap = s->done;
	if (a->lstrip)
		s->from = moe_max(s->from - moe_trailing_space(s->text + begin, s->from - begin), s->done);
	if (a->rstrip) {
		if (end >= s->space_end)
			s->space_end = end + moe_leading_space(s->text + end, s->n - end);
		end = s->space_end;
	}
	s->done = end;
	return s->from < end;
}

enum moe_err moe_added_next(struct moe_tokenizer *t, struct added_scan *s, bool *found, struct moe_diag *d)
{
	*found = false;
	while (s->set->n && s->at < s->n) {
		bool alone = true;
		while (s->at < s->n && !s->set->first[(unsigned char)s->text[s->at]])
			s->at++;
		if (s->at == s->n)
			break;
		s->added = longest_at(s->set, s->text + s->at, s->n - s->at);
		s->from = s->at;
		s->at += s->added ? s->added->text.n : 1;
		if (!s->added)
			continue;
		if (s->added->single_word)
			MOE_TRY(stands_alone(t, s, &alone, d));
		if (!alone || !swallow(s))
			continue;
		*found = true;
		break;
	}
	return MOE_OK;
}
