#include "common/prompt.h"

#include <stdlib.h>

#include "common/pictures.h"
#include "io/source.h"

enum { MESSAGES_LIMIT = 64 << 20 };

struct prompt_options prompt_options;

void prompt_check(const struct moe_spec *s)
{
	struct prompt_options *o = &prompt_options;

	o->chat |= o->system != NULL;
	if (o->messages && o->chat)
		cli_fail("--messages is a whole conversation: --chat and --system do not go with it");
	if ((o->messages || o->chat) && !*s->chat.turn && !*s->chat.user)
		cli_fail("the family %s has no chat format", s->family);
	if (pictures_options.frames && s->merge.placeholder < 0)
		cli_fail("--frames: the family %s takes no pictures", s->family);
}

const char *prompt_default(const struct moe_spec *s)
{
	if (prompt_options.chat && moe_chat_is_about_picture(&s->chat))
		cli_fail("--chat asks a question about the picture, which must be given");
	return s->text.prompt;
}

void prompt_encode(struct moe_tokenizer *t, const struct moe_spec *s, const char *text, size_t n, struct moe_ids *ids)
{
	const struct prompt_options *o = &prompt_options;
	struct moe_prompt_form form = {.chat = o->chat, .system = o->system, .frames = (size_t)pictures_options.frames};
	struct moe_diag d = {0};
	char *json;

	if (!o->messages) {
		cli_check(moe_prompt_encode(t, s, &form, text, n, ids, &d), &d);
		return;
	}
	cli_check(moe_read_file(o->messages, MESSAGES_LIMIT, &json, &n, &d), &d);
	if (moe_prompt_encode_messages(t, s, json, n, ids, &d)) {
		moe_diag_path(&d, o->messages);
		cli_die(&d);
	}
	free(json);
}
