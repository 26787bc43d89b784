/* Reads tokenizer.json: the model and the added tokens (the other parts: tokenizer_parts.c). What is not supported is refused by name; nothing is
 * guessed. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "text/text_priv.h"

enum { FREE_IDS = 1 << 18, POOL = 64 << 10, SHOWN = 60 };

enum moe_err moe_loader_fail(struct loader *l, const char *fmt, ...)
{
	char text[400];
	va_list args;

	if (l->j.err)
		return l->j.err;
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	return moe_fail_at(l->d, MOE_EINPUT, (uint64_t)(l->j.p - l->j.beg), "tokenizer.json: %s", text);
}

enum moe_err moe_loader_keep(struct loader *l, struct string *out)
{
	size_t need = l->j.nstr + 1;

	if (need > l->room) {
		l->room = moe_max(need, POOL);
		l->pool = moe_arena_get(&l->t->memory, l->room, 1);
		if (!l->pool) {
			l->room = 0;
			return moe_fail(l->d, MOE_ENOMEM, "out of memory");
		}
	}
	*out = (struct string){l->pool, moe_json_decode(&l->j, l->pool)};
	l->pool += out->n + 1;
	l->room -= out->n + 1;
	return MOE_OK;
}

/* ---- values, with the field's name in the failure ---- */

static enum moe_err expect(struct loader *l, const char *field, const char *first, const char *what)
{
	char c = moe_json_peek(&l->j);

	return c && strchr(first, c) ? MOE_OK : moe_loader_fail(l, "%s must be %s", field, what);
}

enum moe_err moe_loader_string(struct loader *l, const char *field, struct string *out)
{
	MOE_TRY(expect(l, field, "\"", "a string"));
	MOE_TRY(moe_json_string(&l->j));
	return moe_loader_keep(l, out);
}

enum moe_err moe_loader_bool(struct loader *l, const char *field, bool *out)
{
	MOE_TRY(expect(l, field, "tf", "true or false"));
	return moe_json_bool(&l->j, out);
}

enum moe_err moe_loader_u64(struct loader *l, const char *field, uint64_t *out)
{
	MOE_TRY(expect(l, field, "0123456789", "a whole number from 0 up"));
	return moe_json_u64(&l->j, out);
}

enum moe_err moe_loader_enter(struct loader *l, const char *field, char kind)
{
	MOE_TRY(expect(l, field, kind == '{' ? "{" : "[", kind == '{' ? "an object" : "an array"));
	return moe_json_enter(&l->j, kind);
}

/* ---- tokens ---- */

static enum moe_err set_token(struct loader *l, uint64_t id, const struct string *s, bool special, bool added)
{
	struct moe_tokenizer *t = l->t;
	int shown = (int)moe_min(s->n, SHOWN);

	if (id >= MAX_ID)
		return moe_loader_fail(l, "the id %llu of \"%.*s\" is above 16777215", (unsigned long long)id, shown, s->s);
	if (id >= FREE_IDS && id >= l->nbytes)  /* a table is made of that size: not for a few bytes */
		return moe_loader_fail(l, "the id %llu of \"%.*s\" is larger than a file of this size can have tokens", (unsigned long long)id, shown, s->s);
	if (s->n > UINT32_MAX)
		return moe_loader_fail(l, "a token is too long");
	if (id >= t->n_tokens) {
		size_t old = t->token_cap;
		MOE_TRY(moe_grow(&t->token, &t->token_cap, id + 1, sizeof *t->token, l->d));
		memset(t->token + old, 0, (t->token_cap - old) * sizeof *t->token);
		t->n_tokens = id + 1;
	}
	if (t->token[id].text && (t->token[id].n != s->n || memcmp(t->token[id].text, s->s, s->n)))
		return moe_loader_fail(l, "two tokens have the same id, %llu: \"%.*s\" and \"%.*s\"", (unsigned long long)id,
				       (int)moe_min(t->token[id].n, SHOWN), t->token[id].text, shown, s->s);
	t->token[id] = (struct token){s->s, (uint32_t)s->n, special || t->token[id].special, added || t->token[id].added};
	return MOE_OK;
}

static enum moe_err read_vocab(struct loader *l)
{
	struct vocab *v = &l->t->vocab;

	if (v->used)
		return moe_loader_fail(l, "model.vocab stands twice");
	MOE_TRY(moe_loader_enter(l, "model.vocab", '{'));
	while (moe_json_key(&l->j)) {
		uint64_t id;
		struct string s;
		MOE_TRY(moe_loader_keep(l, &s));
		MOE_TRY(moe_loader_u64(l, "an id in model.vocab", &id));
		MOE_TRY(moe_vocab_reserve(v, v->used + 1, l->d));
		MOE_TRY(set_token(l, id, &s, false, false));
		if (!moe_vocab_add(v, s.s, s.n, (int32_t)id))
			return moe_loader_fail(l, "the token \"%.*s\" stands twice in the vocabulary", (int)moe_min(s.n, SHOWN), s.s);
	}
	return l->j.err;
}

/* ---- merges ---- */

/* The merges before they are put into a table of the right size. */
struct merge_list {
	struct merge *m;
	size_t n, cap;
	struct buffer text;             /* of the two parts of one */
};

/* ["left", "right"]: into list->text behind each other; n[2] are their lengths. */
static enum moe_err read_pair(struct loader *l, struct buffer *b, size_t *n)
{
	struct moe_json *j = &l->j;
	int i = 0;

	MOE_TRY(moe_json_enter(j, '['));
	for (b->n = 0; moe_json_element(j); i++) {
		MOE_TRY(expect(l, "a part of a merge in model.merges", "\"", "a string"));
		MOE_TRY(moe_json_string(j));
		if (i == 2)
			return moe_loader_fail(l, "model.merges: a merge must have two parts");
		MOE_TRY(moe_grow(&b->s, &b->cap, b->n + j->nstr + 1, 1, l->d));
		n[i] = moe_json_decode(j, b->s + b->n);
		b->n += n[i];
	}
	MOE_TRY(j->err);
	return i == 2 ? MOE_OK : moe_loader_fail(l, "model.merges: a merge must have two parts");
}

/* "left right". */
static enum moe_err read_line(struct loader *l, struct buffer *b, size_t *n)
{
	struct moe_json *j = &l->j;
	char *space;

	MOE_TRY(expect(l, "a merge in model.merges", "\"", "a string or an array"));
	MOE_TRY(moe_json_string(j));
	MOE_TRY(moe_grow(&b->s, &b->cap, j->nstr + 1, 1, l->d));
	b->n = moe_json_decode(j, b->s);
	space = memchr(b->s, ' ', b->n);
	if (!space || memchr(space + 1, ' ', b->n - (size_t)(space + 1 - b->s)))
		return moe_loader_fail(l, "model.merges: the merge \"%.*s\" must have two parts", (int)moe_min(b->n, SHOWN), b->s);
	n[0] = (size_t)(space - b->s);
	n[1] = b->n - n[0] - 1;
	memmove(space, space + 1, n[1]);
	b->n--;
	return MOE_OK;
}

/* A part that is empty would be joined with everything, again and again. */
static enum moe_err read_merge(struct loader *l, struct merge_list *list)
{
	const struct vocab *v = &l->t->vocab;
	struct buffer *b = &list->text;
	struct merge m = {.rank = (int32_t)list->n};
	size_t n[2] = {0};

	if (list->n == MAX_ID)
		return moe_loader_fail(l, "model.merges has more than 16777216 merges");
	MOE_TRY(moe_json_peek(&l->j) == '[' ? read_pair(l, b, n) : read_line(l, b, n));
	if (!n[0] || !n[1])
		return moe_loader_fail(l, "model.merges: a part of merge %zu is empty", list->n);
	m.left = moe_vocab_find(v, b->s, n[0]);
	m.right = moe_vocab_find(v, b->s + n[0], n[1]);
	m.id = moe_vocab_find(v, b->s, b->n);
	if (m.left == NONE || m.right == NONE || m.id == NONE)
		return moe_loader_fail(l, "model.merges: merge %zu joins \"%.*s\" and \"%.*s\", but %s not in the vocabulary", list->n,
				       (int)moe_min(n[0], SHOWN), b->s, (int)moe_min(n[1], SHOWN), b->s + n[0],
				       m.left == NONE ? "the first is" : m.right == NONE ? "the second is" : "what they make is");
	if (list->n == list->cap)
		MOE_TRY(moe_grow(&list->m, &list->cap, list->n + 1, sizeof *list->m, l->d));
	list->m[list->n++] = m;
	return MOE_OK;
}

static enum moe_err read_list(struct loader *l, struct merge_list *list)
{
	MOE_TRY(moe_loader_enter(l, "model.merges", '['));
	while (moe_json_element(&l->j))
		MOE_TRY(read_merge(l, list));
	MOE_TRY(l->j.err);
	MOE_TRY(moe_merges_reserve(&l->t->merges, list->n, l->d));
	for (size_t i = 0; i < list->n; i++)
		if (!moe_merges_add(&l->t->merges, list->m[i]))
			return moe_loader_fail(l, "model.merges: a merge stands twice, at the end as merge %zu", i);
	return MOE_OK;
}

static enum moe_err read_merges(struct loader *l)
{
	struct merge_list list = {0};
	enum moe_err err = l->t->merges.used ? moe_loader_fail(l, "model.merges stands twice") : read_list(l, &list);

	free(list.m);
	free(list.text.s);
	return err;
}

/* ---- the model ---- */

/* Options that must have their neutral value: null, false, "", 0 or 0.0. */
static enum moe_err must_be_off(struct loader *l)
{
	struct string key;
	const char *p;

	MOE_TRY(moe_loader_keep(l, &key));
	moe_json_peek(&l->j);
	p = l->j.p;
	MOE_TRY(moe_json_skip(&l->j));
	for (size_t n = (size_t)(l->j.p - p), i = 0; i < 5; i++) {
		const char *off = (const char *[]){"null", "false", "\"\"", "0", "0.0"}[i];
		if (n == strlen(off) && !memcmp(p, off, n))
			return MOE_OK;
	}
	return moe_loader_fail(l, "model option \"%s\" is not supported", key.s);
}

static enum moe_err read_type(struct loader *l)
{
	struct string s;

	MOE_TRY(moe_loader_string(l, "model.type", &s));
	if (!strcmp(s.s, "BPE"))
		return MOE_OK;
	return moe_loader_fail(l, "model type \"%.*s\" is not supported: only BPE is; a model with another tokenizer can be run on token ids",
			       (int)moe_min(s.n, SHOWN), s.s);
}

struct model {
	struct string unknown;
	struct moe_json merges;         /* where they stand, when they stand before the vocabulary */
	bool later;
};

static enum moe_err read_option(struct loader *l, struct model *m)
{
	struct moe_json *j = &l->j;

	if (moe_json_is(j, "type"))
		return read_type(l);
	if (moe_json_is(j, "vocab"))
		return read_vocab(l);
	if (moe_json_is(j, "merges") && l->t->vocab.used)
		return read_merges(l);
	if (moe_json_is(j, "merges")) {
		m->merges = *j;
		m->later = true;
		return moe_json_skip(j);
	}
	if (moe_json_is(j, "unk_token"))
		return moe_json_null(j) ? MOE_OK : moe_loader_string(l, "model.unk_token", &m->unknown);
	if (moe_json_is(j, "ignore_merges"))
		return moe_loader_bool(l, "model.ignore_merges", &l->t->ignore_merges);
	if (moe_json_is(j, "fuse_unk"))
		return moe_loader_bool(l, "model.fuse_unk", &l->t->fuse_unknown);
	if (moe_json_is(j, "byte_fallback"))
		return moe_loader_bool(l, "model.byte_fallback", &l->t->byte_fallback);
	return must_be_off(l);
}

static enum moe_err read_model(struct loader *l)
{
	struct model m = {0};
	struct moe_json here;

	MOE_TRY(moe_loader_enter(l, "model", '{'));
	while (moe_json_key(&l->j))
		MOE_TRY(read_option(l, &m));
	MOE_TRY(l->j.err);
	if (!l->t->vocab.used)
		return moe_loader_fail(l, "the model has no vocabulary");
	if (m.later) {
		here = l->j;
		l->j = m.merges;
		MOE_TRY(read_merges(l));
		l->j = here;
	}
	if (!m.unknown.s)
		return MOE_OK;
	l->t->unknown = moe_vocab_find(&l->t->vocab, m.unknown.s, m.unknown.n);
	return l->t->unknown == NONE ? moe_loader_fail(l, "model.unk_token \"%s\" is not in the vocabulary", m.unknown.s) : MOE_OK;
}

/* ---- added tokens ---- */

static enum moe_err read_flag(struct loader *l, struct added *a)
{
	const struct { const char *key, *field; bool *to; } flags[] = {
		{"special", "added_tokens: special", &a->special}, {"lstrip", "added_tokens: lstrip", &a->lstrip},
		{"rstrip", "added_tokens: rstrip", &a->rstrip}, {"single_word", "added_tokens: single_word", &a->single_word},
		{"normalized", "added_tokens: normalized", &a->normalized},
	};
	struct string key;

	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
		if (moe_json_is(&l->j, flags[i].key))
			return moe_loader_bool(l, flags[i].field, flags[i].to);
	MOE_TRY(moe_loader_keep(l, &key));
	return moe_loader_fail(l, "added token option \"%s\" is not supported", key.s);
}

/* `normalized` is on by default, but for special tokens. */
static enum moe_err read_added_token(struct loader *l)
{
	struct moe_json *j = &l->j;
	struct added a = {.id = NONE};
	uint64_t id = UINT64_MAX;
	bool said = false;

	MOE_TRY(moe_loader_enter(l, "an element of added_tokens", '{'));
	while (moe_json_key(j)) {
		said |= moe_json_is(j, "normalized");
		if (moe_json_is(j, "id"))
			MOE_TRY(moe_loader_u64(l, "added_tokens: id", &id));
		else if (moe_json_is(j, "content"))
			MOE_TRY(moe_loader_string(l, "added_tokens: content", &a.content));
		else
			MOE_TRY(read_flag(l, &a));
	}
	MOE_TRY(j->err);
	if (!a.content.n || id == UINT64_MAX)
		return moe_loader_fail(l, "added_tokens: an added token needs an id and a content");
	a.normalized = said ? a.normalized : !a.special;
	MOE_TRY(set_token(l, id, &a.content, a.special, true));
	a.id = (int32_t)id;
	MOE_TRY(moe_grow(&l->t->added, &l->t->added_cap, l->t->n_added + 1, sizeof a, l->d));
	l->t->added[l->t->n_added++] = a;
	return MOE_OK;
}

static enum moe_err read_added(struct loader *l)
{
	if (moe_json_null(&l->j))
		return MOE_OK;
	MOE_TRY(moe_loader_enter(l, "added_tokens", '['));
	while (moe_json_element(&l->j))
		MOE_TRY(read_added_token(l));
	return l->j.err;
}

/* ---- the file ---- */

static enum moe_err read_key(struct loader *l, bool *model)
{
	struct moe_json *j = &l->j;

	if (moe_json_is(j, "model")) {
		if (*model)
			return moe_loader_fail(l, "model stands twice");
		*model = true;
		return read_model(l);
	}
	if (moe_json_is(j, "added_tokens"))
		return read_added(l);
	if (moe_json_is(j, "pre_tokenizer"))
		return moe_loader_pre_tokenizer(l);
	if (moe_json_is(j, "normalizer"))
		return moe_loader_normalizer(l);
	if (moe_json_is(j, "post_processor"))
		return moe_loader_post_processor(l);
	if (moe_json_is(j, "decoder"))
		return moe_loader_decoder(l);
	return moe_json_skip(j);
}

/* Ids that the post-processor adds must exist; only now are all tokens known. */
static enum moe_err check_ids(struct loader *l, const struct moe_ids *ids)
{
	size_t n;

	for (size_t i = 0; i < ids->n; i++)
		if (!moe_tokenizer_token(l->t, ids->id[i], &n))
			return moe_loader_fail(l, "post_processor: no token has the id %d, which it adds", (int)ids->id[i]);
	return MOE_OK;
}

/* Where bytes are the last step, the model takes them as they are, and the text need not be mapped. */
static void use_bytes(struct moe_tokenizer *t)
{
	if (t->n_piece && t->piece_step[t->n_piece - 1].kind == PIECE_BYTES) {
		t->n_piece--;
		t->byte_level = true;
	}
}

static enum moe_err read_all(struct loader *l)
{
	bool model = false;

	MOE_TRY(moe_loader_enter(l, "the file", '{'));
	while (moe_json_key(&l->j))
		MOE_TRY(read_key(l, &model));
	MOE_TRY(moe_json_finish(&l->j));
	if (!model)
		return moe_loader_fail(l, "there is no model");
	use_bytes(l->t);
	MOE_TRY(check_ids(l, &l->t->before));
	MOE_TRY(check_ids(l, &l->t->after));
	MOE_TRY(moe_word_prepare(l->t, l->d));
	return moe_added_index(l->t, l->d);
}

enum moe_err moe_tokenizer_load(struct moe_tokenizer **out, const char *json, size_t n, struct moe_diag *d)
{
	struct loader l = {.t = calloc(1, sizeof *l.t), .d = d, .nbytes = n};
	enum moe_err err;

	if (!l.t)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	l.t->unknown = NONE;
	moe_json_init(&l.j, json, n, d);
	err = read_all(&l);
	if (err)
		moe_tokenizer_free(l.t);
	else
		*out = l.t;
	return err;
}
