#include "stage/prompt_text.h"

#include <string.h>

#include "base/mem.h"
#include "model/merge.h"

static const char mark[] = "<image>";

static enum moe_err add_id(struct moe_ids *ids, int32_t id, struct moe_diag *d)
{
	MOE_TRY(moe_grow(&ids->id, &ids->cap, ids->n + 1, sizeof *ids->id, d));
	ids->id[ids->n++] = id;
	return MOE_OK;
}

/* The pieces between the marks are tokenized one by one; models without pictures see the mark as text. */
enum moe_err moe_prompt_encode(struct moe_tokenizer *t, const struct moe_spec *s, const char *text, size_t n, struct moe_ids *ids, struct moe_diag *d)
{
	const char *p = text, *end = text + n, *hit;

	ids->n = 0;
	while (s->merge.placeholder >= 0 && (hit = memmem(p, (size_t)(end - p), mark, sizeof mark - 1))) {
		if (hit > p)
			MOE_TRY(moe_tokenizer_encode(t, p, (size_t)(hit - p), p == text, ids, d));
		MOE_TRY(add_id(ids, (int32_t)s->merge.placeholder, d));
		p = hit + sizeof mark - 1;
	}
	if (p < end)
		MOE_TRY(moe_tokenizer_encode(t, p, (size_t)(end - p), p == text, ids, d));
	return moe_prompt_check(s, ids->id, ids->n, NULL, d);
}
