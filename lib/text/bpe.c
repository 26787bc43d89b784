/* From a piece of text to symbols, and what surrounds the merging: whole words, unknown characters, byte fallback, the cache. */
#include "text/text_priv.h"

#include <stdlib.h>
#include <string.h>

enum { JOINT_BITS = 21, LONG_PIECE = 64 };

enum moe_err moe_ids_put(struct moe_ids *ids, const int32_t *id, size_t n, struct moe_diag *d)
{
	MOE_TRY(moe_grow(&ids->id, &ids->cap, ids->n + n, sizeof *id, d));
	if (n)
		memcpy(ids->id + ids->n, id, n * sizeof *id);
	ids->n += n;
	return MOE_OK;
}

/* Bytes of one character through the fallback; false when one of them has no token. */
static bool has_bytes(const struct moe_bpe *b, const char *s, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (b->byte_id[(unsigned char)s[i]] < 0)
			return false;
	return b->byte_fallback;
}

static enum moe_err push_bytes(struct moe_bpe *b, const char *s, size_t n, struct moe_diag *d)
{
	for (size_t i = 0; i < n; i++)
		if (b->byte_id[(unsigned char)s[i]] >= 0)
			MOE_TRY(moe_symbols_push(&b->symbols, b->byte_id[(unsigned char)s[i]], d));
	return MOE_OK;
}

/* One symbol for each character. A run of unknown ones is one symbol with fuse_unk; it is pushed before the next known one,
 * and bytes of the fallback do not end it (all as in the reference). */
static enum moe_err push_chars(struct moe_bpe *b, const struct moe_vocab *v, const char *s, size_t n, struct moe_diag *d)
{
	bool unknown = false;
	unsigned step;

	for (size_t i = 0; i < n; i += step) {
		int32_t id;
		step = moe_utf8_step(s + i);
		id = moe_vocab_find_model(v, s + i, step);
		if (id < 0 && has_bytes(b, s + i, step)) {
			MOE_TRY(push_bytes(b, s + i, step, d));
			continue;
		}
		if (unknown && (id >= 0 || !b->fuse_unk)) {
			MOE_TRY(moe_symbols_push(&b->symbols, b->unk, d));
			unknown = false;
		}
		if (id >= 0)
			MOE_TRY(moe_symbols_push(&b->symbols, id, d));
		else
			unknown = b->unk >= 0;
	}
	return unknown ? moe_symbols_push(&b->symbols, b->unk, d) : MOE_OK;
}

/* Id of the whole piece as an entry of the vocabulary, -1 if it is none. */
static enum moe_err whole(struct moe_bpe *b, const struct moe_vocab *v, const char *s, size_t n, int32_t *id, struct moe_diag *d)
{
	*id = -1;
	if (n > MOE_MAX_TOKEN_NBYTES)
		return MOE_OK;
	if (b->byte_level) {
		MOE_TRY(moe_grow(&b->scratch.p, &b->scratch.cap, 2 * n, 1, d));
		n = moe_alphabet_write(b->scratch.p, s, n);
		s = b->scratch.p;
	}
	*id = moe_vocab_find_model(v, s, n);
	return MOE_OK;
}

static enum moe_err encode(struct moe_bpe *b, const struct moe_vocab *v, const char *s, size_t n, struct moe_ids *ids, struct moe_diag *d)
{
	uint64_t hash = moe_hash(s, n, b->secret);
	size_t from = ids->n;
	enum moe_err err;

	if (moe_cache_get(b, s, n, hash, ids, &err, d))
		return err;
	b->symbols.n = 0;
	MOE_TRY(b->byte_level ? push_bytes(b, s, n, d) : push_chars(b, v, s, n, d));
	MOE_TRY(moe_symbols_merge(&b->symbols, b, ids, d));
	moe_cache_put(b, s, n, hash, ids->id + from, ids->n - from);
	return MOE_OK;
}

static uint32_t joint_bit(const struct moe_bpe *b, uint32_t left, uint32_t right)
{
	return (uint32_t)(moe_hash_pair((uint64_t)left << 32 | right, b->secret) & ((1u << JOINT_BITS) - 1));
}

static const char *last_char(const char *s, size_t n)
{
	const char *p = s + n - 1;

	while (((unsigned char)*p & 0xc0) == 0x80)
		p--;
	return p;
}

/* Marks, for each merge, the character that ends its left part with the one that begins its right part. */
static enum moe_err make_joint(struct moe_bpe *b, const struct moe_vocab *v, struct moe_diag *d)
{
	if (!(b->joint = calloc((1u << JOINT_BITS) / 32, sizeof *b->joint)))
		return moe_fail(d, MOE_ENOMEM, "out of memory: pairs of characters");
	for (size_t i = 0; i < b->n_slots; i++) {
		uint64_t pair = b->merge[i].pair - 1;
		size_t n_left, n_right;
		if (!b->merge[i].pair)
			continue;
		const char *left = moe_vocab_get(v, (int32_t)(pair >> 32), &n_left), *right = moe_vocab_get(v, (int32_t)pair, &n_right);
		uint32_t bit = joint_bit(b, moe_utf8_get(last_char(left, n_left)), moe_utf8_get(right));
		b->joint[bit / 32] |= 1u << bit % 32;
	}
	return MOE_OK;
}

/* True when no merge can ever join x and the character behind it, which are both known: the last merge across that border would
 * have x at the end of its left part. Unknown characters are no such border: their symbols are not their text. */
static bool border(const struct moe_bpe *b, const struct moe_vocab *v, const char *x, const char *y)
{
	uint32_t bit = joint_bit(b, moe_utf8_get(x), moe_utf8_get(y));

	return !(b->joint[bit / 32] & 1u << bit % 32) && moe_vocab_find_model(v, x, moe_utf8_step(x)) >= 0 &&
	       moe_vocab_find_model(v, y, moe_utf8_step(y)) >= 0;
}

/* Models without a pre-tokenizer give whole documents as one piece; cut at its borders it is words again, for the cache. */
static enum moe_err encode_long(struct moe_bpe *b, const struct moe_vocab *v, const char *s, size_t n, struct moe_ids *ids, struct moe_diag *d)
{
	size_t from = 0;

	if (!b->joint)
		MOE_TRY(make_joint(b, v, d));
	for (size_t i = 0, next; (next = i + moe_utf8_step(s + i)) < n; i = next) {
		if (!border(b, v, s + i, s + next))
			continue;
		MOE_TRY(encode(b, v, s + from, next - from, ids, d));
		from = next;
	}
	return encode(b, v, s + from, n - from, ids, d);
}

enum moe_err moe_bpe_encode(struct moe_bpe *b, const struct moe_vocab *v, const char *s, size_t n, struct moe_ids *ids, struct moe_diag *d)
{
	int32_t id;

	if (!n)
		return MOE_OK;
	if (b->ignore_merges) {
		MOE_TRY(whole(b, v, s, n, &id, d));
		if (id >= 0)
			return moe_ids_put(ids, &id, 1, d);
	}
	return b->byte_level || n < LONG_PIECE ? encode(b, v, s, n, ids, d) : encode_long(b, v, s, n, ids, d);
}

void moe_bpe_free(struct moe_bpe *b)
{
	free(b->merge);
	free(b->cache);
	free(b->joint);
	free(b->symbols.at);
	free(b->symbols.heap);
	moe_buf_free(&b->scratch);
}
