/* From the text of a prompt to its ids. Pictures stand as `<image>` or as the model's own placeholder. */
#ifndef MOE_STAGE_PROMPT_TEXT_H
#define MOE_STAGE_PROMPT_TEXT_H

#include "model/spec.h"
#include "text/tokenizer.h"

/* Zeroed: the text is the prompt. */
struct moe_prompt_form {
	bool chat;                      /* the text is a turn of the user in the family's chat format */
	const char *system;             /* with chat: a turn of the system before it, or NULL */
	size_t frames;                  /* pictures that `<video>` stands for, with a line break behind them; 0: `<video>` is text */
};

/* Replaces ids by those of the prompt `text` (n bytes) and checks it (moe_prompt_check). */
enum moe_err moe_prompt_encode(struct moe_tokenizer *t, const struct moe_spec *s, const struct moe_prompt_form *form, const char *text, size_t n,
			       struct moe_ids *ids, struct moe_diag *d) MOE_CHECK_RESULT;

/* The same of a conversation, as moe_chat_messages reads it. */
enum moe_err moe_prompt_encode_messages(struct moe_tokenizer *t, const struct moe_spec *s, const char *json, size_t n, struct moe_ids *ids,
					struct moe_diag *d) MOE_CHECK_RESULT;

/* The ids of a part of a prompt, which is not checked; `special`: with what the tokenizer puts around a text. */
enum moe_err moe_text_encode(struct moe_tokenizer *t, const struct moe_spec *s, const char *text, size_t n, bool special, struct moe_ids *ids,
			     struct moe_diag *d) MOE_CHECK_RESULT;

/* The text with `<image>` as the family's chat format writes pictures, and with `<video>` as so many of them; to be freed. NULL without memory. */
char *moe_prompt_marks(const struct moe_spec *s, const struct moe_prompt_form *form, const char *text, size_t n, size_t *n_out);

#endif
