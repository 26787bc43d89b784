/* Conversion: headers of GGUF files against their reader, types, the order of turned rows, vocabularies, and unfinished outputs. */
#include "convert/partial.h"
#include "convert/targets.h"
#include "convert/types.h"
#include "convert/vocabulary.h"
#include "format/gguf_write.h"
#include "lib_data.h"
#include "model/gguf_tokenizer.h"
#include "text/tokenizer.h"

static void test_gguf(void **state)
{
	static const uint64_t shape[3] = {2, 3, 64};
	struct moe_gguf_out out = {0};
	struct moe_gguf g = {0};
	struct moe_diag d = {0};
	const struct moe_gguf_value *v;
	struct moe_rd r;
	uint8_t *head, *file;
	size_t n, length;

	(void)state;
	moe_gguf_out_number(&out, "n", 4294967295);
	moe_gguf_out_real(&out, "x", 0.5);
	moe_gguf_out_truth(&out, "b", true);
	moe_gguf_out_text(&out, "s", "a\0b", 3);
	moe_gguf_out_list(&out, "l", MOE_GGUF_STRING, 2);
	moe_gguf_out_add_text(&out, "one", 3);
	moe_gguf_out_add_text(&out, "", 0);
	moe_gguf_out_list(&out, "f", MOE_GGUF_F32, 1);
	moe_gguf_out_add_real(&out, -2.5f);
	assert_int_equal(moe_gguf_out_tensor(&out, "w", MOE_Q8_0, 3, shape), 0);
	assert_int_equal(moe_gguf_out_tensor(&out, "v", MOE_F32, 1, shape + 1), 6 * 2 * 34 / 32 * 32 + 32);
	expect_ok(&d, moe_gguf_out_finish(&out, &head, &n, &d));
	file = calloc(n + out.data_nbytes, 1);
	memcpy(file, head, n);
	expect_ok(&d, moe_gguf_parse(&g, file, n + out.data_nbytes, &d));
	assert_int_equal(g.n_values, 6);
	assert_int_equal(g.header.n_tensors, 2);
	assert_string_equal(g.header.tensor[0].name, "w");
	assert_int_equal(g.header.tensor[0].type, MOE_Q8_0);
	assert_memory_equal(g.header.tensor[0].shape, shape, sizeof shape);
	assert_ptr_equal(g.header.tensor[0].data, file + n);
	v = moe_gguf_find(&g, "s");
	moe_rd_init(&r, v->data, v->nbytes);
	assert_memory_equal(moe_gguf_string(&r, &length), "a\0b", 3);
	v = moe_gguf_find(&g, "f");
	moe_rd_init(&r, v->data, v->nbytes);
	assert_true(moe_gguf_real(&r, v->type) == -2.5);
	v = moe_gguf_find(&g, "n");
	moe_rd_init(&r, v->data, v->nbytes);
	assert_int_equal(moe_gguf_int(&r, v->type), 4294967295);
	moe_gguf_free(&g);
	moe_gguf_out_free(&out);
	free(file);
	free(head);
}

static void test_gguf_refused(void **state)
{
	static const uint64_t shape[2] = {4, 33};
	struct moe_diag d = {0};
	uint8_t *head;
	size_t n;

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct moe_gguf_out out = {0};
		if (i == 0)
			moe_gguf_out_number(&out, "n", -1);
		else
			moe_gguf_out_tensor(&out, "w", i == 1 ? MOE_Q8_0 : MOE_F8_E4M3, 2, shape);
		moe_diag_clear(&d);
		expect_fail(&d, moe_gguf_out_finish(&out, &head, &n, &d), MOE_EINPUT, i ? "\"w\"" : "\"n\"");
		moe_gguf_out_free(&out);
	}
}

static void test_types(void **state)
{
	static const struct { const char *text; enum moe_part part; bool gguf; enum moe_dtype from; uint64_t cols; bool matrix, plain; enum moe_dtype to; bool fallback; } cases[] = {
		{"", MOE_PART_EXPERTS, true, MOE_BF16, 1664, true, true, MOE_BF16, false},
		{"", MOE_PART_EXPERTS, true, MOE_F8_E4M3, 1664, true, true, MOE_F32, false},
		{"", MOE_PART_EXPERTS, false, MOE_F8_E4M3, 1664, true, true, MOE_F8_E4M3, false},
		{"", MOE_PART_EXPERTS, false, MOE_Q4_K, 256, true, true, MOE_F32, false},
		{"q4_k", MOE_PART_EXPERTS, true, MOE_BF16, 1792, true, true, MOE_Q4_K, false},
		{"Q4_K", MOE_PART_EXPERTS, true, MOE_BF16, 1664, true, true, MOE_Q8_0, true},
		{"q6_k", MOE_PART_EXPERTS, true, MOE_BF16, 1650, true, true, MOE_BF16, true},
		{"q4_0", MOE_PART_EXPERTS, true, MOE_BF16, 1650, true, true, MOE_BF16, true},
		{"q4_k", MOE_PART_ROUTER, true, MOE_BF16, 256, true, true, MOE_F32, false},
		{"q4_k,router=q8_0", MOE_PART_ROUTER, true, MOE_BF16, 256, true, true, MOE_Q8_0, false},
		{"q4_k,head=q6_k", MOE_PART_HEAD, true, MOE_BF16, 256, true, true, MOE_Q6_K, false},
		{"head=q6_k,q4_k", MOE_PART_HEAD, true, MOE_BF16, 256, true, true, MOE_Q4_K, false},
		{"experts=q4_k", MOE_PART_HEAD, true, MOE_F16, 256, true, true, MOE_F16, false},
		{"f16", MOE_PART_NORM, true, MOE_BF16, 256, false, true, MOE_F32, false},
		{"norm=f16", MOE_PART_NORM, true, MOE_BF16, 256, false, true, MOE_F16, false},
		{"int8", MOE_PART_EXPERTS, false, MOE_BF16, 7, true, true, MOE_I8, false},
		{"int8", MOE_PART_EXPERTS, false, MOE_BF16, 7, true, false, MOE_BF16, true},
		{"int8", MOE_PART_TOWER, false, MOE_BF16, 7, false, true, MOE_F32, true},
	};
	static const char *const wrong[] = {"q5_k", "experts", "experts=", "=f32", "f32,", "parts=f32", "norm=q8_0"};
	struct moe_types t;
	struct moe_diag d = {0};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		enum moe_dtype to;
		bool fallback;
		expect_ok(&d, moe_types_parse(&t, cases[i].text, &d));
		expect_ok(&d, moe_types_choose(&t, cases[i].part, cases[i].gguf, cases[i].from, cases[i].cols, cases[i].matrix, cases[i].plain, &to, &fallback, &d));
		if (to != cases[i].to || fallback != cases[i].fallback)
			fail_msg("case %zu, \"%s\": %s%s", i, cases[i].text, moe_dtype_name(to), fallback ? " as a fallback" : "");
	}
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		moe_diag_clear(&d);
		if (!moe_types_parse(&t, wrong[i], &d) && strcmp(wrong[i], "f32,") != 0)
			fail_msg("\"%s\" is taken", wrong[i]);
	}
}

/* Halves to neighbours and back is where one began; the first rows are those that the format's description has. */
static void test_turned_rows(void **state)
{
	struct moe_targets there = {.to_adjacent = true}, back = {.to_adjacent = false};
	struct moe_target t = {.turn = 6};
	static const uint64_t want[12] = {0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11};

	(void)state;
	for (uint64_t r = 0; r < 12; r++) {
		assert_int_equal(moe_target_row(&there, &t, r), want[r]);
		assert_int_equal(moe_target_row(&back, &t, moe_target_row(&there, &t, r)), r);
	}
}

/* A tokenizer through the keys of a GGUF file, and back; NULL: it is refused. d tells why, or what is not the same. */
static char *through(const char *json, size_t n, size_t vocab, size_t *length, struct moe_diag *d)
{
	struct moe_spec spec = {.vocab = (int64_t)vocab};
	struct moe_gguf_out out = {0};
	struct moe_gguf g = {0};
	uint8_t *head = NULL;
	char *again = NULL;
	size_t head_n;

	if (!moe_vocabulary_write(&out, json, n, &spec, d)) {
		expect_ok(d, moe_gguf_out_finish(&out, &head, &head_n, d));
		expect_ok(d, moe_gguf_parse(&g, head, head_n, d));
		expect_ok(d, moe_gguf_tokenizer(&again, length, &g, d));
		if (moe_vocabulary_same(json, n, again, *length, d))
			assert_int_equal(d->code, MOE_EMATCH);
	}
	moe_gguf_free(&g);
	moe_gguf_out_free(&out);
	free(head);
	return again;
}

static void same_ids(const char *json, size_t n, const char *again, size_t again_n, const char *name)
{
	static const char *const texts[] = {"Hello, world! It's 12345 o'clock.", "  two  blanks \n\n\tand lines", "Ünïcödé 漢字 \U0001F600", "a", " "};
	struct moe_tokenizer *a, *b;
	struct moe_diag d = {0};

	expect_ok(&d, moe_tokenizer_load(&a, json, n, &d));
	expect_ok(&d, moe_tokenizer_load(&b, again, again_n, &d));
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct moe_ids x = {0}, y = {0};
		expect_ok(&d, moe_tokenizer_encode(a, texts[i], strlen(texts[i]), false, &x, &d));
		expect_ok(&d, moe_tokenizer_encode(b, texts[i], strlen(texts[i]), false, &y, &d));
		if (x.n != y.n || memcmp(x.id, y.id, x.n * sizeof *x.id) != 0)
			fail_msg("%s: other ids for \"%s\"", name, texts[i]);
		free(x.id);
		free(y.id);
	}
	moe_tokenizer_free(a);
	moe_tokenizer_free(b);
}

/* The merges of SentencePiece are all ways to make a piece, which those of these two are not. Once they are so, they stay. */
static void complete_merges(char **json, size_t *n)
{
	struct moe_diag d = {0};
	size_t length;
	char *again = through(*json, *n, 2000, &length, &d);

	expect_fail(&d, d.code, MOE_EMATCH, "their order does not follow from the pieces");
	free(*json);
	*json = again;
	*n = length;
}

static void test_vocabularies(void **state)
{
	static const struct { const char *name, *refused; } cases[] = {
		{"gpt2", NULL}, {"qwen2", NULL}, {"llama3", NULL}, {"aria", NULL}, {"metaspace", NULL}, {"deepseek3", "has no name in GGUF files"},
		{"o200k", "has no name in GGUF files"}, {"gemma", "not that of SentencePiece"}, {"mixed-06", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char path[200], *json, *again;
		size_t n, length;
		struct moe_diag d = {0};
		snprintf(path, sizeof path, "tests/golden/tokenizers/%s/tokenizer.json", cases[i].name);
		json = (char *)read_bytes(path, &n);
		if (!strcmp(cases[i].name, "aria") || !strcmp(cases[i].name, "metaspace"))
			complete_merges(&json, &n);
		again = through(json, n, 2000, &length, &d);
		if (cases[i].refused ? again || !strstr(say(&d), cases[i].refused) : !again || d.code)
			fail_msg("%s: \"%s\"", cases[i].name, say(&d));
		if (again)
			same_ids(json, n, again, length, cases[i].name);
		free(again);
		moe_diag_clear(&d);
		assert_null(through(json, n, 20, &length, &d));         /* ids beyond the vocabulary */
		free(json);
	}
}

/* An output that was begun, left, and continued; what it noted is there, and a cut line is not. */
static void test_partial(void **state)
{
	static char name[] = "w.bin";
	uint8_t head[4] = "head", bytes[6];
	struct moe_partial_file file = {name, head, sizeof head, 10};
	struct moe_loss loss = {0.1, 2, 1e-300}, noted;
	struct moe_partial *p;
	struct moe_diag d = {0};
	uint64_t hash;
	char path[300], log[320];
	FILE *f;

	(void)state;
	snprintf(path, sizeof path, "%s", scratch("out"));
	snprintf(log, sizeof log, "%s.part.log", path);
	expect_ok(&d, moe_partial_open(&p, path, &file, 1, 3, "key", false, &d));
	expect_ok(&d, moe_partial_write(p, 0, 4, "abcdef", 6, &d));
	expect_ok(&d, moe_partial_done(p, 1, moe_partial_hash(0, "abcdef", 6), &loss, &d));
	moe_partial_close(p);
	f = fopen(log, "a");
	fputs("2 0123", f);
	fclose(f);
	expect_fail(&d, moe_partial_open(&p, path, &file, 1, 3, "other", false, &d), MOE_EMATCH, "of another model or with other options");
	moe_diag_clear(&d);
	expect_ok(&d, moe_partial_open(&p, path, &file, 1, 3, "key", false, &d));
	assert_false(moe_partial_was_done(p, 0, &hash, &noted));
	assert_false(moe_partial_was_done(p, 2, &hash, &noted));
	assert_true(moe_partial_was_done(p, 1, &hash, &noted));
	assert_int_equal(hash, moe_partial_hash(0, "abcdef", 6));
	assert_memory_equal(&noted, &loss, sizeof loss);
	expect_ok(&d, moe_partial_read(p, 0, 4, bytes, 6, &d));
	assert_memory_equal(bytes, "abcdef", 6);
	expect_ok(&d, moe_partial_put(p, "config.json", "{}", 2, &d));
	expect_ok(&d, moe_partial_commit(p, &d));
	moe_partial_close(p);
	assert_int_equal(access(log, F_OK), -1);
	expect_fail(&d, moe_partial_open(&p, path, &file, 1, 3, "key", false, &d), MOE_EIO, "is there already");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gguf), cmocka_unit_test(test_gguf_refused), cmocka_unit_test(test_types), cmocka_unit_test(test_turned_rows),
		cmocka_unit_test(test_vocabularies), cmocka_unit_test(test_partial),
	};

	return cmocka_run_group_tests(tests, NULL, scratch_remove);
}
