/* Packing: labels of patches from boxes, rows and targets of questions, limits, colours. */
#include "data_made.h"

#include <math.h>

#include "data/packer.h"
#include "data/words.h"
#include "image/feed.h"

enum { PAD, READ, IMAGE, UNK, EOS };
#define ID(c) ((int32_t)(c) - 32 + 5)   /* the character's token */

static struct moe_tokenizer *tokenizer;
static struct moe_decoder *decoder;
static struct moe_fit fit = {.grid = {{4, 16}, {8, 8}}, .n_grids = 2, .patch_height = 8, .patch_width = 8, .filter = MOE_BICUBIC,
			     .pad = MOE_FIT_PAD_BORDER_MEDIAN, .mean = {127.5f, 127.5f, 127.5f}, .std = {127.5f, 127.5f, 127.5f}};
static struct moe_packer packer = {.fit = &fit, .prompt = "<image><read>", .eos = EOS, .pad = PAD, .placeholder = IMAGE, .most_text = 64};

static int begin(void **state)
{
	struct moe_diag d = {0};
	struct moe_decode_options o = {0};
	size_t n;
	uint8_t *json;

	(void)state;
	expect_ok(&d, moe_feed_server_start(&d));
	json = read_bytes("share/models/read/tokenizer.json", &n);
	expect_ok(&d, moe_tokenizer_load(&tokenizer, (const char *)json, n, &d));
	free(json);
	expect_ok(&d, moe_decoder_new(&decoder, &o, &d));
	packer.tokenizer = tokenizer;
	return 0;
}

static int end(void **state)
{
	moe_tokenizer_free(tokenizer);
	moe_decoder_free(decoder);
	return scratch_remove(state);
}

/* A box of which nothing more is said than its label and its edges. */
#define BOX(LABEL, X0, Y0, X1, Y1) {.label = (LABEL), .x0 = (X0), .y0 = (Y0), .x1 = (X1), .y1 = (Y1)}

/* A picture of 128 x 32 lies on the canvas as it is: patches are its squares of 8. */
static void test_labels(void **state)
{
	const struct moe_box box[] = {
		BOX("A", 0, 0, 8, 8),              /* patch 0, exactly */
		BOX("B", 13, 0, 30, 8),            /* touches 1, holds the centre of 2, and of 3 (24..32, centre 28) */
		BOX("C", 26, 3, 29, 5),            /* in front, on 3's centre */
		BOX("", 48, 8, 56, 16),            /* hides patch (1, 6) */
		BOX("D", 60, 8, 60, 16),           /* empty: touches nothing */
		BOX("E", 50, 10, 53, 14),          /* over the hidden one, on its centre */
		BOX("F", 64, 16, 67, 19),          /* touches (2, 8) alone */
		BOX("G", -100, 24, 4, 100),        /* over the edge; its right side is the centre, which it does not hold */
		BOX("H", 124, 24, 400, 400),       /* its left side is the centre of the last patch, which it holds */
		BOX("", 124.5, 28, 200, 32),       /* only touches it */
	};
	struct moe_diag d = {0};
	int32_t label[64], want[64] = {0};

	(void)state;
	want[0] = ID('A');
	want[1] = -1;
	want[2] = ID('B');
	want[3] = ID('C');
	want[16 + 6] = ID('E');
	want[32 + 8] = -1;
	want[48] = -1;
	want[63] = ID('H');
	expect_ok(&d, moe_packer_labels(label, &packer, 0, 128, 32, box, sizeof box / sizeof *box, &d));
	assert_memory_equal(label, want, sizeof want);
	want[16 + 6] = -1;
	expect_ok(&d, moe_packer_labels(label, &packer, 0, 128, 32, box, 5, &d));
	assert_int_equal(label[16 + 6], -1);
	expect_ok(&d, moe_packer_labels(label, &packer, 0, 128, 32, NULL, 0, &d));
	for (int i = 0; i < 64; i++)
		assert_int_equal(label[i], PAD);
	expect_fail(&d, moe_packer_labels(label, &packer, 0, 128, 32, &(struct moe_box)BOX("AB", 0, 0, 1, 1), 1, &d), MOE_EINPUT, "\"AB\" of a box is no token");
}

/* Boxes go with the picture: 64 x 8 becomes 128 x 16 in the middle rows; 32 x 32 becomes 64 x 64 on the second grid. */
static void test_labels_move(void **state)
{
	struct moe_diag d = {0};
	int32_t label[64];

	(void)state;
	expect_ok(&d, moe_packer_labels(label, &packer, 0, 64, 8, &(struct moe_box)BOX("A", 8, 0, 12, 4), 1, &d));
	for (int i = 0; i < 64; i++)
		assert_int_equal(label[i], i == 16 + 2 ? ID('A') : PAD);
	assert_int_equal(moe_fit_choose(&fit, 32, 32), 1);
	expect_ok(&d, moe_packer_labels(label, &packer, 1, 32, 32, &(struct moe_box)BOX("A", 8, 28, 12, 32), 1, &d));
	for (int i = 0; i < 64; i++)
		assert_int_equal(label[i], i == 7 * 8 + 2 ? ID('A') : PAD);
}

static struct moe_sample crop(const struct moe_question *q, size_t n)
{
	static uint8_t *bytes;
	static size_t n_bytes;

	if (!bytes)
		bytes = read_bytes("tests/golden/crops/003.png", &n_bytes);
	return (struct moe_sample){.name = "here/003", .kind = "read", .question = (struct moe_question *)(uintptr_t)q, .n_questions = n, .picture = bytes, .n_picture = n_bytes};
}

static void test_rows(void **state)
{
	const struct moe_question q = {"read", NULL, "v1 ", true};
	struct moe_sample s = crop(&q, 1);
	struct moe_packing p = {0};
	struct moe_diag d = {0};
	const int32_t token[] = {READ, ID('v'), ID('1'), ID(' ')}, target[] = {ID('v'), ID('1'), ID(' '), EOS}, segment[4] = {0};
	uint8_t *canvas = malloc(32 * 128 * 3);
	struct moe_picture in;
	float *pixel = malloc(32 * 128 * 3 * sizeof *pixel), *planes = malloc(32 * 128 * 3 * sizeof *planes);

	(void)state;
	expect_ok(&d, moe_packer_run(&p, &packer, &s, NULL, 1, decoder, &d));
	assert_int_equal(p.packed.n_text, 4);
	assert_memory_equal(p.packed.token, token, sizeof token);
	assert_memory_equal(p.packed.target, target, sizeof target);
	assert_memory_equal(p.packed.segment, segment, sizeof segment);
	assert_true(p.packed.weight[0] == 1 && p.packed.weight[3] == 1);
	assert_int_equal(p.n_questions, 1);
	assert_int_equal(p.question[0].n_prompt, 1);
	assert_null(p.packed.label);
	/* The planes are those that inference makes. */
	expect_ok(&d, moe_decoder_run(decoder, s.picture, s.n_picture, &in, &d));
	assert_int_equal(moe_fit_choose(&fit, in.width, in.height), 0);
	expect_ok(&d, moe_fit_canvas(&fit, 0, &in, canvas, &d));
	moe_fit_patches(&fit, 0, canvas, pixel);
	moe_planes_from_patches(planes, pixel, &(struct moe_patching){4, 16, 3, 8, 8});
	assert_int_equal(p.packed.rows * p.packed.columns, 64);
	assert_memory_equal(planes, p.packed.planes, 32 * 128 * 3 * sizeof *planes);
	free(in.rgb);
	free(canvas);
	free(pixel);
	free(planes);
	moe_packing_free(&p);
}

/* Whole questions only, in an order of the key; weights by type. */
static void test_limits(void **state)
{
	struct moe_question q[8];
	const struct moe_type_weight weight[] = {{"odd", 0.5}, {"even", 2}};
	struct moe_packer few = packer;
	struct moe_sample s;
	struct moe_packing p = {0};
	struct moe_diag d = {0};
	size_t orders = 0;

	(void)state;
	for (int i = 0; i < 8; i++)
		q[i] = (struct moe_question){i % 2 ? "odd" : "even", "<read>", (const char *[]){"a", "bb", "ccc", "dddd", "e", "ff", "ggg", "hhhhhhhhhhhhhhhhhhhh"}[i], true};
	s = crop(q, 8);
	few.most_text = 12;
	few.weight = weight;
	few.n_weights = 2;
	for (uint64_t key = 0; key < 50; key++) {
		size_t rows = 0, seen = 0;
		expect_ok(&d, moe_packer_run(&p, &few, &s, NULL, key, decoder, &d));
		assert_true(p.packed.n_text <= 12 && p.n_questions >= 2);
		assert_int_equal(p.n_questions + p.left_out, 8);
		for (size_t i = 0; i < p.n_questions; i++) {
			const struct moe_packed_question *k = &p.question[i];
			assert_int_equal(k->first, rows);
			assert_int_equal(k->n, 1 + strlen(q[k->index].answer));
			assert_string_equal(k->type, q[k->index].type);
			for (size_t r = k->first; r < k->first + k->n; r++) {
				assert_int_equal(p.packed.segment[r], i);
				assert_true(p.packed.weight[r] == (k->index % 2 ? 0.5f : 2));
			}
			rows += k->n;
			assert_false(seen >> k->index & 1);
			seen |= (size_t)1 << k->index;
		}
		assert_int_equal(rows, p.packed.n_text);
		orders |= (size_t)1 << p.question[0].index;
	}
	assert_int_equal(orders, 0x7f);         /* each but the long one was first */
	s = crop(&q[7], 1);
	expect_fail(&d, moe_packer_run(&p, &few, &s, NULL, 0, decoder, &d), MOE_EINPUT, "here/003: no question fits into 12 rows");
	moe_packing_free(&p);
}

static void test_refused(void **state)
{
	static const struct { struct moe_question q; const char *says; } rows[] = {
		{{"r", "<read>", "caf\xc3\xa9", true}, "what the vocabulary lacks"}, {{"r", "<read>", "a<eos>", false}, "special token"},
		{{"r", "<read><image>", "a", true}, "has a picture in it"},
	};
	static const char *const says[] = {"here/003: ", "without a prompt", "takes none"};
	struct moe_packer none = packer;
	struct moe_packing p = {0};
	struct moe_sample s;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct moe_diag d = {0};
		s = crop(&rows[i].q, 1);
		expect_fail(&d, moe_packer_run(&p, &packer, &s, NULL, 0, decoder, &d), MOE_EINPUT, rows[i].says);
		assert_non_null(strstr(say(&d), "here/003: "));
	}
	for (int i = 0; i < 3; i++) {
		const struct moe_question q = {"r", NULL, "a<eos>", true};
		struct moe_diag d = {0};
		s = crop(&q, 1);
		none.prompt = i == 1 ? "" : "<read>";
		if (i == 2)
			none.fit = NULL;
		s.n_picture = i ? s.n_picture : 100;
		expect_fail(&d, moe_packer_run(&p, &none, &s, NULL, 0, decoder, &d), i == 2 ? MOE_EMATCH : MOE_EINPUT, says[i]);
	}
	moe_packing_free(&p);
}

/* Colours are a function of the key; shape and labels stay; without them nothing changes. */
static void test_colours(void **state)
{
	const struct moe_question q = {"read", NULL, "x", true};
	const struct moe_augment all = {true, true, 0.2, 20}, turn = {.permute = true};
	struct moe_sample s = crop(&q, 1);
	struct moe_packing a = {0}, b = {0};
	struct moe_diag d = {0};
	const size_t n = 32 * 128 * 3;
	double first = 0, least = 1;
	unsigned moved = 0;

	(void)state;
	s.labelled = true;
	expect_ok(&d, moe_packer_run(&a, &packer, &s, NULL, 7, decoder, &d));
	assert_int_equal(a.packed.label[0], PAD);
	for (uint64_t key = 0; key < 40; key++) {
		double sum = 0;
		expect_ok(&d, moe_packer_run(&b, &packer, &s, &all, key, decoder, &d));
		for (size_t i = 0; i < n; i++) {
			assert_true(fabsf(b.packed.planes[i]) <= 1);
			sum += (double)b.packed.planes[i];
		}
		first = key ? first : sum;
		moved += fabs(sum - first) > 1;
		least = fmin(least, sum / (double)n);
	}
	assert_true(moved > 30);
	expect_ok(&d, moe_packer_run(&a, &packer, &s, &all, 39, decoder, &d));
	assert_memory_equal(a.packed.planes, b.packed.planes, n * sizeof(float));
	for (uint64_t key = 0; key < 20; key++) {       /* planes change places whole */
		expect_ok(&d, moe_packer_run(&a, &packer, &s, NULL, key, decoder, &d));
		expect_ok(&d, moe_packer_run(&b, &packer, &s, &turn, key, decoder, &d));
		for (int c = 0; c < 3; c++) {
			unsigned found = 0;
			for (int k = 0; k < 3; k++)
				found += !memcmp(a.packed.planes + n / 3 * (size_t)c, b.packed.planes + n / 3 * (size_t)k, n / 3 * sizeof(float));
			assert_true(found >= 1);
		}
	}
	moe_packing_free(&a);
	moe_packing_free(&b);
}

/* Codes that are their places. */
static enum moe_err places(void *self, const float *planes, size_t rows, size_t columns, int32_t *code, struct moe_diag *d)
{
	(void)self, (void)planes, (void)d;
	for (size_t i = 0; i < rows * columns; i++)
		code[i] = (int32_t)i;
	return MOE_OK;
}

/* The vocabulary with <draw> where <read> was. */
static struct moe_tokenizer *that_draws(void)
{
	struct moe_tokenizer *t;
	struct moe_diag d = {0};
	size_t n;
	char *json = (char *)read_bytes("share/models/read/tokenizer.json", &n);

	for (char *at = json; (at = memmem(at, n - (size_t)(at - json), "<read>", 6));)
		memcpy(at, "<draw>", 6);
	expect_ok(&d, moe_tokenizer_load(&t, json, n, &d));
	free(json);
	return t;
}

/* <draw>, two letters, the picture's beginning, 64 codes, its end: what predicts a code that the box touches weighs more, be it the row before the first one. */
static void test_drawing(void **state)
{
	enum { BEGIN = 400, END, FIRST = 1000, BEFORE = 4, N = 64 };
	const struct moe_packer_tokens tokens = {.codes = places, .first = FIRST, .begin = BEGIN, .end = END, .draw = 1};
	const struct moe_type_weight weight[] = {{"draw", 0.5}, {"boxed", 3}};
	const struct moe_question q = {"caption", NULL, "ab", true};
	struct moe_box box[] = {BOX("A", 0, 0, 10, 6), BOX("", 20, 10, 24, 14)};
	struct moe_packer draws = packer;
	struct moe_sample s = crop(&q, 1);
	struct moe_packing p = {0};
	struct moe_picture in;
	struct moe_diag d = {0};
	int32_t label[N];
	int touched = 0;

	(void)state;
	expect_ok(&d, moe_decoder_run(decoder, s.picture, s.n_picture, &in, &d));
	expect_ok(&d, moe_packer_labels(label, &packer, 0, in.width, in.height, box, 2, &d));
	free(in.rgb);
	for (int i = 0; i < N; i++)
		touched += label[i] != PAD;
	assert_in_range(touched, 2, N / 2);
	assert_int_not_equal(label[0], PAD);
	draws.tokenizer = that_draws();
	draws.tokens = &tokens;
	draws.most_text = 128;
	draws.weight = weight;
	draws.n_weights = 2;
	s.box = box;
	s.n_boxes = 2;
	for (int labelled = 0; labelled < 2; labelled++) {
		s.labelled = labelled;
		expect_ok(&d, moe_packer_run(&p, &draws, &s, NULL, 1, decoder, &d));
		assert_int_equal(p.packed.n_text, BEFORE + N + 1);
		assert_int_equal(p.packed.token[BEFORE - 1], BEGIN);
		assert_int_equal(p.packed.token[BEFORE + N], END);
		for (int i = 0; i < BEFORE + N; i++) {
			int place = i + 1 - BEFORE;
			bool heavy = labelled && place >= 0 && place < N && label[place] != PAD;
			assert_int_equal(p.packed.target[i], place < 0 || place == N ? -1 : FIRST + place);
			assert_true(p.packed.weight[i] == (heavy ? 1.5f : 0.5f));
		}
	}
	moe_packing_free(&p);
	moe_tokenizer_free(draws.tokenizer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_labels), cmocka_unit_test(test_labels_move), cmocka_unit_test(test_rows), cmocka_unit_test(test_limits),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_colours), cmocka_unit_test(test_drawing),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
