#include "stage/prompt_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/merge.h"

static const char image_mark[] = "<image>", video_mark[] = "<video>";

static enum moe_err add_id(struct moe_ids *ids, int32_t id, struct moe_diag *d)
{
	MOE_TRY(moe_grow(&ids->id, &ids->cap, ids->n + 1, sizeof *ids->id, d));
	ids->id[ids->n++] = id;
	return MOE_OK;
}

static bool begins(const char *p, const char *end, const char *mark)
{
	size_t n = strlen(mark);

	return (size_t)(end - p) >= n && !memcmp(p, mark, n);
}

char *moe_prompt_marks(const struct moe_spec *s, const struct moe_prompt_form *form, const char *text, size_t n, size_t *n_out)
{
	const char *image = form->chat && *s->chat.image ? s->chat.image : image_mark, *end = text + n;
	char *out = NULL;
	FILE *f = open_memstream(&out, n_out);

	if (!f)
		return NULL;
	for (const char *p = text; p < end;) {
		if (form->frames && begins(p, end, video_mark)) {
			for (size_t i = 0; i < form->frames; i++)
				fputs(image, f);
			fputc('\n', f);
			p += sizeof video_mark - 1;
		} else if (begins(p, end, image_mark)) {
			fputs(image, f);
			p += sizeof image_mark - 1;
		} else {
			fputc(*p++, f);
		}
	}
	if (fclose(f)) {
		free(out);
		return NULL;
	}
	return out;
}

static size_t count_text(const char *text, size_t n, const char *word, size_t n_word)
{
	size_t found = 0;

	for (const char *p = text, *hit; n_word && (hit = memmem(p, n - (size_t)(p - text), word, n_word)); p = hit + n_word)
		found++;
	return found;
}

/* The pieces between the marks are tokenized one by one. */
static enum moe_err encode_pieces(struct moe_tokenizer *t, const struct moe_spec *s, const char *text, size_t n, bool special, struct moe_ids *ids, struct moe_diag *d)
{
	const char *p = text, *end = text + n, *hit;

	while ((hit = memmem(p, (size_t)(end - p), image_mark, sizeof image_mark - 1))) {
		if (hit > p)
			MOE_TRY(moe_tokenizer_encode(t, p, (size_t)(hit - p), special && p == text, ids, d));
		MOE_TRY(add_id(ids, (int32_t)s->merge.placeholder, d));
		p = hit + sizeof image_mark - 1;
	}
	return p < end ? moe_tokenizer_encode(t, p, (size_t)(end - p), special && p == text, ids, d) : MOE_OK;
}

/* The text with the model's own placeholder for every mark; to be freed. NULL without memory. */
static char *own_marks(const char *text, size_t n, const char *own, size_t n_own, size_t *n_out)
{
	const char *end = text + n, *hit;
	char *out = NULL;
	FILE *f = open_memstream(&out, n_out);

	if (!f)
		return NULL;
	for (; (hit = memmem(text, (size_t)(end - text), image_mark, sizeof image_mark - 1)); text = hit + sizeof image_mark - 1) {
		fwrite(text, 1, (size_t)(hit - text), f);
		fwrite(own, 1, n_own, f);
	}
	fwrite(text, 1, (size_t)(end - text), f);
	if (fclose(f)) {
		free(out);
		return NULL;
	}
	return out;
}

enum moe_err moe_text_encode(struct moe_tokenizer *t, const struct moe_spec *s, const char *text, size_t n, bool special, struct moe_ids *ids, struct moe_diag *d)
{
	size_t n_own = 0, n_out, from = ids->n, pictures = 0;
	const char *own = s->merge.placeholder >= 0 ? moe_tokenizer_token(t, (int32_t)s->merge.placeholder, &n_own) : NULL;
	enum moe_err err;
	char *out;

	if (!own)               /* models without pictures see the mark as text */
		return moe_tokenizer_encode(t, text, n, special, ids, d);
	out = own_marks(text, n, own, n_own, &n_out);
	if (!out)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	err = moe_tokenizer_encode(t, out, n_out, special, ids, d);
	for (size_t i = from; i < ids->n; i++)
		pictures += ids->id[i] == s->merge.placeholder;
	if (!err && pictures != count_text(out, n_out, own, n_own)) {   /* the tokenizer does not know it as one token: its place is cut out */
		ids->n = from;
		err = encode_pieces(t, s, text, n, special, ids, d);
	}
	free(out);
	return err;
}

static enum moe_err encode_turns(struct moe_tokenizer *t, const struct moe_spec *s, const struct moe_message *m, size_t n, struct moe_ids *ids, struct moe_diag *d)
{
	enum moe_err err;
	char *text;
	size_t n_text;

	MOE_TRY(moe_chat_render(&s->chat, m, n, true, &text, &n_text, d));
	err = moe_text_encode(t, s, text, n_text, false, ids, d);       /* what begins a text is part of the format */
	free(text);
	return err;
}

enum moe_err moe_prompt_encode(struct moe_tokenizer *t, const struct moe_spec *s, const struct moe_prompt_form *form, const char *text, size_t n,
			       struct moe_ids *ids, struct moe_diag *d)
{
	size_t n_marked, n_turns = form->system ? 2 : 1;
	char *marked = moe_prompt_marks(s, form, text, n, &n_marked);
	struct moe_message turn[2] = {{(char *)(uintptr_t)"system", (char *)(uintptr_t)form->system, form->system ? strlen(form->system) : 0},
				      {(char *)(uintptr_t)"user", marked, n_marked}};
	enum moe_err err;

	ids->n = 0;
	if (!marked)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	err = form->chat ? encode_turns(t, s, turn + 2 - n_turns, n_turns, ids, d) : moe_text_encode(t, s, marked, n_marked, true, ids, d);
	free(marked);
	return err ? err : moe_prompt_check(s, ids->id, ids->n, NULL, d);
}

enum moe_err moe_prompt_encode_messages(struct moe_tokenizer *t, const struct moe_spec *s, const char *json, size_t n, struct moe_ids *ids, struct moe_diag *d)
{
	struct moe_message *m;
	size_t n_messages;
	enum moe_err err;

	ids->n = 0;
	MOE_TRY(moe_chat_messages(&s->chat, json, n, &m, &n_messages, d));
	err = encode_turns(t, s, m, n_messages, ids, d);
	moe_messages_free(m, n_messages);
	return err ? err : moe_prompt_check(s, ids->id, ids->n, NULL, d);
}
