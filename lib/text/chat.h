/* Chat formats: what a family puts around the turns of a conversation. They are data, filled in here; no template language is executed. */
#ifndef MOE_TEXT_CHAT_H
#define MOE_TEXT_CHAT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum { MOE_CHAT_TEXT = 512, MOE_CHAT_TEXTS = 8, MOE_CHAT_WORD = 64 };

/* A few short texts. */
struct moe_texts {
	char v[MOE_CHAT_TEXTS][MOE_CHAT_WORD];
	size_t n;
};

/* In the turns, {role} and {content} stand for those of the message, and {image} for a picture: then a turn of the user is a question about one picture, whose
 * mark need not be in the content, but may begin it; white space around the content is left out. */
struct moe_chat {
	char turn[MOE_CHAT_TEXT];       /* a turn of any role; "": this model has no chat format */
	char user[MOE_CHAT_TEXT], assistant[MOE_CHAT_TEXT], system[MOE_CHAT_TEXT];      /* turns of these roles, where they differ; "": turn */
	char begin[MOE_CHAT_TEXT];      /* before the first turn */
	char reply[MOE_CHAT_TEXT];      /* what the model goes on from */
	char default_system[MOE_CHAT_TEXT];     /* a first turn of the role system, when there is none; "": none */
	char image[MOE_CHAT_TEXT], video[MOE_CHAT_TEXT];        /* what stands for a picture in a content */
	bool lower_first;               /* the model knows no capital at the beginning of a question: with {image}, it is made small, but for one in a row of capitals */
	struct moe_texts roles;         /* the roles that there are; none: any */
	struct moe_texts stop;          /* texts that end an answer */
};

/* A message; n_content bytes. */
struct moe_message {
	char *role, *content;           /* owned by who made them */
	size_t n_content;
};

/* Is each turn of the user a question about one picture ({image})? */
bool moe_chat_is_about_picture(const struct moe_chat *c);

/* The text of a conversation of n messages, with the beginning of an answer if `reply`; *text (n_text bytes, NUL behind) is to be freed. MOE_EINPUT for a role
 * that the format does not have, and for a format without turns. */
enum moe_err moe_chat_render(const struct moe_chat *c, const struct moe_message *m, size_t n, bool reply, char **text, size_t *n_text,
			     struct moe_diag *d) MOE_CHECK_RESULT;

/* Reads a JSON list of messages: {"role": ..., "content": text or a list of {"type": "text", "text": ...}, {"type": "image"}, {"type": "video"}; other types
 * are left out}. Pictures become the texts that the format has for them. Calls of tools are refused: they are no part of a format. */
enum moe_err moe_chat_messages(const struct moe_chat *c, const char *json, size_t n_json, struct moe_message **m, size_t *n, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_messages_free(struct moe_message *m, size_t n);

#endif
