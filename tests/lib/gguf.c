/* GGUF files: what is read, and what is refused with the reason; a tokenizer from one, against the library's own reading of it. */
#include "format/checkpoint.h"
#include "format/gguf.h"
#include "lib_data.h"
#include "model/gguf_tokenizer.h"
#include "text/tokenizer.h"

/* A file in the making, in memory of its own at the end, so that a sanitizer sees a step beyond it. */
struct file {
	uint8_t *p;
	size_t n;
};

static void add(struct file *f, const void *bytes, size_t n)
{
	f->p = realloc(f->p, f->n + n + 1);
	memcpy(f->p + f->n, bytes, n);
	f->n += n;
}

static void add_int(struct file *f, uint64_t v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		add(f, &(uint8_t){(uint8_t)(v >> 8 * i)}, 1);
}

static void add_string(struct file *f, const char *s)
{
	add_int(f, strlen(s), 8);
	add(f, s, strlen(s));
}

static void head(struct file *f, uint32_t version, uint64_t tensors, uint64_t values)
{
	*f = (struct file){0};
	add(f, "GGUF", 4);
	add_int(f, version, 4);
	add_int(f, tensors, 8);
	add_int(f, values, 8);
}

static void add_text(struct file *f, const char *key, const char *value)
{
	add_string(f, key);
	add_int(f, MOE_GGUF_STRING, 4);
	add_string(f, value);
}

static void add_number(struct file *f, const char *key, enum moe_gguf_type type, uint64_t value, unsigned nbytes)
{
	add_string(f, key);
	add_int(f, type, 4);
	add_int(f, value, nbytes);
}

static void add_list(struct file *f, const char *key, enum moe_gguf_type type, uint64_t n)
{
	add_string(f, key);
	add_int(f, MOE_GGUF_ARRAY, 4);
	add_int(f, type, 4);
	add_int(f, n, 8);
}

/* A tensor of two axes. */
static void add_tensor(struct file *f, const char *name, uint64_t in, uint64_t out, uint32_t type, uint64_t offset)
{
	add_string(f, name);
	add_int(f, 2, 4);
	add_int(f, in, 8);
	add_int(f, out, 8);
	add_int(f, type, 4);
	add_int(f, offset, 8);
}

static void pad(struct file *f, size_t n)
{
	while (f->n % 32)
		add(f, "", 1);
	for (size_t i = 0; i < n; i++)
		add(f, "\7", 1);
}

/* The file is refused with that reason; frees it. */
static void refuse(struct file *f, const char *part)
{
	struct moe_gguf g = {0};
	struct moe_diag d = {0};
	uint8_t *tight = malloc(f->n + 1);

	memcpy(tight, f->p, f->n);
	expect_fail(&d, moe_gguf_parse(&g, tight, f->n, &d), MOE_EINPUT, part);
	moe_gguf_free(&g);
	free(tight);
	free(f->p);
}

static void test_read(void **state)
{
	const struct moe_gguf_value *v;
	struct moe_gguf g = {0};
	struct moe_diag d = {0};
	struct moe_rd r;
	struct file f;
	size_t n;

	(void)state;
	head(&f, 3, 2, 5);
	add_text(&f, "z", "text");
	add_number(&f, "a.i8", MOE_GGUF_I8, 0xfe, 1);
	add_number(&f, "a.u64", MOE_GGUF_U64, UINT64_MAX, 8);
	add_number(&f, "f", MOE_GGUF_F32, 0x3fc00000, 4);
	add_list(&f, "list", MOE_GGUF_STRING, 2);
	add_string(&f, "");
	add_string(&f, "two");
	add_tensor(&f, "w", 64, 3, 8, 0);
	add_tensor(&f, "v", 5, 1, 0, 224);
	pad(&f, 224 + 20);
	assert_int_equal(moe_gguf_parse(&g, f.p, f.n, &d), MOE_OK);
	assert_int_equal(g.header.n_tensors, 2);
	assert_int_equal(g.header.tensor[0].type, MOE_Q8_0);
	assert_int_equal(g.header.tensor[0].shape[0], 3);
	assert_int_equal(g.header.tensor[0].shape[1], 64);
	assert_int_equal(g.header.tensor[0].nbytes, 3 * 2 * 34);
	assert_int_equal(g.header.tensor[1].data - g.header.tensor[0].data, 224);
	v = moe_gguf_find(&g, "a.i8");
	moe_rd_init(&r, v->data, v->nbytes);
	assert_int_equal(moe_gguf_int(&r, v->type), -2);
	v = moe_gguf_find(&g, "a.u64");
	moe_rd_init(&r, v->data, v->nbytes);
	assert_true(moe_gguf_int(&r, v->type) == INT64_MAX);
	v = moe_gguf_find(&g, "f");
	moe_rd_init(&r, v->data, v->nbytes);
	assert_true(moe_gguf_real(&r, v->type) == 1.5);
	v = moe_gguf_find(&g, "list");
	assert_true(v->array && v->n == 2);
	moe_rd_init(&r, v->data, v->nbytes);
	moe_gguf_string(&r, &n);
	assert_int_equal(n, 0);
	assert_memory_equal(moe_gguf_string(&r, &n), "two", 3);
	assert_null(moe_gguf_find(&g, "a"));
	moe_gguf_free(&g);
	for (size_t cut = 0; cut < f.n - 1; cut++) {            /* one byte less at a time: always refused */
		uint8_t *tight = malloc(cut + 1);
		memcpy(tight, f.p, cut);
		moe_diag_clear(&d);
		assert_int_equal(moe_gguf_parse(&g, tight, cut, &d), MOE_EINPUT);
		moe_gguf_free(&g);
		free(tight);
	}
	free(f.p);
}

static void test_refused(void **state)
{
	struct file f;

	(void)state;
	head(&f, 3, 0, 0), f.p[0] = 'g', refuse(&f, "not a GGUF file");
	head(&f, 1, 0, 0), refuse(&f, "version 1; 2 and 3");
	head(&f, 3u << 24, 0, 0), refuse(&f, "big-endian");
	head(&f, 3, 1ull << 60, 0), refuse(&f, "cannot be in a file");
	head(&f, 3, 0, 1ull << 60), refuse(&f, "cannot be in a file");
	head(&f, 3, 0, 1), add_int(&f, 1ull << 62, 8), add_int(&f, 0, 8), refuse(&f, "a key of");
	head(&f, 3, 0, 1), add_number(&f, "k", 13, 0, 8), refuse(&f, "type 13, which there is not");
	head(&f, 3, 0, 1), add_list(&f, "k", MOE_GGUF_ARRAY, 1), add_int(&f, 0, 8), refuse(&f, "cannot stand in an array");
	head(&f, 3, 0, 1), add_list(&f, "k", MOE_GGUF_U64, 1ull << 61), add_int(&f, 0, 8), refuse(&f, "more than the rest of the file");
	head(&f, 3, 0, 1), add_list(&f, "k", MOE_GGUF_STRING, 2), add_string(&f, "x"), refuse(&f, "\"k\" has 2 elements, more than the rest");
	head(&f, 3, 0, 2), add_text(&f, "k", "x"), add_text(&f, "k", "y"), refuse(&f, "\"k\" stands twice");
	head(&f, 3, 0, 1), add_number(&f, "general.alignment", MOE_GGUF_U32, 24, 4), refuse(&f, "power of two");
	head(&f, 3, 0, 1), add_number(&f, "general.alignment", MOE_GGUF_U32, 1u << 30, 4), refuse(&f, "power of two");
	head(&f, 3, 1, 0), add_tensor(&f, "t", 32, 1, 4, 0), pad(&f, 32), refuse(&f, "type number 4");
	head(&f, 3, 1, 0), add_tensor(&f, "t", 33, 1, 8, 0), pad(&f, 64), refuse(&f, "whole blocks of 32");
	head(&f, 3, 1, 0), add_tensor(&f, "t", 0, 1, 0, 0), pad(&f, 64), refuse(&f, "impossible shape");
	head(&f, 3, 1, 0), add_tensor(&f, "t", 1ull << 40, 1ull << 40, 0, 0), pad(&f, 64), refuse(&f, "impossible shape");
	head(&f, 3, 1, 0), add_tensor(&f, "t", 16, 1, 0, 32), pad(&f, 96), refuse(&f, "begins at byte 32 of the data, expected 0");
	head(&f, 3, 2, 0), add_tensor(&f, "t", 16, 1, 0, 0), add_tensor(&f, "u", 16, 1, 0, 32), pad(&f, 96), refuse(&f, "\"u\" begins at byte 32 of the data, expected 64");
	head(&f, 3, 1, 0), add_tensor(&f, "t", 16, 1, 0, 0), pad(&f, 63), refuse(&f, "cut short");
	head(&f, 3, 1, 0), add_tensor(&f, "t", 16, 1, 0, 0), pad(&f, 65), refuse(&f, "bytes after the last tensor");
}

/* SentencePiece: the best score first, whatever the order of the pieces; bytes for what has no piece; the space in front is added and taken away. */
static void test_sentence_piece(void **state)
{
	static const struct { const char *text; int32_t type; float score; } piece[] = {
		{"<unk>", 2, 0}, {"<s>", 3, 0}, {"</s>", 3, 0}, {"<0xC3>", 6, 0}, {"<0xBC>", 6, 0}, {"\u2581", 1, -9}, {"a", 1, -10}, {"b", 1, -11}, {"c", 1, -12},
		{"ab", 1, -5}, {"bc", 1, -1}, {"abc", 1, -7}, {"\u2581a", 1, -2},
	};
	static const struct { const char *text; int32_t id[8]; size_t n; } cases[] = {
		{"abc", {1, 12, 10}, 3}, {"aab", {1, 12, 9}, 3}, {"\u00fc", {1, 5, 3, 4}, 4}, {"b a", {1, 5, 7, 12}, 4},
	};
	size_t n = sizeof piece / sizeof *piece, length;
	struct moe_gguf g = {0};
	struct moe_diag d = {0};
	struct moe_tokenizer *t;
	struct file f;
	char *json;

	(void)state;
	head(&f, 3, 0, 6);
	add_text(&f, "tokenizer.ggml.model", "llama");
	add_number(&f, "tokenizer.ggml.bos_token_id", MOE_GGUF_U32, 1, 4);
	add_number(&f, "tokenizer.ggml.eos_token_id", MOE_GGUF_U32, 2, 4);
	add_list(&f, "tokenizer.ggml.tokens", MOE_GGUF_STRING, n);
	for (size_t i = 0; i < n; i++)
		add_string(&f, piece[i].text);
	add_list(&f, "tokenizer.ggml.token_type", MOE_GGUF_I32, n);
	for (size_t i = 0; i < n; i++)
		add_int(&f, (uint64_t)piece[i].type, 4);
	add_list(&f, "tokenizer.ggml.scores", MOE_GGUF_F32, n);
	for (size_t i = 0; i < n; i++)
		add(&f, &piece[i].score, 4);
	assert_int_equal(moe_gguf_parse(&g, f.p, f.n, &d), MOE_OK);
	if (moe_gguf_tokenizer(&json, &length, &g, &d) || moe_tokenizer_load(&t, json, length, &d))
		fail_msg("%s", say(&d));
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct moe_ids ids = {0};
		char *text = NULL;
		size_t m = 0, cap = 0;
		assert_int_equal(moe_tokenizer_encode(t, cases[i].text, strlen(cases[i].text), true, &ids, &d), MOE_OK);
		assert_int_equal(ids.n, cases[i].n);
		assert_memory_equal(ids.id, cases[i].id, ids.n * sizeof *ids.id);
		assert_int_equal(moe_tokenizer_decode(t, ids.id, ids.n, true, &text, &m, &cap, &d), MOE_OK);
		assert_string_equal(text, cases[i].text);
		free(ids.id);
		free(text);
	}
	moe_tokenizer_free(t);
	free(json);
	moe_gguf_free(&g);
	free(f.p);
}

static void test_tokenizer_refused(void **state)
{
	static const struct { const char *model, *pre, *part; } cases[] = {
		{"no_vocab", "gpt-2", "has no tokenizer"}, {"bert", "gpt-2", "is \"bert\"; gpt2 and llama are known"}, {"gpt2", "mystery", "is \"mystery\""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct moe_gguf g = {0};
		struct moe_diag d = {0};
		struct file f;
		char *json;
		size_t n;
		head(&f, 3, 0, 4);
		add_text(&f, "tokenizer.ggml.model", cases[i].model);
		add_text(&f, "tokenizer.ggml.pre", cases[i].pre);
		add_list(&f, "tokenizer.ggml.tokens", MOE_GGUF_STRING, 1);
		add_string(&f, "a");
		add_list(&f, "tokenizer.ggml.token_type", MOE_GGUF_I32, 1);
		add_int(&f, 1, 4);
		assert_int_equal(moe_gguf_parse(&g, f.p, f.n, &d), MOE_OK);
		expect_fail(&d, moe_gguf_tokenizer(&json, &n, &g, &d), MOE_EINPUT, cases[i].part);
		moe_gguf_free(&g);
		free(f.p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read), cmocka_unit_test(test_refused), cmocka_unit_test(test_sentence_piece), cmocka_unit_test(test_tokenizer_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
