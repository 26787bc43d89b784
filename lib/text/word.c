/* Pieces become ids: cut into parts across which no merge can reach, and short parts are looked up among those that were seen before. Both are
 * exact: a merge joins two symbols, so where no merge has a left part that ends with one character and a right part that begins with the next,
 * nothing is ever joined across the two. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "text/text_priv.h"

static size_t pair_bit(unsigned a, unsigned b) { return (a * 0x9e3779b1u ^ b * 0x85ebca6bu) >> (32 - PAIR_BITS); }

static bool may_join(const struct moe_tokenizer *t, unsigned a, unsigned b)
{
	size_t i = pair_bit(a, b);

	return t->pairs[i / 64] >> i % 64 & 1;
}

static unsigned first_rune(const struct token *k)
{
	bool good;

	return moe_utf8_get(k->text, moe_utf8_step(k->text, k->n, &good));
}

static unsigned last_rune(const struct token *k)
{
	size_t at = k->n - 1;

	while (at && ((unsigned char)k->text[at] & 0xc0) == 0x80)
		at--;
	return moe_utf8_get(k->text + at, k->n - at);
}

/* The ids of each byte: of its character in the byte alphabet, and of the token <0xNN>. True when none is missing of those that pieces begin as. */
static bool find_bytes(struct moe_tokenizer *t)
{
	bool all = true;

	for (unsigned b = 0; b < 256; b++) {
		static const char digits[] = "0123456789ABCDEF";
		char code[6] = {'<', '0', 'x', digits[b >> 4], digits[b & 15], '>'}, text[4];
		t->byte_id[b] = moe_vocab_find(&t->vocab, text, moe_utf8_put(text, moe_byte_to_rune((unsigned char)b)));
		t->fallback_id[b] = moe_vocab_find(&t->vocab, code, sizeof code);
		all &= (t->byte_level ? t->byte_id : t->fallback_id)[b] != NONE;
	}
	return all;
}

/* Symbols that do not stand for their own text: a merge with one of them would be missed by a look at characters. */
static bool stands_for_other(const struct moe_tokenizer *t, int32_t id)
{
	unsigned value = 0;
	const struct token *k = &t->token[id];

	if (id == t->unknown)
		return true;
	if (t->byte_level || !t->byte_fallback || k->n != 6)
		return false;
	for (value = 0; value < 256 && t->fallback_id[value] != id; value++)
		;
	return value < 256;
}

enum moe_err moe_word_prepare(struct moe_tokenizer *t, struct moe_diag *d)
{
	bool all_bytes = find_bytes(t);

	t->pairs = calloc((size_t)1 << (PAIR_BITS - 6), sizeof *t->pairs);
	if (!t->pairs)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	t->may_cut = t->byte_level || t->byte_fallback ? all_bytes : !t->fuse_unknown;
	for (size_t i = 0; i < t->merges.n_slots; i++) {
		const struct merge *m = &t->merges.slot[i];
		size_t bit;
		if (m->rank == NONE)
			continue;
		bit = pair_bit(last_rune(&t->token[m->left]), first_rune(&t->token[m->right]));
		t->pairs[bit / 64] |= (uint64_t)1 << bit % 64;
		t->may_cut &= !stands_for_other(t, m->left) && !stands_for_other(t, m->right);
	}
	return MOE_OK;
}

/* ---- words seen before ---- */

static struct word *word_slot(struct moe_tokenizer *t, const char *text, size_t n)
{
	if (!t->words)
		t->words = calloc(N_WORDS, sizeof *t->words);
	return t->words ? &t->words[moe_text_hash(text, n) % N_WORDS] : NULL;
}

static enum moe_err add_ids(struct moe_ids *ids, const int32_t *id, size_t n, struct moe_diag *d)
{
	MOE_TRY(moe_grow(&ids->id, &ids->cap, ids->n + n, sizeof *ids->id, d));
	memcpy(ids->id + ids->n, id, n * sizeof *id);
	ids->n += n;
	return MOE_OK;
}

static void learn(struct word *w, const char *text, size_t n, bool part, const int32_t *id, size_t n_ids)
{
	if (!w || n_ids > WORD_IDS)
		return;
	w->n_text = (uint8_t)n;
	w->n_ids = (uint8_t)n_ids;
	w->part = part;
	memcpy(w->text, text, n);
	memcpy(w->id, id, n_ids * sizeof *id);
}

/* The id of a piece that is a token as a whole, where that goes before all merges. */
static enum moe_err find_whole(struct moe_tokenizer *t, const char *text, size_t n, int32_t *id, struct moe_diag *d)
{
	*id = NONE;
	if (!t->ignore_merges)
		return MOE_OK;
	if (t->byte_level) {
		t->mapped.n = 0;
		MOE_TRY(moe_bytes_to_alphabet(text, n, &t->mapped, d));
		text = t->mapped.s;
		n = t->mapped.n;
	}
	*id = moe_vocab_find(&t->vocab, text, n);
	return MOE_OK;
}

/* A whole piece, or a part of one, which is no longer looked for as a whole. */
static enum moe_err encode(struct moe_tokenizer *t, const char *text, size_t n, bool part, struct moe_ids *ids, struct moe_diag *d)
{
	struct word *w = n <= WORD_TEXT ? word_slot(t, text, n) : NULL;
	size_t before = ids->n;
	int32_t whole = NONE;

	part &= t->ignore_merges;       /* else both are the same */
	if (w && w->n_text == n && w->part == part && !memcmp(w->text, text, n))
		return add_ids(ids, w->id, w->n_ids, d);
	if (!part)
		MOE_TRY(find_whole(t, text, n, &whole, d));
	if (whole != NONE)
		MOE_TRY(moe_ids_add(ids, whole, d));
	else
		MOE_TRY(moe_bpe_encode(t, text, n, ids, d));
	learn(w, text, n, part, ids->id + before, ids->n - before);
	return MOE_OK;
}

/* A long piece, part by part. */
static enum moe_err encode_parts(struct moe_tokenizer *t, const char *text, size_t n, struct moe_ids *ids, struct moe_diag *d)
{
	size_t done = 0, step = 1;
	unsigned last = 0;
	bool good;

	for (size_t i = 0; i < n; i += step) {
		unsigned rune;
		if (!t->byte_level)
			step = moe_utf8_step(text + i, n - i, &good);
		rune = t->byte_level ? moe_byte_to_rune((unsigned char)text[i]) : moe_utf8_get(text + i, step);
		if (i && !may_join(t, last, rune)) {
			MOE_TRY(encode(t, text + done, i - done, true, ids, d));
			done = i;
		}
		last = rune;
	}
	return encode(t, text + done, n - done, true, ids, d);
}

enum moe_err moe_word_encode(struct moe_tokenizer *t, const char *text, size_t n, struct moe_ids *ids, struct moe_diag *d)
{
	int32_t whole;

	if (n <= WORD_TEXT || !t->may_cut)
		return encode(t, text, n, false, ids, d);
	MOE_TRY(find_whole(t, text, n, &whole, d));
	return whole != NONE ? moe_ids_add(ids, whole, d) : encode_parts(t, text, n, ids, d);
}
