#include "data/samples.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

void moe_item_clear(struct moe_item *item)
{
	free(item->name);
	free(item->text);
	free(item->picture);
	free(item->failure);
	*item = (struct moe_item){0};
}

void moe_sample_clear(struct moe_sample *s)
{
	struct moe_arena *a = s->memory;

	if (a)
		moe_arena_free(a);
	free(a);
	free(s->picture);
	*s = (struct moe_sample){0};
}

/* A sample being read: the field at hand, for messages. */
struct reader {
	struct moe_sample *s;
	struct moe_arena *a;
	struct moe_diag *d;
};

static enum moe_err no_memory(const struct reader *r) { return moe_fail(r->d, MOE_ENOMEM, "out of memory"); }

static enum moe_err copy(struct reader *r, const char *s, size_t n, const char **out)
{
	*out = moe_arena_string(r->a, s, n);
	return *out ? MOE_OK : no_memory(r);
}

/* ---- JSON ---- */

static const char *const kinds[] = {"an object", "a list", "a text", "a whole number", "a number", "true", "false", "null"};

static enum moe_err unexpected(const struct reader *r, const char *what, size_t i, const char *wanted, const json_t *v)
{
	if (i == SIZE_MAX)
		return moe_fail(r->d, MOE_EINPUT, "\"%s\" is %s, expected %s", what, v ? kinds[json_typeof(v)] : "missing", wanted);
	return moe_fail(r->d, MOE_EINPUT, "%s %zu is %s, expected %s", what, i, v ? kinds[json_typeof(v)] : "missing", wanted);
}

/* A text without NUL, of bounded length. */
static enum moe_err take_text(struct reader *r, const json_t *v, const char *what, const char **out)
{
	if (!json_is_string(v))
		return unexpected(r, what, SIZE_MAX, "a text", v);
	if (json_string_length(v) > MOE_SAMPLE_STRING)
		return moe_fail(r->d, MOE_EINPUT, "\"%s\" has more than %d bytes", what, MOE_SAMPLE_STRING);
	return copy(r, json_string_value(v), json_string_length(v), out);
}

static enum moe_err take_flag(struct reader *r, const json_t *v, const char *what, bool absent, bool *out)
{
	*out = v ? json_is_true(v) : absent;
	return v && !json_is_boolean(v) ? unexpected(r, what, SIZE_MAX, "true or false", v) : MOE_OK;
}

/* An object of texts. */
static enum moe_err read_tags(struct reader *r, json_t *v, const char *what, const char *one, struct moe_tag **tag, size_t *n)
{
	const char *name;
	json_t *value;

	*n = 0;
	if (!v)
		return MOE_OK;
	if (!json_is_object(v))
		return unexpected(r, what, SIZE_MAX, "an object", v);
	if (json_object_size(v) > MOE_SAMPLE_TAGS)
		return moe_fail(r->d, MOE_EINPUT, "more than %d %s", MOE_SAMPLE_TAGS, what);
	*tag = moe_arena_get(r->a, json_object_size(v), sizeof **tag);
	if (!*tag)
		return no_memory(r);
	json_object_foreach(v, name, value) {
		MOE_TRY(copy(r, name, strlen(name), &(*tag)[*n].name));
		MOE_TRY(take_text(r, value, one, &(*tag)[*n].value));
		++*n;
	}
	return MOE_OK;
}

static enum moe_err read_question(struct reader *r, const json_t *v, size_t i, struct moe_question *q)
{
	const json_t *prompt = json_object_get(v, "prompt"), *type = json_object_get(v, "type");

	*q = (struct moe_question){.type = ""};
	if (!json_is_object(v))
		return unexpected(r, "question", i, "an object", v);
	if (type)
		MOE_TRY(take_text(r, type, "type", &q->type));
	if (prompt)
		MOE_TRY(take_text(r, prompt, "prompt", &q->prompt));
	if (q->prompt && !*q->prompt)
		q->prompt = NULL;
	if (!json_object_get(v, "answer"))
		return moe_fail(r->d, MOE_EINPUT, "question %zu has no answer", i);
	MOE_TRY(take_text(r, json_object_get(v, "answer"), "answer", &q->answer));
	if (!*q->answer)
		return moe_fail(r->d, MOE_EINPUT, "question %zu has an empty answer", i);
	return take_flag(r, json_object_get(v, "spell"), "spell", false, &q->spell);
}

static enum moe_err read_questions(struct reader *r, const json_t *v)
{
	size_t n = json_array_size(v);

	if (!json_is_array(v))
		return unexpected(r, "questions", SIZE_MAX, "a list", v);
	if (!n || n > MOE_SAMPLE_QUESTIONS)
		return moe_fail(r->d, MOE_EINPUT, "%zu questions, expected 1 to %d", n, MOE_SAMPLE_QUESTIONS);
	r->s->question = moe_arena_get(r->a, n, sizeof *r->s->question);
	if (!r->s->question)
		return no_memory(r);
	for (; r->s->n_questions < n; r->s->n_questions++)
		MOE_TRY(read_question(r, json_array_get(v, r->s->n_questions), r->s->n_questions, &r->s->question[r->s->n_questions]));
	return MOE_OK;
}

static enum moe_err read_box(struct reader *r, const json_t *v, size_t i, struct moe_box *b)
{
	double *to[4] = {&b->x0, &b->y0, &b->x1, &b->y1};

	*b = (struct moe_box){0};
	if (!json_is_array(v) || json_array_size(v) != 5)
		return moe_fail(r->d, MOE_EINPUT, "box %zu is not [label, x0, y0, x1, y1]", i);
	MOE_TRY(take_text(r, json_array_get(v, 0), "a box's label", &b->label));
	for (size_t k = 0; k < 4; k++) {
		const json_t *x = json_array_get(v, k + 1);
		if (!json_is_number(x))
			return unexpected(r, "a side of box", i, "a number", x);
		*to[k] = json_number_value(x);
		if (!(fabs(*to[k]) <= 1e6))
			return moe_fail(r->d, MOE_EINPUT, "box %zu lies outside of any picture", i);
	}
	if (b->x1 < b->x0 || b->y1 < b->y0)
		return moe_fail(r->d, MOE_EINPUT, "box %zu has its sides the wrong way round", i);
	return MOE_OK;
}

static enum moe_err read_boxes(struct reader *r, const json_t *v)
{
	size_t n = json_array_size(v);

	if (!v)
		return MOE_OK;
	if (!json_is_array(v))
		return unexpected(r, "boxes", SIZE_MAX, "a list", v);
	if (n > MOE_SAMPLE_BOXES)
		return moe_fail(r->d, MOE_EINPUT, "more than %d boxes", MOE_SAMPLE_BOXES);
	r->s->labelled = true;
	r->s->box = moe_arena_get(r->a, n, sizeof *r->s->box);
	if (!r->s->box)
		return no_memory(r);
	for (; r->s->n_boxes < n; r->s->n_boxes++)
		MOE_TRY(read_box(r, json_array_get(v, r->s->n_boxes), r->s->n_boxes, &r->s->box[r->s->n_boxes]));
	return MOE_OK;
}

/* An object of texts for each box. */
static enum moe_err read_attributes(struct reader *r, const json_t *v)
{
	if (!v)
		return MOE_OK;
	if (!json_is_array(v))
		return unexpected(r, "attributes", SIZE_MAX, "a list", v);
	if (json_array_size(v) != r->s->n_boxes)
		return moe_fail(r->d, MOE_EINPUT, "attributes of %zu boxes, but there are %zu", json_array_size(v), r->s->n_boxes);
	for (size_t i = 0; i < r->s->n_boxes; i++) {
		struct moe_tag *tag = NULL;
		MOE_TRY(read_tags(r, json_array_get(v, i), "attributes", "an attribute", &tag, &r->s->box[i].n_attributes));
		r->s->box[i].attribute = tag;
	}
	return MOE_OK;
}

static enum moe_err read_document(struct reader *r, json_t *doc, bool *picture)
{
	if (!json_is_object(doc))
		return moe_fail(r->d, MOE_EINPUT, "the JSON is %s, expected an object", kinds[json_typeof(doc)]);
	if (json_object_get(doc, "kind"))
		MOE_TRY(take_text(r, json_object_get(doc, "kind"), "kind", &r->s->kind));
	MOE_TRY(take_flag(r, json_object_get(doc, "picture"), "picture", true, picture));
	MOE_TRY(read_tags(r, json_object_get(doc, "tags"), "tags", "a tag", &r->s->tag, &r->s->n_tags));
	MOE_TRY(read_questions(r, json_object_get(doc, "questions")));
	MOE_TRY(read_boxes(r, json_object_get(doc, "boxes")));
	return read_attributes(r, json_object_get(doc, "attributes"));
}

static enum moe_err read_json(struct reader *r, const struct moe_item *item, bool *picture)
{
	json_error_t e;
	json_t *doc = json_loadb(item->text, item->n_text, JSON_REJECT_DUPLICATES, &e);
	enum moe_err err;

	if (!doc)
		return moe_fail_at(r->d, MOE_EINPUT, e.position > 0 ? (uint64_t)e.position : 0, "not JSON: %s", e.text);
	err = read_document(r, doc, picture);
	json_decref(doc);
	return err;
}

/* ---- text ---- */

static enum moe_err one_question(struct reader *r, const char *prompt, size_t n_prompt, const char *answer, size_t n_answer)
{
	struct moe_question *q = moe_arena_zero(r->a, 1, sizeof *q);

	if (!n_answer)
		return moe_fail(r->d, MOE_EINPUT, "the answer is empty");
	if (n_answer > MOE_SAMPLE_STRING || n_prompt > MOE_SAMPLE_STRING)
		return moe_fail(r->d, MOE_EINPUT, "a text of more than %d bytes", MOE_SAMPLE_STRING);
	if (memchr(answer, 0, n_answer) || memchr(prompt, 0, n_prompt))
		return moe_fail(r->d, MOE_EINPUT, "there is a NUL in the text");
	if (!q)
		return no_memory(r);
	q->type = "text";
	r->s->question = q;
	r->s->n_questions = 1;
	if (n_prompt)
		MOE_TRY(copy(r, prompt, n_prompt, &q->prompt));
	return copy(r, answer, n_answer, &q->answer);
}

/* The answer, without the line end behind it. */
static enum moe_err read_plain(struct reader *r, const struct moe_item *item)
{
	size_t n = item->n_text;

	if (n && item->text[n - 1] == '\n')
		n--;
	if (n && item->text[n - 1] == '\r')
		n--;
	return one_question(r, "", 0, item->text, n);
}

static enum moe_err read_line(struct reader *r, const struct moe_item *item)
{
	const char *end = item->text + item->n_text, *tab = memchr(item->text, '\t', item->n_text);

	if (!tab)
		return one_question(r, "", 0, item->text, item->n_text);
	if (memchr(tab + 1, '\t', (size_t)(end - tab - 1)))
		return moe_fail(r->d, MOE_EINPUT, "the line has more than three columns");
	return one_question(r, item->text, (size_t)(tab - item->text), tab + 1, (size_t)(end - tab - 1));
}

static enum moe_err read_item(struct reader *r, const struct moe_item *item)
{
	bool picture = true;
	size_t good;

	if (item->failure) {
		*r->d = *item->failure;
		return item->failure->code;
	}
	if (!item->text)
		return moe_fail(r->d, MOE_EINPUT, "the picture has no text beside it (.json, .txt, or a line of a .tsv)");
	if (item->n_text > MOE_SAMPLE_TEXT_NBYTES)
		return moe_fail(r->d, MOE_ENOMEM, "a text of more than %d bytes", MOE_SAMPLE_TEXT_NBYTES);
	good = moe_utf8_prefix(item->text, item->n_text);
	if (good != item->n_text)
		return moe_fail_at(r->d, MOE_EINPUT, good, "the text is not UTF-8");
	if (item->form == MOE_ITEM_JSON)
		MOE_TRY(read_json(r, item, &picture));
	else
		MOE_TRY(item->form == MOE_ITEM_PLAIN ? read_plain(r, item) : read_line(r, item));
	if (picture && !item->picture)
		return moe_fail(r->d, MOE_EINPUT, "the text has no picture beside it, and does not say \"picture\": false");
	if (!picture && item->picture)
		return moe_fail(r->d, MOE_EINPUT, "there is a picture, but the text says \"picture\": false");
	return MOE_OK;
}

enum moe_err moe_sample_read(struct moe_sample *out, struct moe_item *item, struct moe_diag *d)
{
	struct moe_diag own = {0};
	struct reader r = {out, calloc(1, sizeof(struct moe_arena)), d ? d : &own};
	enum moe_err err;

	*out = (struct moe_sample){.kind = "text", .memory = r.a};
	if (!r.a)
		return no_memory(&r);
	moe_diag_clear(r.d);
	err = copy(&r, item->name, strlen(item->name), &out->name);
	if (!err)
		err = read_item(&r, item);
	if (err) {
		moe_diag_path(r.d, item->name);
		moe_sample_clear(out);
		return err;
	}
	out->picture = item->picture;
	out->n_picture = item->n_picture;
	item->picture = NULL;
	return MOE_OK;
}
