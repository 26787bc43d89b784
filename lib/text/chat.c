#include "text/chat.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static bool has(const struct moe_texts *t, const char *text)
{
	for (size_t i = 0; i < t->n; i++)
		if (!strcmp(t->v[i], text))
			return true;
	return !t->n;
}

/* The turn of a role. */
static const char *turn_of(const struct moe_chat *c, const char *role)
{
	const char *own = !strcmp(role, "user") ? c->user : !strcmp(role, "assistant") ? c->assistant : !strcmp(role, "system") ? c->system : "";

	return *own ? own : c->turn;
}

bool moe_chat_is_about_picture(const struct moe_chat *c) { return strstr(turn_of(c, "user"), "{image}") != NULL; }

static bool is_capital(char c) { return c >= 'A' && c <= 'Z'; }
static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static void trim(const char **content, size_t *n)
{
	for (; *n && is_blank(**content); ++*content, --*n)
		;
	while (*n && is_blank((*content)[*n - 1]))
		--*n;
}

/* The content behind the mark of a picture that it begins with. */
static void pass_image(const struct moe_chat *c, const char **content, size_t *n)
{
	size_t mark = strlen(c->image);

	trim(content, n);
	if (mark && *n >= mark && !memcmp(*content, c->image, mark)) {
		*content += mark;
		*n -= mark;
		trim(content, n);
	}
}

static void write_text(FILE *f, const struct moe_chat *c, bool question, const char *content, size_t n)
{
	if (question && c->lower_first && n && is_capital(*content) && (n < 2 || !is_capital(content[1]))) {
		fputc(*content - 'A' + 'a', f);
		content++;
		n--;
	}
	fwrite(content, 1, n, f);
}

/* Writes the turn with its marks filled in. */
static void write_turn(FILE *f, const struct moe_chat *c, const char *role, const char *content, size_t n)
{
	const char *turn = turn_of(c, role);
	bool question = strstr(turn, "{image}") != NULL;

	if (question)
		pass_image(c, &content, &n);
	for (const char *p = turn; *p;) {
		if (!strncmp(p, "{role}", 6)) {
			fputs(role, f);
			p += 6;
		} else if (!strncmp(p, "{content}", 9)) {
			write_text(f, c, question, content, n);
			p += 9;
		} else if (!strncmp(p, "{image}", 7)) {
			fputs(c->image, f);
			p += 7;
		} else {
			fputc(*p++, f);
		}
	}
}

static enum moe_err write_messages(FILE *f, const struct moe_chat *c, const struct moe_message *m, size_t n, struct moe_diag *d)
{
	fputs(c->begin, f);
	if (*c->default_system && (!n || strcmp(m[0].role, "system")))
		write_turn(f, c, "system", c->default_system, strlen(c->default_system));
	for (size_t i = 0; i < n; i++) {
		if (!has(&c->roles, m[i].role) || !*turn_of(c, m[i].role))
			return moe_fail(d, MOE_EINPUT, "message %zu: the chat format has no role \"%.60s\"", i + 1, m[i].role);
		write_turn(f, c, m[i].role, m[i].content, m[i].n_content);
	}
	return MOE_OK;
}

enum moe_err moe_chat_render(const struct moe_chat *c, const struct moe_message *m, size_t n, bool reply, char **text, size_t *n_text, struct moe_diag *d)
{
	enum moe_err err;
	FILE *f;

	if (!*c->turn && !*c->user)
		return moe_fail(d, MOE_EUSAGE, "the family has no chat format");
	f = open_memstream(text, n_text);
	if (!f)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	err = write_messages(f, c, m, n, d);
	if (!err && reply)
		fputs(c->reply, f);
	if (fclose(f) && !err)
		err = moe_fail(d, MOE_ENOMEM, "out of memory");
	if (err)
		free(*text);
	return err;
}

/* A content: a text, or a list of parts. */
static void write_content(FILE *f, const struct moe_chat *c, json_t *content)
{
	size_t i;
	json_t *part;

	if (json_is_string(content))
		fwrite(json_string_value(content), 1, json_string_length(content), f);
	json_array_foreach(content, i, part) {
		const char *type = json_string_value(json_object_get(part, "type"));
		json_t *text = json_object_get(part, "text");
		if (type && !strcmp(type, "image"))
			fputs(c->image, f);
		else if (type && !strcmp(type, "video"))
			fputs(c->video, f);
		else if (json_is_string(text) && (!type || !strcmp(type, "text")))
			fwrite(json_string_value(text), 1, json_string_length(text), f);
	}
}

static enum moe_err read_message(struct moe_message *m, const struct moe_chat *c, json_t *from, size_t i, struct moe_diag *d)
{
	json_t *role = json_object_get(from, "role"), *content = json_object_get(from, "content");
	FILE *f;

	if (!json_is_string(role) || (!json_is_string(content) && !json_is_array(content)))
		return moe_fail(d, MOE_EINPUT, "message %zu: expected {\"role\": ..., \"content\": ...}", i + 1);
	if (json_object_get(from, "tool_calls"))
		return moe_fail(d, MOE_EINPUT, "message %zu: calls of tools are no part of a chat format", i + 1);
	m->role = moe_strdup(json_string_value(role));
	f = open_memstream(&m->content, &m->n_content);
	if (!m->role || !f)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	write_content(f, c, content);
	return fclose(f) ? moe_fail(d, MOE_ENOMEM, "out of memory") : MOE_OK;
}

enum moe_err moe_chat_messages(const struct moe_chat *c, const char *json, size_t n_json, struct moe_message **m, size_t *n, struct moe_diag *d)
{
	json_error_t e;
	json_t *list = json_loadb(json, n_json, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
	enum moe_err err = MOE_OK;

	*n = 0;
	*m = NULL;
	if (!list || !json_is_array(list)) {
		err = list ? moe_fail(d, MOE_EINPUT, "JSON: expected a list of messages")
			   : moe_fail_at(d, MOE_EINPUT, (uint64_t)(e.position < 0 ? 0 : e.position), "JSON: line %d: %s", e.line, e.text);
	} else if (!(*m = calloc(json_array_size(list) + 1, sizeof **m))) {
		err = moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	while (!err && *n < json_array_size(list)) {
		err = read_message(&(*m)[*n], c, json_array_get(list, *n), *n, d);
		++*n;
	}
	json_decref(list);
	if (err) {
		moe_messages_free(*m, *n);
		*m = NULL;
		*n = 0;
	}
	return err;
}

void moe_messages_free(struct moe_message *m, size_t n)
{
	for (size_t i = 0; m && i < n; i++) {
		free(m[i].role);
		free(m[i].content);
	}
	free(m);
}
