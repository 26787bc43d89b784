/* From the text of a prompt to its ids: pictures stand as `<image>`, whatever the model calls its placeholder. */
#ifndef MOE_STAGE_PROMPT_TEXT_H
#define MOE_STAGE_PROMPT_TEXT_H

#include "model/spec.h"
#include "text/tokenizer.h"

/* Replaces ids by those of the prompt `text` (n bytes) and checks it (moe_prompt_check). */
enum moe_err moe_prompt_encode(struct moe_tokenizer *t, const struct moe_spec *s, const char *text, size_t n, struct moe_ids *ids, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
