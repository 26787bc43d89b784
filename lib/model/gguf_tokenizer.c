#include "model/gguf_tokenizer.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

const struct moe_gguf_split moe_gguf_splits[] = {
	{"gpt-2", NULL, false, false},
	{"olmo", NULL, true, false},
	{"qwen2", "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+", true, false},
	{"llama-bpe", "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+", false, true},
};

const size_t moe_n_gguf_splits = sizeof moe_gguf_splits / sizeof *moe_gguf_splits;

struct piece {
	const char *text;
	size_t n;
	int64_t type;
	double score;
};

struct vocabulary {
	const struct moe_gguf *g;
	struct piece *piece;
	size_t n;
	json_t *ids;                    /* piece → id */
	struct moe_diag *d;
};

static bool text_is(const char *text, size_t n, const char *s) { return text && strlen(s) == n && !memcmp(text, s, n); }

/* A key with one string; NULL where there is none. */
static const char *string_of(const struct moe_gguf *g, const char *key, size_t *n)
{
	const struct moe_gguf_value *v = moe_gguf_find(g, key);
	struct moe_rd r;

	if (!v || v->array || v->type != MOE_GGUF_STRING)
		return NULL;
	moe_rd_init(&r, v->data, v->nbytes);
	return moe_gguf_string(&r, n);
}

/* A key with one integer or truth, else `otherwise`. */
static int64_t int_of(const struct moe_gguf *g, const char *key, int64_t otherwise)
{
	const struct moe_gguf_value *v = moe_gguf_find(g, key);
	struct moe_rd r;

	if (!v || v->array || v->type == MOE_GGUF_STRING || v->type == MOE_GGUF_F32 || v->type == MOE_GGUF_F64)
		return otherwise;
	moe_rd_init(&r, v->data, v->nbytes);
	return moe_gguf_int(&r, v->type);
}

/* A list of strings, or of numbers, with `n` elements where that is not 0. */
static enum moe_err list_of(const struct vocabulary *v, const char *key, bool strings, size_t n, const struct moe_gguf_value **out)
{
	const struct moe_gguf_value *list = moe_gguf_find(v->g, key);

	if (!list)
		return moe_fail(v->d, MOE_EINPUT, "the file has no \"%s\"", key);
	if (!list->array || (list->type == MOE_GGUF_STRING) != strings || (n && list->n != n))
		return moe_fail(v->d, MOE_EINPUT, "\"%s\" is not a list of %s%s", key, strings ? "strings" : "numbers", n ? ", one for each token" : "");
	*out = list;
	return MOE_OK;
}

/* Reads tokens, types and scores. */
static enum moe_err read_pieces(struct vocabulary *v, bool scores)
{
	const struct moe_gguf_value *tokens, *types, *score = NULL;
	struct moe_rd token, type, points;

	MOE_TRY(list_of(v, "tokenizer.ggml.tokens", true, 0, &tokens));
	MOE_TRY(list_of(v, "tokenizer.ggml.token_type", false, tokens->n, &types));
	if (scores)
		MOE_TRY(list_of(v, "tokenizer.ggml.scores", false, tokens->n, &score));
	if (types->type == MOE_GGUF_F32 || types->type == MOE_GGUF_F64)
		return moe_fail(v->d, MOE_EINPUT, "\"tokenizer.ggml.token_type\" is not a list of integers");
	v->n = tokens->n;
	v->piece = calloc(v->n + 1, sizeof *v->piece);
	if (!v->piece)
		return moe_fail(v->d, MOE_ENOMEM, "out of memory");
	moe_rd_init(&token, tokens->data, tokens->nbytes);
	moe_rd_init(&type, types->data, types->nbytes);
	if (score)
		moe_rd_init(&points, score->data, score->nbytes);
	for (size_t i = 0; i < v->n; i++) {
		v->piece[i].text = moe_gguf_string(&token, &v->piece[i].n);
		v->piece[i].type = moe_gguf_int(&type, types->type);
		v->piece[i].score = score ? moe_gguf_real(&points, score->type) : 0;
	}
	return MOE_OK;
}

/* Control and user-defined tokens are found in a text before it is split; the others are the vocabulary of the model. */
static bool is_added(const struct piece *p) { return p->type == MOE_TOKEN_CONTROL || p->type == MOE_TOKEN_USER_DEFINED; }

static enum moe_err index_pieces(struct vocabulary *v, json_t *added)
{
	for (size_t i = 0; i < v->n; i++) {
		const struct piece *p = &v->piece[i];
		bool special = p->type == MOE_TOKEN_CONTROL;
		json_t *text = json_stringn(p->text, p->n);
		if (!text)
			return moe_fail(v->d, MOE_EINPUT, "\"tokenizer.ggml.tokens\": token %zu is not UTF-8", i);
		if (is_added(p))
			json_array_append_new(added, json_pack("{si so sb sb sb sb sb}", "id", (int)i, "content", text, "special", special, "single_word", 0, "lstrip", 0,
							       "rstrip", 0, "normalized", 0));
		else
			json_decref(text);
		if (!is_added(p) && json_object_setn_new(v->ids, p->text, p->n, json_integer((json_int_t)i)))
			return moe_fail(v->d, MOE_ENOMEM, "out of memory");
	}
	return MOE_OK;
}

/* ---- gpt2: byte-level BPE ---- */

static enum moe_err bpe_merges(const struct vocabulary *v, json_t *merges)
{
	const struct moe_gguf_value *list;
	struct moe_rd r;

	MOE_TRY(list_of(v, "tokenizer.ggml.merges", true, 0, &list));
	moe_rd_init(&r, list->data, list->nbytes);
	for (uint64_t i = 0; i < list->n; i++) {
		size_t n;
		const char *s = moe_gguf_string(&r, &n);
		if (json_array_append_new(merges, json_stringn(s, n)))
			return moe_fail(v->d, MOE_EINPUT, "\"tokenizer.ggml.merges\": merge %llu is not UTF-8", (unsigned long long)i);
	}
	return MOE_OK;
}

static enum moe_err byte_level(struct vocabulary *v, json_t *doc)
{
	size_t n = 0, i = 0, count = moe_n_gguf_splits;
	const char *pre = string_of(v->g, "tokenizer.ggml.pre", &n);
	json_t *merges = json_array(), *split;

	json_object_set_new(doc, "model", json_pack("{ss sO so}", "type", "BPE", "vocab", v->ids, "merges", merges));
	while (i < count && !text_is(pre, n, moe_gguf_splits[i].name))
		i++;
	if (i == count)
		return moe_fail(v->d, MOE_EINPUT, "\"tokenizer.ggml.pre\" is \"%.*s\"; gpt-2, olmo, qwen2 and llama-bpe are known", (int)n, pre ? pre : "");
	if (moe_gguf_splits[i].nfc)
		json_object_set_new(doc, "normalizer", json_pack("{ss}", "type", "NFC"));
	split = moe_gguf_splits[i].pattern ? json_pack("{ss s[{ss s{ss} ss sb} {ss sb sb}]}", "type", "Sequence", "pretokenizers", "type", "Split", "pattern", "Regex",
					      moe_gguf_splits[i].pattern, "behavior", "Isolated", "invert", 0, "type", "ByteLevel", "add_prefix_space", 0, "use_regex", 0)
				  : json_pack("{ss sb sb}", "type", "ByteLevel", "add_prefix_space", 0, "use_regex", 1);
	json_object_set_new(doc, "pre_tokenizer", split);
	json_object_set_new(doc, "decoder", json_pack("{ss sb sb}", "type", "ByteLevel", "add_prefix_space", 1, "use_regex", 1));
	json_object_set_new(json_object_get(doc, "model"), "ignore_merges", json_boolean(moe_gguf_splits[i].ignore_merges));
	return bpe_merges(v, merges);
}

/* ---- llama: SentencePiece's BPE ---- */

struct merge {
	const struct piece *whole;
	size_t left;            /* bytes */
};

/* By score of what is made, the best first; of one piece the split with the shorter left part first. */
static int by_score(const void *a, const void *b)
{
	const struct merge *x = a, *y = b;

	if (x->whole->score != y->whole->score)
		return x->whole->score < y->whole->score ? 1 : -1;
	if (x->whole != y->whole)
		return x->whole < y->whole ? -1 : 1;
	return (x->left > y->left) - (x->left < y->left);
}

/* Every way to put a piece together from two others. SentencePiece merges the neighbours whose union has the best score, so scores are ranks. */
static enum moe_err piece_merges(const struct vocabulary *v, json_t *merges)
{
	struct merge *list = NULL;
	size_t n = 0, cap = 0;

	for (size_t i = 0; i < v->n; i++) {
		const struct piece *p = &v->piece[i];
		for (size_t left = 1; !is_added(p) && p->type != MOE_TOKEN_BYTE && p->type != MOE_TOKEN_UNKNOWN && left < p->n; left++) {
			if (((unsigned char)p->text[left] & 0xc0) == 0x80 || !json_object_getn(v->ids, p->text, left) ||
			    !json_object_getn(v->ids, p->text + left, p->n - left))
				continue;
			if (moe_grow(&list, &cap, n + 1, sizeof *list, v->d)) {
				free(list);
				return MOE_ENOMEM;
			}
			list[n++] = (struct merge){p, left};
		}
	}
	if (n)
		qsort(list, n, sizeof *list, by_score);
	for (size_t i = 0; i < n; i++) {
		const struct piece *p = list[i].whole;
		json_array_append_new(merges, json_pack("[s%s%]", p->text, list[i].left, p->text + list[i].left, p->n - list[i].left));
	}
	free(list);
	return MOE_OK;
}

static enum moe_err sentence_piece(struct vocabulary *v, json_t *doc)
{
	bool space = int_of(v->g, "tokenizer.ggml.add_space_prefix", 1);
	json_t *merges = json_array(), *steps = json_array(), *model = json_pack("{ss sO so sb sb}", "type", "BPE", "vocab", v->ids, "merges", merges, "byte_fallback", 1,
									       "fuse_unk", 1);
	size_t unknown = 0;

	json_object_set_new(doc, "model", model);
	while (unknown < v->n && v->piece[unknown].type != MOE_TOKEN_UNKNOWN)
		unknown++;
	if (unknown < v->n)
		json_object_set_new(model, "unk_token", json_stringn(v->piece[unknown].text, v->piece[unknown].n));
	if (space)
		json_array_append_new(steps, json_pack("{ss ss}", "type", "Prepend", "prepend", "\u2581"));
	json_array_append_new(steps, json_pack("{ss s{ss} ss}", "type", "Replace", "pattern", "String", " ", "content", "\u2581"));
	json_object_set_new(doc, "normalizer", json_pack("{ss so}", "type", "Sequence", "normalizers", steps));
	steps = json_pack("[{ss s{ss} ss} {ss} {ss}]", "type", "Replace", "pattern", "String", "\u2581", "content", " ", "type", "ByteFallback", "type", "Fuse");
	if (space)
		json_array_append_new(steps, json_pack("{ss ss si si}", "type", "Strip", "content", " ", "start", 1, "stop", 0));
	json_object_set_new(doc, "decoder", json_pack("{ss so}", "type", "Sequence", "decoders", steps));
	return piece_merges(v, merges);
}

/* ---- Both ---- */

/* Puts the token of beginning, or of end, around each text where the file says so. */
static enum moe_err add_ends(const struct vocabulary *v, json_t *doc, bool begin)
{
	int64_t bos = int_of(v->g, "tokenizer.ggml.bos_token_id", -1), eos = int_of(v->g, "tokenizer.ggml.eos_token_id", -1);
	bool add_bos = int_of(v->g, "tokenizer.ggml.add_bos_token", begin) && bos >= 0, add_eos = int_of(v->g, "tokenizer.ggml.add_eos_token", 0) && eos >= 0;
	json_t *single = json_array(), *special = json_object();

	for (int i = 0; i < 2; i++) {
		int64_t id = i ? eos : bos;
		json_t *name;
		if (i)
			json_array_append_new(single, json_pack("{s{ss si}}", "Sequence", "id", "A", "type_id", 0));
		if (!(i ? add_eos : add_bos))
			continue;
		if (id >= (int64_t)v->n) {
			json_decref(single);
			json_decref(special);
			return moe_fail(v->d, MOE_EINPUT, "\"tokenizer.ggml.%s_token_id\" is %lld of %zu tokens", i ? "eos" : "bos", (long long)id, v->n);
		}
		name = json_stringn(v->piece[id].text, v->piece[id].n);
		json_array_append_new(single, json_pack("{s{sO si}}", "SpecialToken", "id", name, "type_id", 0));
		json_object_set_new(special, json_string_value(name), json_pack("{sO s[I] s[O]}", "id", name, "ids", (json_int_t)id, "tokens", name));
		json_decref(name);
	}
	json_object_set_new(doc, "post_processor", json_pack("{ss so s[] so}", "type", "TemplateProcessing", "single", single, "pair", "special_tokens", special));
	return MOE_OK;
}

static enum moe_err describe(struct vocabulary *v, json_t *doc, json_t *added)
{
	size_t n = 0;
	const char *model = string_of(v->g, "tokenizer.ggml.model", &n);
	bool pieces = text_is(model, n, "llama");

	if (!model || text_is(model, n, "no_vocab") || text_is(model, n, "none"))
		return moe_fail(v->d, MOE_EINPUT, "the file has no tokenizer (\"tokenizer.ggml.model\")");
	if (!pieces && !text_is(model, n, "gpt2"))
		return moe_fail(v->d, MOE_EINPUT, "\"tokenizer.ggml.model\" is \"%.*s\"; gpt2 and llama are known", (int)n, model);
	MOE_TRY(read_pieces(v, pieces));
	MOE_TRY(index_pieces(v, added));
	MOE_TRY(add_ends(v, doc, pieces));
	return pieces ? sentence_piece(v, doc) : byte_level(v, doc);
}

enum moe_err moe_gguf_tokenizer(char **json, size_t *n, const struct moe_gguf *g, struct moe_diag *d)
{
	struct vocabulary v = {.g = g, .ids = json_object(), .d = d};
	json_t *added = json_array(), *doc = json_pack("{ss so}", "version", "1.0", "added_tokens", added);
	enum moe_err err = v.ids && doc ? describe(&v, doc, added) : moe_fail(d, MOE_ENOMEM, "out of memory");

	if (!err) {
		*json = json_dumps(doc, JSON_COMPACT);
		err = *json ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");
		*n = *json ? strlen(*json) : 0;
	}
	json_decref(doc);
	json_decref(v.ids);
	free(v.piece);
	return err;
}
