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
		pcre2_match_data_free(t->split[i].match);
		pcre2_code_free(t->split[i].code);
	}
	free(t->vocab.slot);
	free(t->merges.slot);
	free(t->token);
	free(t->added);
	moe_arena_free(&t->memory);
	free(t);
}

size_t moe_tokenizer_size(const struct moe_tokenizer *t) { return t->n_tokens; }

int32_t moe_tokenizer_find(const struct moe_tokenizer *t, const char *token, size_t n)
{
	for (size_t i = 0; i < t->n_added; i++)
		if (t->added[i].n == n && !memcmp(t->added[i].text, token, n))
			return t->added[i].id;
	return moe_vocab_find(&t->vocab, token, n);
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

/* The longest added token that begins at p; NULL: none. */
static const struct added *added_at(const struct moe_tokenizer *t, const char *p, size_t left)
{
	const struct added *best = NULL;

	for (size_t i = 0; i < t->n_added; i++) {
		const struct added *a = &t->added[i];
		if (a->n <= left && *a->text == *p && (!best || a->n > best->n) && !memcmp(a->text, p, a->n))
			best = a;
	}
	return best;
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
