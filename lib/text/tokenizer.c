#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/check.h"
#include "text/text_priv.h"

void moe_tokenizer_free(struct moe_tokenizer *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n_splits; i++) {
		pcre2_match_context_free(t->split[i].context);
		pcre2_match_data_free(t->split[i].match);
		pcre2_code_free(t->split[i].code);
	}
	free(t->vocab.slot);
	free(t->merges.slot);
	free(t->token);
	free(t->added);
	free(t->added_texts.slot);
	free(t->lengths);
	moe_arena_free(&t->memory);
	free(t);
}

size_t moe_tokenizer_size(const struct moe_tokenizer *t) { return t->n_tokens; }

int32_t moe_tokenizer_find(const struct moe_tokenizer *t, const char *token, size_t n)
{
	int32_t i = moe_vocab_find(&t->added_texts, token, n);

	return i == NONE ? moe_vocab_find(&t->vocab, token, n) : t->added[i].id;
}

const char *moe_tokenizer_token(const struct moe_tokenizer *t, int32_t id, size_t *n)
{
	if (id < 0 || (size_t)id >= t->n_tokens || !t->token[id].text)
		return NULL;
	*n = t->token[id].n;
	return t->token[id].text;
}

bool moe_tokenizer_special(const struct moe_tokenizer *t, int32_t id) { return id >= 0 && (size_t)id < t->n_tokens && t->token[id].special; }

enum moe_err moe_ids_add(struct moe_ids *ids, int32_t id, struct moe_diag *d)
{
	MOE_TRY(moe_grow(&ids->id, &ids->cap, ids->n + 1, sizeof *ids->id, d));
	ids->id[ids->n++] = id;
	return MOE_OK;
}

static int by_falling_length(const void *a, const void *b)
{
	size_t x = ((const struct added_length *)a)->length, y = ((const struct added_length *)b)->length;

	return x > y ? -1 : x < y;
}

/* The entry of a length, made if it is not there: there are few (the sum of the lengths is less than the file). */
static struct added_length *length_entry(struct moe_tokenizer *t, size_t *cap, size_t length, struct moe_diag *d)
{
	for (size_t i = t->n_lengths; i--;)
		if (t->lengths[i].length == length)
			return &t->lengths[i];
	if (moe_grow(&t->lengths, cap, t->n_lengths + 1, sizeof *t->lengths, d))
		return NULL;
	t->lengths[t->n_lengths] = (struct added_length){.length = length};
	return &t->lengths[t->n_lengths++];
}

enum moe_err moe_added_index(struct moe_tokenizer *t, struct moe_diag *d)
{
	size_t cap = 0;

	MOE_TRY(moe_vocab_reserve(&t->added_texts, t->n_added, d));
	for (size_t i = 0; i < t->n_added; i++) {
		const struct added *a = &t->added[i];
		struct added_length *l = length_entry(t, &cap, a->n, d);
		if (!l)
			return MOE_ENOMEM;
		l->first[(unsigned char)*a->text] = t->first[(unsigned char)*a->text] = true;
		if (!moe_vocab_add(&t->added_texts, a->text, a->n, (int32_t)i) && t->added[moe_vocab_find(&t->added_texts, a->text, a->n)].id != a->id)
			return moe_fail(d, MOE_EINPUT, "tokenizer.json: the added token \"%.*s\" has two ids", (int)moe_min(a->n, 60), a->text);
	}
	if (t->n_lengths)
		qsort(t->lengths, t->n_lengths, sizeof *t->lengths, by_falling_length);
	return MOE_OK;
}

/* The longest added token that begins at p; NULL: none. */
static const struct added *added_at(const struct moe_tokenizer *t, const char *p, size_t left)
{
	unsigned char c = (unsigned char)*p;

	if (!t->first[c])
		return NULL;
	for (const struct added_length *l = t->lengths; l < t->lengths + t->n_lengths; l++) {
		int32_t i = l->length <= left && l->first[c] ? moe_vocab_find(&t->added_texts, p, l->length) : NONE;
		if (i != NONE)
			return &t->added[i];
	}
	return NULL;
}

static enum moe_err encode_rest(struct moe_tokenizer *t, const char *text, size_t n, struct moe_ids *ids, struct moe_diag *d)
{
	utf8proc_uint8_t *normal;
	utf8proc_ssize_t m;
	enum moe_err err;

	if (!t->nfc || !n)
		return moe_pieces_encode(t, text, n, ids, d);
	m = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &normal, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
	if (m < 0)
		return moe_fail(d, MOE_ENOMEM, "cannot normalise the text: %s", utf8proc_errmsg(m));
	err = moe_pieces_encode(t, (const char *)normal, (size_t)m, ids, d);
	free(normal);
	return err;
}

enum moe_err moe_tokenizer_encode(struct moe_tokenizer *t, const char *text, size_t n, bool add_special, struct moe_ids *ids, struct moe_diag *d)
{
	size_t done = 0, at = 0, good = moe_utf8_prefix(text, n);

	(void)add_special;      /* no post-processor of the supported kinds adds tokens */
	if (good < n)
		return moe_fail_at(d, MOE_EINPUT, good, "the text is not UTF-8");
	while (at < n) {
		const struct added *a = added_at(t, text + at, n - at);
		if (!a) {
			at++;
			continue;
		}
		MOE_TRY(encode_rest(t, text + done, at - done, ids, d));
		MOE_TRY(moe_ids_add(ids, a->id, d));
		done = at += a->n;
	}
	return encode_rest(t, text + done, n - done, ids, d);
}

/* Raw bytes of a token: through the byte alphabet where every character belongs to it. */
static size_t token_bytes(const struct moe_tokenizer *t, const struct token *k, char *to)
{
	size_t n = 0, step;
	bool good;

	if (!t->decode_bytes) {
		memcpy(to, k->text, k->n);
		return k->n;
	}
	for (size_t i = 0; i < k->n; i += step) {
		int byte;
		step = moe_utf8_step(k->text + i, k->n - i, &good);     /* JSON's strings are */
		byte = moe_rune_to_byte(moe_utf8_get(k->text + i, step));
		if (byte < 0) {
			memcpy(to, k->text, k->n);
			return k->n;
		}
		to[n++] = (char)byte;
	}
	return n;
}

/* Appends bytes with every maximal broken part of UTF-8 as one U+FFFD (Unicode 15, section 3.9, best practice), as Rust's from_utf8_lossy. */
static enum moe_err append_lossy(char **text, size_t *n, size_t *cap, const char *from, size_t nfrom, struct moe_diag *d)
{
	size_t step;
	bool good;

	MOE_TRY(moe_grow(text, cap, *n + 3 * nfrom + 1, 1, d));
	for (size_t i = 0; i < nfrom; i += step) {
		step = moe_utf8_step(from + i, nfrom - i, &good);
		memcpy(*text + *n, good ? from + i : "\xef\xbf\xbd", good ? step : 3);
		*n += good ? step : 3;
	}
	(*text)[*n] = 0;
	return MOE_OK;
}

enum moe_err moe_tokenizer_decode(const struct moe_tokenizer *t, const int32_t *id, size_t n_ids, bool skip_special, char **text, size_t *n,
				  size_t *cap, struct moe_diag *d)
{
	size_t total = 0, at = 0;
	char *raw;
	enum moe_err err;

	if (!t->decoder)
		return moe_fail(d, MOE_EINPUT, "tokenizer.json has no decoder: how its tokens make a text is not said");
	for (size_t i = 0; i < n_ids; i++)
		if (id[i] >= 0 && (size_t)id[i] < t->n_tokens)
			total += t->token[id[i]].n;
	raw = malloc(total + 1);
	if (!raw)
		return moe_fail(d, MOE_ENOMEM, "out of memory for a text of %zu bytes", total);
	for (size_t i = 0; i < n_ids; i++) {
		const struct token *k = id[i] >= 0 && (size_t)id[i] < t->n_tokens ? &t->token[id[i]] : NULL;
		if (k && k->text && !(skip_special && k->special))
			at += token_bytes(t, k, raw + at);
	}
	err = append_lossy(text, n, cap, raw, at, d);
	free(raw);
	return err;
}
