/* Prompts on the command line: plain, or in the family's chat format. */
#ifndef MOE_CMD_PROMPT_H
#define MOE_CMD_PROMPT_H

#include "common/cli.h"
#include "stage/prompt_text.h"

extern struct prompt_options {
	bool chat;
	const char *system, *messages;
} prompt_options;

#define OPT_PROMPT \
	{0, "chat", OPT_FLAG, &prompt_options.chat, 0, "the prompt is a turn of the user in the family's chat format", 0, 0, 0}, \
	{0, "system", OPT_TEXT, &prompt_options.system, "TEXT", "with --chat, which it implies: a turn of the system before it", 0, 0, "the format's own"}, \
	{0, "messages", OPT_TEXT, &prompt_options.messages, "FILE", "the prompt is a conversation: a JSON list of {\"role\", \"content\"} (-: standard input)", 0, 0, 0}

/* Checks the options against the family; dies on a mistake. */
void prompt_check(const struct moe_spec *s);

/* The prompt where none is given, "" for none. Dies where the format asks for a question. */
const char *prompt_default(const struct moe_spec *s);

/* The ids of a prompt; with --messages `text` is not looked at. */
void prompt_encode(struct moe_tokenizer *t, const struct moe_spec *s, const char *text, size_t n, struct moe_ids *ids);

#endif
