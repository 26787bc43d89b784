/* Reads tokenizer.json. What is not supported is refused by name; nothing is guessed. */
#include <stdlib.h>
#include <string.h>

#include "text/text_priv.h"

static const char gpt2_pattern[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

struct loader {
	struct moe_tokenizer *t;
	struct moe_json j;
	struct moe_diag *d;
	size_t nbytes;                  /* of the file */
};

enum { FREE_IDS = 1 << 18 };

static enum moe_err unsupported(struct loader *l, const char *part, const char *name)
{
	return moe_fail_at(l->d, MOE_EINPUT, (uint64_t)(l->j.p - l->j.beg), "tokenizer.json: %s \"%s\" is not supported", part, name);
}

/* The last string of the scanner, kept. */
static char *keep(struct loader *l, size_t *n)
{
	char *s = moe_arena_get(&l->t->memory, l->j.nstr + 1, 1);

	if (s)
		*n = moe_json_decode(&l->j, s);
	return s;
}

static enum moe_err set_token(struct loader *l, uint64_t id, const char *text, size_t n, bool special, bool added)
{
	struct moe_tokenizer *t = l->t;

	if (id >= MAX_ID)
		return moe_json_fail(&l->j, "a token's id is above 16777215");
	if (id >= FREE_IDS && id >= l->nbytes)  /* a table is made of that size: not for a few bytes */
		return moe_json_fail(&l->j, "a token's id is larger than a file of this size can have tokens");
	if (id >= t->n_tokens) {
		size_t old = t->token_cap;
		MOE_TRY(moe_grow(&t->token, &t->token_cap, id + 1, sizeof *t->token, l->d));
		memset(t->token + old, 0, (t->token_cap - old) * sizeof *t->token);
		t->n_tokens = id + 1;
	}
	if (t->token[id].text && (t->token[id].n != n || memcmp(t->token[id].text, text, n)))
		return moe_json_fail(&l->j, "two tokens have the same id");
	t->token[id] = (struct token){text, (uint32_t)n, special || t->token[id].special, added || t->token[id].added};
	return MOE_OK;
}

static enum moe_err read_vocab(struct loader *l)
{
	MOE_TRY(moe_json_enter(&l->j, '{'));
	while (moe_json_key(&l->j)) {
		uint64_t id;
		size_t n;
		char *text = keep(l, &n);
		if (!text)
			return moe_fail(l->d, MOE_ENOMEM, "out of memory");
		MOE_TRY(moe_json_u64(&l->j, &id));
		MOE_TRY(moe_vocab_reserve(&l->t->vocab, l->t->vocab.used + 1, l->d));
		MOE_TRY(set_token(l, id, text, n, false, false));
		if (!moe_vocab_add(&l->t->vocab, text, n, (int32_t)id))
			return moe_json_fail(&l->j, "a token stands twice in the vocabulary");
	}
	return l->j.err;
}

/* One merge: "left right", or ["left", "right"]. The vocabulary must have been read. */
static enum moe_err read_merge(struct loader *l, int32_t rank, char **buf, size_t *cap)
{
	struct moe_json *j = &l->j;
	struct merge m = {.rank = rank};
	size_t n[2] = {0};

	if (moe_json_peek(j) == '[') {
		MOE_TRY(moe_json_enter(j, '['));
		for (int i = 0; moe_json_element(j); i++) {
			MOE_TRY(moe_json_string(j));
			if (i == 2)
				return moe_json_fail(j, "a merge has more than two parts");
			MOE_TRY(moe_grow(buf, cap, n[0] + j->nstr + 1, 1, l->d));
			n[i] = moe_json_decode(j, *buf + (i ? n[0] : 0));
		}
		MOE_TRY(j->err);
	} else {
		const char *space;
		size_t all;
		MOE_TRY(moe_json_string(j));
		MOE_TRY(moe_grow(buf, cap, j->nstr + 1, 1, l->d));
		all = moe_json_decode(j, *buf);
		space = memchr(*buf, ' ', all);
		if (!space || memchr(space + 1, ' ', all - (size_t)(space + 1 - *buf)))
			return moe_json_fail(j, "a merge must have two parts");
		n[0] = (size_t)(space - *buf);
		n[1] = all - n[0] - 1;
		memmove(*buf + n[0], space + 1, n[1]);
	}
	m.left = moe_vocab_find(&l->t->vocab, *buf, n[0]);
	m.right = moe_vocab_find(&l->t->vocab, *buf + n[0], n[1]);
	m.id = moe_vocab_find(&l->t->vocab, *buf, n[0] + n[1]);
	if (m.left == NONE || m.right == NONE || m.id == NONE)
		return moe_json_fail(j, "a merge's parts or their join are not in the vocabulary");
	MOE_TRY(moe_merges_reserve(&l->t->merges, l->t->merges.used + 1, l->d));
	return moe_merges_add(&l->t->merges, m) ? MOE_OK : moe_json_fail(j, "a merge stands twice");
}

static enum moe_err read_merges(struct loader *l)
{
	char *buf = NULL;
	size_t cap = 0;
	enum moe_err err = moe_json_enter(&l->j, '[');

	for (int32_t rank = 0; !err && moe_json_element(&l->j); rank++)
		err = rank == MAX_ID ? moe_json_fail(&l->j, "more than 16777216 merges") : read_merge(l, rank, &buf, &cap);
	free(buf);
	return err ? err : l->j.err;
}

/* Options that must have their neutral value. */
static enum moe_err must_be_off(struct loader *l, const char *part)
{
	char key[64];
	bool on;

	if (l->j.nstr >= sizeof key)
		return moe_json_fail(&l->j, "unexpected key");
	moe_json_decode(&l->j, key);
	if (moe_json_null(&l->j))
		return MOE_OK;
	if (moe_json_peek(&l->j) == '"') {
		MOE_TRY(moe_json_string(&l->j));
		return l->j.nstr ? unsupported(l, part, key) : MOE_OK;
	}
	if (moe_json_peek(&l->j) == 't' || moe_json_peek(&l->j) == 'f') {
		MOE_TRY(moe_json_bool(&l->j, &on));
		return on ? unsupported(l, part, key) : MOE_OK;
	}
	return unsupported(l, part, key);
}

static enum moe_err read_type(struct loader *l, const char *part, const char *only)
{
	char name[64] = "";

	MOE_TRY(moe_json_string(&l->j));
	if (l->j.nstr < sizeof name)
		moe_json_decode(&l->j, name);
	return strcmp(name, only) ? unsupported(l, part, name) : MOE_OK;
}

static enum moe_err read_model(struct loader *l)
{
	struct moe_json *j = &l->j;
	const char *unknown = NULL;
	size_t n_unknown = 0;
	struct moe_json merges;
	bool have_merges = false;

	MOE_TRY(moe_json_enter(j, '{'));
	while (moe_json_key(j)) {
		if (moe_json_is(j, "type")) {
			MOE_TRY(read_type(l, "model type", "BPE"));
		} else if (moe_json_is(j, "vocab")) {
			MOE_TRY(read_vocab(l));
		} else if (moe_json_is(j, "merges")) {  /* may stand before the vocabulary: read afterwards */
			merges = *j;
			have_merges = true;
			MOE_TRY(moe_json_skip(j));
		} else if (moe_json_is(j, "unk_token")) {
			if (!moe_json_null(j)) {
				MOE_TRY(moe_json_string(j));
				if (!(unknown = keep(l, &n_unknown)))
					return moe_fail(l->d, MOE_ENOMEM, "out of memory");
			}
		} else if (moe_json_is(j, "ignore_merges")) {
			MOE_TRY(moe_json_bool(j, &l->t->ignore_merges));
		} else if (moe_json_is(j, "fuse_unk")) {
			MOE_TRY(moe_json_bool(j, &l->t->fuse_unknown));
		} else {
			MOE_TRY(must_be_off(l, "model option"));
		}
	}
	MOE_TRY(j->err);
	if (!l->t->vocab.used)
		return moe_fail(l->d, MOE_EINPUT, "the model has no vocabulary");
	if (have_merges) {
		struct moe_json here = *j;
		*j = merges;
		MOE_TRY(read_merges(l));
		*j = here;
	}
	l->t->unknown = unknown ? moe_vocab_find(&l->t->vocab, unknown, n_unknown) : NONE;
	return unknown && l->t->unknown == NONE ? moe_json_fail(j, "unk_token is not in the vocabulary") : MOE_OK;
}

static enum moe_err read_added_token(struct loader *l)
{
	struct moe_json *j = &l->j;
	struct added a = {.id = NONE};
	bool normalized = false;
	uint64_t id = UINT64_MAX;

	MOE_TRY(moe_json_enter(j, '{'));
	while (moe_json_key(j)) {
		if (moe_json_is(j, "id")) {
			MOE_TRY(moe_json_u64(j, &id));
		} else if (moe_json_is(j, "content")) {
			MOE_TRY(moe_json_string(j));
			a.text = keep(l, &a.n);
		} else if (moe_json_is(j, "special")) {
			MOE_TRY(moe_json_bool(j, &a.special));
		} else if (moe_json_is(j, "normalized")) {
			MOE_TRY(moe_json_bool(j, &normalized)); /* no normalizer of the supported kinds changes such a text */
		} else {
			MOE_TRY(must_be_off(l, "added token option"));
		}
	}
	MOE_TRY(j->err);
	if (!a.text || !a.n || id == UINT64_MAX)
		return moe_json_fail(j, "an added token needs an id and a content");
	MOE_TRY(set_token(l, id, a.text, a.n, a.special, true));
	a.id = (int32_t)id;
	MOE_TRY(moe_grow(&l->t->added, &l->t->added_cap, l->t->n_added + 1, sizeof a, l->d));
	l->t->added[l->t->n_added++] = a;
	return MOE_OK;
}

static enum moe_err read_added(struct loader *l)
{
	MOE_TRY(moe_json_enter(&l->j, '['));
	while (moe_json_element(&l->j))
		MOE_TRY(read_added_token(l));
	return l->j.err;
}

static enum moe_err add_split(struct loader *l, char *pattern, size_t n, bool matches_only)
{
	if (l->t->n_splits == MAX_SPLITS)
		return moe_json_fail(&l->j, "more than 8 splits");
	l->t->split[l->t->n_splits++] = (struct split){.pattern = pattern, .npattern = n, .matches_only = matches_only};
	return MOE_OK;
}

/* What a pre-tokenizer, normalizer, post-processor or decoder says; strings are kept in the tokenizer. */
struct part {
	char type[32], behavior[32];
	bool invert, add_prefix_space, use_regex;
	char *regex;
	size_t nregex;
	struct moe_json list;           /* of a Sequence */
	bool has_list;
};

static enum moe_err read_pattern(struct loader *l, struct part *p)
{
	MOE_TRY(moe_json_enter(&l->j, '{'));
	while (moe_json_key(&l->j)) {
		bool regex = moe_json_is(&l->j, "Regex");
		MOE_TRY(moe_json_string(&l->j));
		if (!regex)
			return unsupported(l, "pattern", "String");
		p->regex = keep(l, &p->nregex);
	}
	return l->j.err;
}

static enum moe_err read_word(struct loader *l, char *to, size_t cap)
{
	MOE_TRY(moe_json_string(&l->j));
	if (l->j.nstr >= cap)
		return moe_json_fail(&l->j, "unexpected long word");
	moe_json_decode(&l->j, to);
	return MOE_OK;
}

static enum moe_err read_part(struct loader *l, struct part *p)
{
	struct moe_json *j = &l->j;

	*p = (struct part){.use_regex = true};
	MOE_TRY(moe_json_enter(j, '{'));
	while (moe_json_key(j)) {
		if (moe_json_is(j, "type")) {
			MOE_TRY(read_word(l, p->type, sizeof p->type));
		} else if (moe_json_is(j, "behavior")) {
			MOE_TRY(read_word(l, p->behavior, sizeof p->behavior));
		} else if (moe_json_is(j, "invert")) {
			MOE_TRY(moe_json_bool(j, &p->invert));
		} else if (moe_json_is(j, "add_prefix_space")) {
			MOE_TRY(moe_json_bool(j, &p->add_prefix_space));
		} else if (moe_json_is(j, "use_regex")) {
			MOE_TRY(moe_json_bool(j, &p->use_regex));
		} else if (moe_json_is(j, "pattern") && moe_json_peek(j) == '{') {
			MOE_TRY(read_pattern(l, p));
		} else if (moe_json_peek(j) == '[') {
			p->list = *j;
			p->has_list = true;
			MOE_TRY(moe_json_skip(j));
		} else {
			MOE_TRY(moe_json_skip(j));
		}
	}
	return j->err;
}

/* ByteLevel comes last, since what follows it would see its alphabet and not the text; its space is put before each piece of what came before. */
static enum moe_err use_pre_tokenizer(struct loader *l, const struct part *p)
{
	if (l->t->byte_level)
		return moe_json_fail(&l->j, "a pre_tokenizer behind ByteLevel is not supported");
	if (!strcmp(p->type, "ByteLevel")) {
		if (p->add_prefix_space && l->t->n_splits)
			return unsupported(l, "option of ByteLevel behind Split:", "add_prefix_space");
		l->t->byte_level = true;
		l->t->add_prefix_space = p->add_prefix_space;
		return p->use_regex ? add_split(l, (char *)gpt2_pattern, sizeof gpt2_pattern - 1, false) : MOE_OK;
	}
	if (!strcmp(p->type, "Split")) {
		bool isolated = !strcmp(p->behavior, "Isolated"), removed = !strcmp(p->behavior, "Removed");
		if (p->invert ? !removed : !isolated)
			return unsupported(l, p->invert ? "inverted split behaviour" : "split behaviour", p->behavior);
		return p->regex ? add_split(l, p->regex, p->nregex, removed) : unsupported(l, "split pattern", "String");
	}
	return unsupported(l, "pre_tokenizer", p->type);
}

static enum moe_err use_normalizer(struct loader *l, const struct part *p)
{
	if (strcmp(p->type, "NFC"))
		return unsupported(l, "normalizer", p->type);
	l->t->nfc = true;
	return MOE_OK;
}

static enum moe_err use_post_processor(struct loader *l, const struct part *p)
{
	return strcmp(p->type, "ByteLevel") ? unsupported(l, "post_processor", p->type) : MOE_OK;       /* it moves offsets only */
}

static enum moe_err use_decoder(struct loader *l, const struct part *p)
{
	l->t->decoder = true;
	if (!strcmp(p->type, "ByteLevel"))
		l->t->decode_bytes = true;
	else if (strcmp(p->type, "Fuse"))
		return unsupported(l, "decoder", p->type);
	return MOE_OK;
}

/* A part, or a flat Sequence of them. */
static enum moe_err read_parts(struct loader *l, enum moe_err (*use)(struct loader *l, const struct part *p))
{
	struct part p, inner;
	struct moe_json here;

	if (moe_json_null(&l->j))
		return MOE_OK;
	MOE_TRY(read_part(l, &p));
	if (strcmp(p.type, "Sequence"))
		return use(l, &p);
	if (!p.has_list)
		return moe_json_fail(&l->j, "a Sequence without its list");
	here = l->j;
	l->j = p.list;
	MOE_TRY(moe_json_enter(&l->j, '['));
	while (moe_json_element(&l->j)) {
		MOE_TRY(read_part(l, &inner));
		MOE_TRY(use(l, &inner));
	}
	MOE_TRY(l->j.err);
	l->j = here;
	return MOE_OK;
}

static enum moe_err read_all(struct loader *l)
{
	struct moe_json *j = &l->j;
	bool model = false;

	MOE_TRY(moe_json_enter(j, '{'));
	while (moe_json_key(j)) {
		if (moe_json_is(j, "model")) {
			model = true;
			MOE_TRY(read_model(l));
		} else if (moe_json_is(j, "added_tokens")) {
			MOE_TRY(read_added(l));
		} else if (moe_json_is(j, "pre_tokenizer")) {
			MOE_TRY(read_parts(l, use_pre_tokenizer));
		} else if (moe_json_is(j, "normalizer")) {
			MOE_TRY(read_parts(l, use_normalizer));
		} else if (moe_json_is(j, "post_processor")) {
			MOE_TRY(read_parts(l, use_post_processor));
		} else if (moe_json_is(j, "decoder")) {
			MOE_TRY(read_parts(l, use_decoder));
		} else {
			MOE_TRY(moe_json_skip(j));
		}
	}
	MOE_TRY(moe_json_finish(j));
	return model ? moe_added_index(l->t, l->d) : moe_fail(l->d, MOE_EINPUT, "tokenizer.json has no model");
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
