/* A sequence that grows: in pieces of any sizes the same bits as at once; scores against the log-probabilities of the reference. */
#include <math.h>

#include "format/safetensors.h"
#include "lib_data.h"
#include "model/plan.h"
#include "run/score.h"

static struct moe_model *model;

static int open_model(void **state)
{
	struct moe_spec_options o = {.directory = "tests/golden/olmoe/model", .families = "share/families"};
	struct moe_diag d = {0};

	(void)state;
	return moe_model_open(&model, &o, &d) != MOE_OK;
}

static int close_model(void **state)
{
	(void)state;
	moe_model_close(model);
	return 0;
}

/* A reference file: its tensors. */
struct reference {
	uint8_t *bytes;
	struct moe_header h;
};

static void read_reference(struct reference *r, const char *name)
{
	struct moe_diag d = {0};
	char path[100];
	size_t n;

	*r = (struct reference){0};
	snprintf(path, sizeof path, "tests/golden/olmoe/cases/%s.safetensors", name);
	r->bytes = read_bytes(path, &n);
	expect_ok(&d, moe_safetensors_parse(&r->h, r->bytes, n, &d));
}

static void free_reference(struct reference *r)
{
	moe_header_free(&r->h);
	free(r->bytes);
}

static const void *tensor(const struct reference *r, const char *name, size_t *n)
{
	for (size_t i = 0; i < r->h.n_tensors; i++)
		if (!strcmp(r->h.tensor[i].name, name)) {
			*n = moe_tensor_count(&r->h.tensor[i]);
			return r->h.tensor[i].data;
		}
	fail_msg("there is no tensor %s", name);
	return NULL;
}

static void test_reference(void **state)
{
	static const char *const names[] = {"one", "short", "long"};

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct moe_text_score z = {0};
		struct moe_session s;
		struct moe_diag d = {0};
		struct reference r;
		size_t n, n_want;
		const int32_t *token;
		const float *want;
		double sum = 0, worst = 0;
		read_reference(&r, names[i]);
		token = tensor(&r, "token", &n);
		want = tensor(&r, "logprob", &n_want);
		assert_int_equal(n_want, n - 1);
		z.token_logprob = calloc(n, sizeof *z.token_logprob);
		expect_ok(&d, moe_session_init(&s, model, NULL, &d));
		expect_ok(&d, moe_score_run(&z, &s, token, n, &d));
		assert_int_equal(z.tokens, n);
		assert_int_equal(z.scored, n - 1);
		for (size_t t = 1; t < n; t++) {
			worst = fmax(worst, fabs((double)z.token_logprob[t] - (double)want[t - 1]));
			sum += (double)want[t - 1];
		}
		if (!(worst < 1e-4) || !(fabs(z.logprob - sum) < 1e-4 * (double)n))
			fail_msg("%s: off by %g, the sum is %g, expected %g", names[i], worst, z.logprob, sum);
		free(z.token_logprob);
		moe_session_free(&s);
		free_reference(&r);
	}
}

/* Logits of rows as they come, in one array. */
struct logits {
	float *v;
	size_t rows, before;    /* before: rows of the calls before this one */
};

static enum moe_err take(void *self, size_t first, size_t count, const float *logit, struct moe_diag *d)
{
	struct logits *l = self;
	size_t vocab = (size_t)model->spec->vocab;

	(void)d;
	assert_int_equal(l->before + first, l->rows);
	memcpy(l->v + l->rows * vocab, logit, count * vocab * sizeof *logit);
	l->rows += count;
	return MOE_OK;
}

static int32_t token_at(size_t i) { return (int32_t)(i * 37 % 611 + 2); }

/* n tokens in pieces of at most `piece`; the session may have been used. */
static void run_pieces(struct moe_session *s, size_t n, size_t piece, float *out)
{
	struct logits l = {.v = out};
	struct moe_diag d = {0};
	int32_t *token = calloc(n, sizeof *token);

	for (size_t i = 0; i < n; i++)
		token[i] = token_at(i);
	moe_session_clear(s);
	for (size_t from = 0; from < n; from += piece) {
		size_t count = n - from < piece ? n - from : piece;
		l.before = l.rows;
		expect_ok(&d, moe_session_extend(s, token + from, count, NULL, NULL, true, take, &l, &d));
	}
	assert_int_equal(l.rows, n);
	free(token);
}

/* Longer than a pass through the layers takes, so that rows are divided in any case. */
static void test_pieces(void **state)
{
	static const size_t piece[] = {1, 7, 128, MOE_PASS_ROWS - 1, MOE_PASS_ROWS + 1, 2 * MOE_PASS_ROWS};
	size_t n = SLOW ? MOE_PASS_ROWS + 40 : 2 * MOE_PASS_ROWS + 77, nbytes = n * (size_t)model->spec->vocab * sizeof(float);
	float *whole = malloc(nbytes), *parts = malloc(nbytes);
	struct moe_session s, threaded;
	struct moe_pool *pool = moe_pool_new(3);
	struct moe_diag d = {0};

	(void)state;
	expect_ok(&d, moe_session_init(&s, model, NULL, &d));
	expect_ok(&d, moe_session_init(&threaded, model, pool, &d));
	run_pieces(&s, n, n, whole);
	for (size_t i = SLOW ? 2 : 0; i < sizeof piece / sizeof *piece; i++) {
		memset(parts, 0, nbytes);
		run_pieces(i % 2 ? &threaded : &s, n, piece[i], parts);
		if (memcmp(whole, parts, nbytes))
			fail_msg("in pieces of %zu the logits are not the same", piece[i]);
	}
	moe_session_free(&s);
	moe_session_free(&threaded);
	moe_pool_free(pool);
	free(whole);
	free(parts);
}

static enum moe_err take_last(void *self, size_t first, size_t count, const float *logit, struct moe_diag *d)
{
	struct logits *l = self;

	assert_true(first == 8 && count == 1);
	(void)d;
	memcpy(l->v, logit, (size_t)model->spec->vocab * sizeof *logit);
	l->rows++;
	return MOE_OK;
}

/* The last row alone gives the logits that it has among all; and one must not be equal to another for the tests above to mean something. */
static void test_last_row(void **state)
{
	size_t vocab = (size_t)model->spec->vocab, n = 9;
	float *all = malloc(n * vocab * sizeof *all), *last = malloc(vocab * sizeof *last);
	struct logits l = {.v = last};
	struct moe_session s;
	struct moe_diag d = {0};
	int32_t token[9];

	(void)state;
	expect_ok(&d, moe_session_init(&s, model, NULL, &d));
	run_pieces(&s, n, n, all);
	assert_memory_not_equal(all + 7 * vocab, all + 8 * vocab, vocab * sizeof *all);
	for (size_t i = 0; i < n; i++)
		token[i] = token_at(i);
	moe_session_clear(&s);
	expect_ok(&d, moe_session_extend(&s, token, n, NULL, NULL, false, take_last, &l, &d));
	assert_int_equal(l.rows, 1);
	assert_memory_equal(last, all + 8 * vocab, vocab * sizeof *all);
	moe_session_free(&s);
	free(all);
	free(last);
}

/* No text, one token, a token that there is not. */
static void test_edges(void **state)
{
	struct moe_text_score z = {0};
	struct moe_session s;
	struct moe_diag d = {0};

	(void)state;
	expect_ok(&d, moe_session_init(&s, model, NULL, &d));
	expect_ok(&d, moe_score_run(&z, &s, NULL, 0, &d));
	assert_true(!z.tokens && !z.scored && z.logprob == 0);
	expect_ok(&d, moe_score_run(&z, &s, (int32_t[]){5}, 1, &d));
	assert_true(z.tokens == 1 && !z.scored && z.logprob == 0);
	moe_session_clear(&s);
	expect_fail(&d, moe_score_run(&z, &s, (int32_t[]){5, 700}, 2, &d), MOE_EINPUT, "outside the vocabulary of 700");
	moe_session_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_reference), cmocka_unit_test(test_pieces), cmocka_unit_test(test_last_row), cmocka_unit_test(test_edges)};

	return cmocka_run_group_tests(tests, open_model, close_model);
}
