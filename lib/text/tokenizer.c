#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "text/text_priv.h"

static void free_steps(struct moe_tokenizer *t)
{
	for (size_t i = 0; i < MAX_STEPS; i++) {
		moe_regex_free(&t->normal_step[i].regex);
		moe_regex_free(&t->piece_step[i].regex);
		free(t->normal_text[i % 2].s);
		free(t->pieces[i % 2].own.s);
		free(t->pieces[i % 2].span);
		t->normal_text[i % 2].s = t->pieces[i % 2].own.s = NULL;
		t->pieces[i % 2].span = NULL;
	}
	moe_regex_free(&t->word);
}

void moe_tokenizer_free(struct moe_tokenizer *t)
{
	if (!t)
		return;
	free_steps(t);
	free(t->vocab.slot);
	free(t->merges.slot);
	free(t->token);
	free(t->added);
	free(t->added_texts.slot);
	free(t->before.id);
	free(t->after.id);
	free(t->pairs);
	free(t->words);
	free(t->mapped.s);
	free(t->matches);
	free(t->work.symbol);
	free(t->work.heap);
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
	if (ids->n == ids->cap)
		MOE_TRY(moe_grow(&ids->id, &ids->cap, ids->n + 1, sizeof *ids->id, d));
	ids->id[ids->n++] = id;
	return MOE_OK;
}

static enum moe_err add_all(struct moe_ids *ids, const struct moe_ids *more, struct moe_diag *d)
{
	for (size_t i = 0; i < more->n; i++)
		MOE_TRY(moe_ids_add(ids, more->id[i], d));
	return MOE_OK;
}

/* Text between added tokens of one of the two sets. `first`: the whole text begins here. */
typedef enum moe_err encode_between(struct moe_tokenizer *t, const char *text, size_t n, bool first, struct moe_ids *ids, struct moe_diag *d);

static enum moe_err encode_around(struct moe_tokenizer *t, const struct added_set *set, encode_between *between, const char *text, size_t n, bool first,
				  struct moe_ids *ids, struct moe_diag *d)
{
	struct added_scan s = {.set = set, .text = text, .n = n};
	bool found;

	for (;;) {
		MOE_TRY(moe_added_next(t, &s, &found, d));
		if (!found)
			break;
		if (s.gap < s.from)
			MOE_TRY(between(t, text + s.gap, s.from - s.gap, first && !s.gap, ids, d));
		MOE_TRY(moe_ids_add(ids, s.added->id, d));
	}
	return s.done < n ? between(t, text + s.done, n - s.done, first && !s.done, ids, d) : MOE_OK;
}

static enum moe_err encode_normal(struct moe_tokenizer *t, const char *text, size_t n, bool first, struct moe_ids *ids, struct moe_diag *d)
{
	struct string s;

	MOE_TRY(moe_normalize(t, text, n, &s, d));
	return encode_around(t, &t->normal, moe_pieces_encode, s.s, s.n, first, ids, d);
}

enum moe_err moe_tokenizer_encode(struct moe_tokenizer *t, const char *text, size_t n, bool add_special, struct moe_ids *ids, struct moe_diag *d)
{
	size_t good = moe_utf8_prefix(text, n);

	if (good < n)
		return moe_fail_at(d, MOE_EINPUT, good, "the text is not UTF-8");
	if (add_special)
		MOE_TRY(add_all(ids, &t->before, d));
	MOE_TRY(encode_around(t, &t->raw, encode_normal, text, n, true, ids, d));
	return add_special ? add_all(ids, &t->after, d) : MOE_OK;
}
