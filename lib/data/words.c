#include "data/words.h"

#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

static const char image_mark[] = "<image>";

static enum moe_err spell_out(struct moe_tokenizer *t, const char *text, struct moe_ids *ids, struct moe_diag *d)
{
	for (size_t left = strlen(text), n; left; text += n, left -= n) {
		bool good;
		int32_t id;
		n = moe_utf8_step(text, left, &good);
		id = moe_tokenizer_find(t, text, n);
		if (id < 0) {           /* vocabularies that write characters otherwise */
			MOE_TRY(moe_tokenizer_encode(t, text, n, false, ids, d));
			continue;
		}
		MOE_TRY(moe_grow(&ids->id, &ids->cap, ids->n + 1, sizeof *ids->id, d));
		ids->id[ids->n++] = id;
	}
	return MOE_OK;
}

enum moe_err moe_words_answer(struct moe_tokenizer *t, const char *text, bool spell, struct moe_ids *ids, struct moe_diag *d)
{
	size_t from = ids->n;

	MOE_TRY(spell ? spell_out(t, text, ids, d) : moe_tokenizer_encode(t, text, strlen(text), false, ids, d));
	for (size_t i = from; i < ids->n; i++)
		if (moe_tokenizer_special(t, ids->id[i]))
			return moe_fail(d, MOE_EINPUT, "the answer \"%.40s\" has what the vocabulary lacks, or a special token", text);
	return MOE_OK;
}

enum moe_err moe_words_prompt(struct moe_tokenizer *t, const char *text, int32_t placeholder, struct moe_ids *ids, struct moe_diag *d)
{
	size_t from = ids->n;

	if (!strncmp(text, image_mark, sizeof image_mark - 1))
		text += sizeof image_mark - 1;
	MOE_TRY(moe_tokenizer_encode(t, text, strlen(text), false, ids, d));
	if (ids->n == from)
		return moe_fail(d, MOE_EINPUT, "a question without a prompt, where the model has none of its own");
	for (size_t i = from; i < ids->n; i++)
		if (placeholder >= 0 && ids->id[i] == placeholder)
			return moe_fail(d, MOE_EINPUT, "the prompt \"%.40s\" has a picture in it", text);
	return MOE_OK;
}
