/* Answers in the making: scripted tokens through tokenizers of several kinds. What is shown early never changes and is never part of a stop string; the text is
 * that of all ids, up to the first stop string. */
#include "base/utf8.h"
#include "lib_data.h"
#include "stage/reply.h"

static const char *const kinds[] = {"aria", "gemma", "gpt2", "llama3", "metaspace", "qwen2"};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

static struct moe_tokenizer *tokenizer[N_KINDS];

static int load(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_KINDS; i++) {
		struct moe_diag d = {0};
		char path[100];
		size_t n;
		uint8_t *json;
		snprintf(path, sizeof path, "tests/golden/tokenizers/%s/tokenizer.json", kinds[i]);
		json = read_bytes(path, &n);
		expect_ok(&d, moe_tokenizer_load(&tokenizer[i], (char *)json, n, &d));
		free(json);
	}
	return 0;
}

static int unload(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_KINDS; i++)
		moe_tokenizer_free(tokenizer[i]);
	return 0;
}

/* A generation that takes what it is told. */
struct script {
	struct moe_spec spec;
	struct moe_generation g;
	struct moe_reply r;
	struct moe_arena scratch;
	float *logit;
	char *shown;            /* what was certain, piece by piece */
	size_t n_shown;
};

static void begin(struct script *s, const struct moe_tokenizer *t, const char *const *stop, size_t n_stop)
{
	struct moe_diag d = {0};

	*s = (struct script){.spec = {.vocab = (int64_t)moe_tokenizer_size(t)}};
	s->g = (struct moe_generation){.spec = &s->spec, .tokenizer = t, .max_new = 100000, .stop = stop, .n_stop = n_stop};
	expect_ok(&d, moe_generation_init(&s->g, &d));
	s->logit = calloc((size_t)s->spec.vocab, sizeof *s->logit);
	s->shown = calloc(1, 1 << 16);
}

static void end(struct script *s)
{
	moe_reply_free(&s->r);
	moe_generation_free(&s->g);
	moe_arena_free(&s->scratch);
	free(s->logit);
	free(s->shown);
}

/* The next token is `id`. */
static void push(struct script *s, int32_t id)
{
	struct moe_diag d = {0};
	size_t before = s->r.n_sure;

	s->logit[id] = 9;
	expect_ok(&d, moe_reply_next(&s->r, &s->g, s->logit, 0, &s->scratch, &d));
	s->logit[id] = 0;
	assert_int_equal(s->r.ids.id[s->r.ids.n - 1], id);
	assert_true(s->r.n_sure >= before && s->r.n_sure <= s->r.n_text);
	if (s->r.n_sure > before)
		memcpy(s->shown + before, s->r.text + before, s->r.n_sure - before);
	s->n_shown = s->r.n_sure;
	assert_true(!s->n_shown || !memcmp(s->shown, s->r.text, s->n_shown));
}

static struct moe_ids encode(struct moe_tokenizer *t, const char *text)
{
	struct moe_ids ids = {0};
	struct moe_diag d = {0};

	expect_ok(&d, moe_tokenizer_encode(t, text, strlen(text), false, &ids, &d));
	return ids;
}

static void expect_answer(const struct script *s, const char *text, enum moe_finish finish, const char *kind)
{
	struct moe_answer a = {0};

	moe_reply_answer(&s->r, &s->g, &a);
	if (strcmp(a.text, text) || a.n_text != strlen(text) || a.finish != finish)
		fail_msg("%s: \"%s\" (%d), expected \"%s\" (%d)", kind, a.text, (int)a.finish, text, (int)finish);
	assert_int_equal(a.ids.n, s->r.ids.n);
}

/* Says a text to the tokenizer of a kind. The answer must be what the ids are decoded to all together, special tokens too, up to the first stop string in
 * it. Returns whether there was one. */
static bool check_text(size_t kind, const char *text, const char *const *stop, size_t n_stop)
{
	struct moe_ids ids = encode(tokenizer[kind], text);
	struct moe_diag d = {0};
	struct script s;
	char *want = NULL, *first = NULL;
	size_t n = 0, cap = 0;

	expect_ok(&d, moe_tokenizer_decode(tokenizer[kind], ids.id, ids.n, false, &want, &n, &cap, &d));
	for (size_t i = 0; want && i < n_stop; i++) {
		char *hit = strstr(want, stop[i]);
		first = hit && (!first || hit < first) ? hit : first;
	}
	if (first)
		*first = 0;
	begin(&s, tokenizer[kind], stop, n_stop);
	for (size_t i = 0; i < ids.n && !s.r.done; i++)
		push(&s, ids.id[i]);
	expect_ok(&d, moe_reply_end(&s.r, &s.g, &d));
	expect_answer(&s, want ? want : "", first ? MOE_FINISH_STOP : MOE_FINISH_LENGTH, kinds[kind]);
	assert_true(s.n_shown <= s.r.n_text);
	end(&s);
	free(want);
	free(ids.id);
	return first != NULL;
}

/* Texts without a stop string come out as they are, whatever could have been the beginning of one. */
static void test_whole(void **state)
{
	static const char *const texts[] = {"plain", "a <|im_end and no more", "naïve 漢字 🙂 <|im", "###", "x\n\n#", ""};
	static const char *const stop[] = {"<|im_end|>", "####", "漢字漢"};

	(void)state;
	for (size_t k = 0; k < N_KINDS; k++)
		for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
			assert_false(check_text(k, texts[i], stop, 3));
}

/* Stop strings over token borders, inside a token, several of which the first in the text counts; nothing of them is ever shown. */
static void test_stop(void **state)
{
	static const char *const texts[] = {"One.<|im_end|>\nTwo", "<|im_end|>", "a <|im_e<|im_end|>b", "naïve 漢字 🙂漢字漢 x", "####<|im_end|>", "x <|im_end|####",
					    "ababac", "One two.\n\nThree"};
	static const char *const stop[] = {"<|im_end|>", "####", "漢字漢", "abac", ".\n\nThr"};

	(void)state;
	for (size_t k = 0; k < N_KINDS; k++) {
		size_t stopped = 0;
		for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
			stopped += check_text(k, texts[i], stop, 5);
		/* aria has a token "<|im", behind which it writes a blank */
		if (stopped < (k ? 6 : 4))
			fail_msg("%s: only %zu of the texts had a stop string", kinds[k], stopped);
	}
}

/* Every text and stop string over two letters: the answer is what strstr says, and it ends with the token that completes the stop string. */
static void test_all_short(void **state)
{
	struct moe_tokenizer *t = tokenizer[2];
	int32_t letter[2] = {moe_tokenizer_find(t, "a", 1), moe_tokenizer_find(t, "b", 1)};

	(void)state;
	for (unsigned word = 0; word < 14; word++) {
		unsigned length = word < 2 ? 1 : word < 6 ? 2 : 3, bits = word - (length == 1 ? 0 : length == 2 ? 2 : 6);
		char stop[4] = {0}, text[9] = {0};
		const char *stops[] = {stop}, *hit;
		for (unsigned i = 0; i < length; i++)
			stop[i] = "ab"[bits >> i & 1];
		for (unsigned bits8 = 0; bits8 < 256; bits8 += SLOW ? 5 : 1) {
			struct script s;
			unsigned n = 0;
			begin(&s, t, stops, 1);
			for (; n < 8 && !s.r.done; n++) {
				text[n] = "ab"[bits8 >> n & 1];
				text[n + 1] = 0;
				push(&s, letter[bits8 >> n & 1]);
				/* Shown: all but the longest end that the stop string begins with. */
				for (unsigned held = 0; !s.r.done && held < n + 1 - s.n_shown; held++)
					assert_true(held || !strncmp(text + s.n_shown, stop, n + 1 - s.n_shown));
			}
			hit = strstr(text, stop);
			assert_int_equal(s.r.done, hit != NULL);
			if (hit) {
				assert_int_equal(n, (size_t)(hit - text) + length);
				assert_true(s.r.n_text == (size_t)(hit - text) && !memcmp(s.r.text, text, s.r.n_text));
			}
			end(&s);
		}
	}
}

/* A special token, which is no text, ends the answer when its name is a stop string; what the decoder held back until then is part of the answer. */
static void test_special_stop(void **state)
{
	static const struct { size_t kind; const char *token; } cases[] = {{0, "<|endoftext|>"}, {1, "<eos>"}, {2, "<|endoftext|>"}, {4, "</s>"}, {5, "<|im_end|>"}};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct moe_tokenizer *t = tokenizer[cases[i].kind];
		const char *stop[] = {cases[i].token};
		int32_t id = moe_tokenizer_find(t, cases[i].token, strlen(cases[i].token));
		for (int own = 0; own < 2; own++) {     /* as --stop, and as the family's */
			struct moe_ids ids = encode(t, "so: \xf0\x9f\xa6\x94\xe2\x9a\x97");
			struct script s;
			begin(&s, t, stop, own ? 0 : 1);
			if (own) {
				strcpy(s.spec.chat.stop.v[0], cases[i].token);
				s.spec.chat.stop.n = 1;
			}
			for (size_t j = 0; j < ids.n; j++)
				push(&s, ids.id[j]);
			assert_false(s.r.done);
			push(&s, id);
			assert_true(s.r.done);
			expect_answer(&s, "so: \xf0\x9f\xa6\x94\xe2\x9a\x97", MOE_FINISH_STOP, kinds[cases[i].kind]);
			assert_int_equal(s.n_shown, s.r.n_text);
			free(ids.id);
			end(&s);
		}
	}
}

/* An end token, and the limit of tokens, which may cut a character in two. */
static void test_ends(void **state)
{
	for (size_t k = 0; k < N_KINDS; k++) {
		struct moe_ids ids = encode(tokenizer[k], "so: \xf0\x9f\xa6\x94");
		struct script s;
		begin(&s, tokenizer[k], NULL, 0);
		s.spec.text.eos = (struct moe_ints){{moe_tokenizer_find(tokenizer[k], "a", 1)}, 1};
		for (size_t j = 0; j < ids.n; j++)
			push(&s, ids.id[j]);
		push(&s, (int32_t)s.spec.text.eos.v[0]);
		assert_true(s.r.done && s.r.finish == MOE_FINISH_END);
		expect_answer(&s, "so: \xf0\x9f\xa6\x94" "a", MOE_FINISH_END, kinds[k]);
		end(&s);
		begin(&s, tokenizer[k], NULL, 0);
		s.g.max_new = ids.n - 1;
		for (size_t j = 0; j + 1 < ids.n; j++)
			push(&s, ids.id[j]);
		assert_true(s.r.done && s.r.finish == MOE_FINISH_LENGTH);
		assert_int_equal(s.n_shown, s.r.n_text);
		assert_true(s.r.n_text >= 3 && !memcmp(s.r.text, "so:", 3) && moe_utf8_valid(s.r.text, s.r.n_text));
		free(ids.id);
		end(&s);
	}
	(void)state;
}

/* The penalty sees the prompt and the answer; log-probabilities are kept for every token. */
static void test_penalty_and_logprobs(void **state)
{
	struct moe_tokenizer *t = tokenizer[2];
	struct moe_answer a = {0};
	struct moe_diag d = {0};
	struct script s;
	double sum = 0;

	(void)state;
	begin(&s, t, NULL, 0);
	s.g.sampling.repetition_penalty = 2;
	s.g.logprobs = true;
	s.g.n_best = 2;
	s.logit[10] = 3;
	s.logit[20] = 2.5f;
	s.logit[30] = 2;
	expect_ok(&d, moe_reply_prompt(&s.r, &s.g, (int32_t[]){10, -1, 1 << 30}, 3, &d));
	for (int i = 0; i < 3; i++)
		expect_ok(&d, moe_reply_next(&s.r, &s.g, s.logit, 0, &s.scratch, &d));
	assert_true(s.r.ids.id[0] == 20 && s.r.ids.id[1] == 30 && s.r.ids.id[2] == 10);
	moe_reply_answer(&s.r, &s.g, &a);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(a.token[i].token, a.ids.id[i]);
		assert_true(a.best[2 * i].token == 10 && a.best[2 * i + 1].token == 20 && a.best[2 * i].logprob > a.best[2 * i + 1].logprob);
		sum += (double)a.token[i].logprob;
	}
	assert_true(sum == a.logprob && a.token[2].logprob == a.best[0].logprob);
	end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_whole), cmocka_unit_test(test_stop), cmocka_unit_test(test_all_short),
					   cmocka_unit_test(test_special_stop), cmocka_unit_test(test_ends), cmocka_unit_test(test_penalty_and_logprobs)};

	return cmocka_run_group_tests(tests, load, unload);
}
