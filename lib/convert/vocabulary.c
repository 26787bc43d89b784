#include "convert/vocabulary.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/gguf_tokenizer.h"

struct token {
	const char *text;               /* NULL: no token has this id */
	size_t n;
	int32_t type;
};

struct vocabulary {
	json_t *doc, *model, *vocab, *merges, *added;
	struct token *token;
	size_t n;
	struct moe_diag *d;
};

static const char *text_of(const json_t *node, const char *key) { return json_string_value(json_object_get(node, key)); }

static bool is(const json_t *node, const char *key, const char *want)
{
	const char *have = text_of(node, key);

	return have && !strcmp(have, want);
}

/* The first step of that type, in a pre-tokenizer, normalizer, decoder or post-processor, or in the sequence that it is. */
static json_t *find_step(json_t *node, const char *type)
{
	static const char *const lists[] = {"pretokenizers", "normalizers", "processors", "decoders"};
	size_t at;
	json_t *step;

	if (is(node, "type", type))
		return node;
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
		json_array_foreach(json_object_get(node, lists[i]), at, step)
			if (is(step, "type", type))
				return step;
	return NULL;
}

static size_t n_steps(const json_t *node)
{
	const json_t *list = json_object_get(node, "pretokenizers");

	list = list ? list : json_object_get(node, "normalizers");
	return list ? json_array_size(list) : json_is_object(node);
}

static enum moe_err set_token(struct vocabulary *v, json_t *id, const char *text, size_t n, int32_t type)
{
	json_int_t i = json_integer_value(id);

	if (!json_is_integer(id) || i < 0 || (uint64_t)i >= v->n)
		return moe_fail(v->d, MOE_EINPUT, "tokenizer.json: the id of \"%.60s\" is not one of the model's %zu tokens", text, v->n);
	if (v->token[i].text && (v->token[i].n != n || memcmp(v->token[i].text, text, n)))
		return moe_fail(v->d, MOE_EINPUT, "tokenizer.json: \"%.60s\" and \"%.60s\" have the same id", text, v->token[i].text);
	v->token[i] = (struct token){text, n, type};
	return MOE_OK;
}

/* Is it <0xNN>? */
static bool is_byte(const char *s, size_t n) { return n == 6 && !memcmp(s, "<0x", 3) && s[5] == '>'; }

static enum moe_err collect(struct vocabulary *v)
{
	bool bytes = json_is_true(json_object_get(v->model, "byte_fallback"));
	const char *text, *unknown = text_of(v->model, "unk_token");
	json_t *id, *added;
	size_t n, i;

	json_object_keylen_foreach(v->vocab, text, n, id)
		MOE_TRY(set_token(v, id, text, n, bytes && is_byte(text, n) ? MOE_TOKEN_BYTE : MOE_TOKEN_NORMAL));
	json_array_foreach(v->added, i, added) {
		json_t *content = json_object_get(added, "content");
		MOE_TRY(set_token(v, json_object_get(added, "id"), json_string_value(content) ? json_string_value(content) : "", json_string_length(content),
				  json_is_true(json_object_get(added, "special")) ? MOE_TOKEN_CONTROL : MOE_TOKEN_USER_DEFINED));
	}
	if (unknown && bytes && json_is_integer(json_object_get(v->vocab, unknown)))
		v->token[json_integer_value(json_object_get(v->vocab, unknown))].type = MOE_TOKEN_UNKNOWN;
	return MOE_OK;
}

static enum moe_err open_document(struct vocabulary *v, const char *json, size_t n)
{
	json_error_t e;

	v->doc = json_loadb(json, n, 0, &e);
	if (!v->doc)
		return moe_fail(v->d, MOE_EINPUT, "tokenizer.json: line %d: %s", e.line, e.text);
	v->model = json_object_get(v->doc, "model");
	v->vocab = json_object_get(v->model, "vocab");
	v->merges = json_object_get(v->model, "merges");
	v->added = json_object_get(v->doc, "added_tokens");
	if (!json_is_object(v->vocab) || !json_is_array(v->merges))
		return moe_fail(v->d, MOE_EINPUT, "tokenizer.json: only BPE (a vocabulary and merges) can be written to a GGUF file");
	return MOE_OK;
}

/* Both sides of a merge, which stand in a list, or in a text with a blank between them. */
static bool merge_sides(const json_t *merge, const char *side[2], size_t n[2])
{
	const char *text = json_string_value(merge), *blank = text ? strchr(text + 1, ' ') : NULL;

	for (int i = 0; i < 2 && !text; i++) {
		side[i] = json_string_value(json_array_get(merge, (size_t)i));
		n[i] = json_string_length(json_array_get(merge, (size_t)i));
	}
	if (!text)
		return side[0] && side[1];
	side[0] = text;
	side[1] = blank ? blank + 1 : text;
	n[0] = blank ? (size_t)(blank - text) : 0;
	n[1] = blank ? strlen(blank + 1) : 0;
	return blank;
}

/* ---- The keys ---- */

static void write_tokens(struct moe_gguf_out *g, const struct vocabulary *v)
{
	char pad[32];

	moe_gguf_out_list(g, "tokenizer.ggml.tokens", MOE_GGUF_STRING, v->n);
	for (size_t i = 0; i < v->n; i++) {
		int n = snprintf(pad, sizeof pad, "[PAD%zu]", i);
		moe_gguf_out_add_text(g, v->token[i].text ? v->token[i].text : pad, v->token[i].text ? v->token[i].n : (size_t)n);
	}
	moe_gguf_out_list(g, "tokenizer.ggml.token_type", MOE_GGUF_I32, v->n);
	for (size_t i = 0; i < v->n; i++)
		moe_gguf_out_add_int(g, v->token[i].text ? v->token[i].type : MOE_TOKEN_UNUSED);
}

static enum moe_err write_merges(struct moe_gguf_out *g, const struct vocabulary *v)
{
	json_t *merge;
	size_t i;

	moe_gguf_out_list(g, "tokenizer.ggml.merges", MOE_GGUF_STRING, json_array_size(v->merges));
	json_array_foreach(v->merges, i, merge) {
		const char *side[2];
		size_t n[2];
		char *both;
		if (!merge_sides(merge, side, n) || memchr(side[0], ' ', n[0]) || !(both = malloc(n[0] + n[1] + 1)))
			return moe_fail(v->d, MOE_EINPUT, "tokenizer.json: merge %zu is not two pieces without blanks", i);
		memcpy(both, side[0], n[0]);
		both[n[0]] = ' ';
		memcpy(both + n[0] + 1, side[1], n[1]);
		moe_gguf_out_add_text(g, both, n[0] + n[1] + 1);
		free(both);
	}
	return MOE_OK;
}

static void write_text(struct moe_gguf_out *g, const char *key, const char *s) { moe_gguf_out_text(g, key, s, strlen(s)); }

/* Does the split have this pattern? */
static bool is_split(const struct vocabulary *v, const struct moe_gguf_split *s)
{
	json_t *pre = json_object_get(v->doc, "pre_tokenizer"), *normalizer = json_object_get(v->doc, "normalizer");
	json_t *bytes = find_step(pre, "ByteLevel"), *split = find_step(pre, "Split");
	bool nfc = find_step(normalizer, "NFC"), ignore = json_is_true(json_object_get(v->model, "ignore_merges"));

	if (!bytes || json_is_true(json_object_get(bytes, "add_prefix_space")) || nfc != s->nfc || ignore != s->ignore_merges || n_steps(normalizer) != nfc)
		return false;
	if (!s->pattern)
		return n_steps(pre) == 1 && !json_is_false(json_object_get(bytes, "use_regex"));
	return n_steps(pre) == 2 && split && is(json_object_get(split, "pattern"), "Regex", s->pattern) && is(split, "behavior", "Isolated") &&
	       !json_is_true(json_object_get(split, "invert")) && json_is_false(json_object_get(bytes, "use_regex"));
}

static enum moe_err write_byte_level(struct moe_gguf_out *g, const struct vocabulary *v)
{
	size_t i = 0;

	while (i < moe_n_gguf_splits && !is_split(v, &moe_gguf_splits[i]))
		i++;
	if (i == moe_n_gguf_splits)
		return moe_fail(v->d, MOE_EINPUT, "tokenizer.json: this way of normalising and splitting texts has no name in GGUF files that is known here (gpt-2, olmo, "
				"qwen2 and llama-bpe do)");
	write_text(g, "tokenizer.ggml.model", "gpt2");
	write_text(g, "tokenizer.ggml.pre", moe_gguf_splits[i].name);
	write_tokens(g, v);
	return write_merges(g, v);
}

/* The id of what a merge makes, -1 if there is no such piece. */
static json_int_t whole_of(const struct vocabulary *v, const json_t *merge)
{
	const char *side[2];
	size_t n[2];
	json_int_t id = -1;
	char *both;

	if (!merge_sides(merge, side, n) || !(both = malloc(n[0] + n[1] + 1)))
		return -1;
	memcpy(both, side[0], n[0]);
	memcpy(both + n[0], side[1], n[1]);
	if (json_is_integer(json_object_getn(v->vocab, both, n[0] + n[1])))
		id = json_integer_value(json_object_getn(v->vocab, both, n[0] + n[1]));
	free(both);
	return id;
}

/* Scores from which the merges follow: the earlier a piece is made, the higher. Pieces that no merge makes come last, in the order of their ids. */
static enum moe_err write_scores(struct moe_gguf_out *g, const struct vocabulary *v)
{
	float *score = calloc(v->n + 1, sizeof *score);
	size_t made = 0, last = 0, i;
	json_int_t before = -1;
	json_t *merge;

	if (!score)
		return moe_fail(v->d, MOE_ENOMEM, "out of memory");
	json_array_foreach(v->merges, i, merge) {
		json_int_t id = whole_of(v, merge);
		if (id < 0 || (uint64_t)id >= v->n || (score[id] < 0 && id != before)) {
			free(score);
			return moe_fail(v->d, MOE_EINPUT, "tokenizer.json: merge %zu makes no piece, or one that was made before: such merges do not follow from scores", i);
		}
		if (id != before)
			score[id] = -(float)++made;
		before = id;
	}
	moe_gguf_out_list(g, "tokenizer.ggml.scores", MOE_GGUF_F32, v->n);
	for (i = 0; i < v->n; i++)
		moe_gguf_out_add_real(g, score[i] < 0 ? score[i] : v->token[i].text && v->token[i].type == MOE_TOKEN_NORMAL ? -(float)(made + ++last) : 0);
	free(score);
	return MOE_OK;
}

static enum moe_err write_sentence_piece(struct moe_gguf_out *g, const struct vocabulary *v)
{
	json_t *pre = json_object_get(v->doc, "pre_tokenizer"), *normalizer = json_object_get(v->doc, "normalizer");
	json_t *prepend = find_step(normalizer, "Prepend"), *replace = find_step(normalizer, "Replace"), *meta = find_step(pre, "Metaspace");
	bool plain = !json_is_object(pre) && replace && is(replace, "content", "\u2581") && n_steps(normalizer) == 1u + (prepend != NULL);
	bool modern = meta && n_steps(pre) == 1 && !json_is_object(normalizer) && json_is_false(json_object_get(meta, "split"));

	if (!plain && !modern)
		return moe_fail(v->d, MOE_EINPUT, "tokenizer.json: this way of normalising and splitting texts is not that of SentencePiece, as GGUF files mean it");
	write_text(g, "tokenizer.ggml.model", "llama");
	write_text(g, "tokenizer.ggml.pre", "default");
	moe_gguf_out_truth(g, "tokenizer.ggml.add_space_prefix", plain ? prepend != NULL : !is(meta, "prepend_scheme", "never"));
	write_tokens(g, v);
	return write_scores(g, v);
}

/* Which tokens the post-processor puts around a text. */
static void write_ends(struct moe_gguf_out *g, const struct vocabulary *v)
{
	json_t *template = find_step(json_object_get(v->doc, "post_processor"), "TemplateProcessing"), *step;
	bool begin = false, end = false, text = false;
	size_t i;

	json_array_foreach(json_object_get(template, "single"), i, step) {
		bool special = json_object_get(step, "SpecialToken");
		text |= !special;
		begin |= special && !text;
		end |= special && text;
	}
	moe_gguf_out_truth(g, "tokenizer.ggml.add_bos_token", begin);
	moe_gguf_out_truth(g, "tokenizer.ggml.add_eos_token", end);
}

enum moe_err moe_vocabulary_write(struct moe_gguf_out *g, const char *json, size_t n, const struct moe_spec *spec, struct moe_diag *d)
{
	struct vocabulary v = {.n = (size_t)spec->vocab, .d = d};
	enum moe_err err = open_document(&v, json, n);

	v.token = calloc(v.n + 1, sizeof *v.token);
	if (!err && !v.token)
		err = moe_fail(d, MOE_ENOMEM, "out of memory");
	if (!err)
		err = collect(&v);
	if (!err)
		err = json_is_true(json_object_get(v.model, "byte_fallback")) ? write_sentence_piece(g, &v) : write_byte_level(g, &v);
	if (!err)
		write_ends(g, &v);
	free(v.token);
	json_decref(v.doc);
	return err;
}

/* ---- Read back ---- */

/* Every token of `a` has the same id in `b`, be it added or not. */
static enum moe_err same_tokens(const struct vocabulary *a, const struct vocabulary *b)
{
	json_t *ids = json_object(), *id, *added;
	const char *text;
	size_t n, i;
	enum moe_err err = MOE_OK;

	json_object_update(ids, b->vocab);
	json_array_foreach(b->added, i, added)
		json_object_set(ids, text_of(added, "content"), json_object_get(added, "id"));
	json_object_keylen_foreach(a->vocab, text, n, id)
		if (!err && !json_equal(json_object_getn(ids, text, n), id))
			err = moe_fail(a->d, MOE_EMATCH, "the token \"%.60s\" would be read back with another id", text);
	json_array_foreach(a->added, i, added)
		if (!err && !json_equal(json_object_get(ids, text_of(added, "content")), json_object_get(added, "id")))
			err = moe_fail(a->d, MOE_EMATCH, "the token \"%.60s\" would be read back with another id", text_of(added, "content"));
	json_decref(ids);
	return err;
}

/* The same merges make the same pieces in the same order; the ways to make one piece may change places, which changes nothing. */
static enum moe_err same_merges(const struct vocabulary *a, const struct vocabulary *b)
{
	size_t n = json_array_size(a->merges);

	if (json_array_size(b->merges) != n)
		return moe_fail(a->d, MOE_EMATCH, "%zu merges would be read back as %zu: their order does not follow from the pieces", n, json_array_size(b->merges));
	for (size_t i = 0; i < n; i++)
		if (whole_of(a, json_array_get(a->merges, i)) != whole_of(b, json_array_get(b->merges, i)))
			return moe_fail(a->d, MOE_EMATCH, "merge %zu would be read back as another one", i);
	return MOE_OK;
}

enum moe_err moe_vocabulary_same(const char *json, size_t n, const char *again, size_t again_n, struct moe_diag *d)
{
	struct vocabulary a = {.d = d}, b = {.d = d};
	enum moe_err err = open_document(&a, json, n);

	if (!err)
		err = open_document(&b, again, again_n);
	if (!err)
		err = same_tokens(&a, &b);
	if (!err)
		err = same_merges(&a, &b);
	json_decref(a.doc);
	json_decref(b.doc);
	return err;
}
