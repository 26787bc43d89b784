/* Prompts and answers of samples as token ids. */
#ifndef MOE_DATA_WORDS_H
#define MOE_DATA_WORDS_H

#include <stdbool.h>

#include "text/tokenizer.h"

/* Appends the ids of an answer; `spell`: character by character, even where the vocabulary has longer tokens. MOE_EINPUT when it needs a special token (such as
 * the one for what is unknown), which no answer may hold. One thread per tokenizer. */
enum moe_err moe_words_answer(struct moe_tokenizer *t, const char *text, bool spell, struct moe_ids *ids, struct moe_diag *d) MOE_CHECK_RESULT;

/* Appends the ids of a prompt, which stands behind the picture; a leading "<image>" is passed over. MOE_EINPUT when a picture (id `placeholder`, -1: none) is
 * still in it, or when it is empty. */
enum moe_err moe_words_prompt(struct moe_tokenizer *t, const char *text, int32_t placeholder, struct moe_ids *ids, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
