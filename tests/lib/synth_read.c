/* The task `read`: its strings and their splits, pictures that depend on nothing but their number, and boxes that lie on the characters. */
#include <math.h>

#include "image/png.h"
#include "image/stb.h"
#include "synth/effects.h"
#include "synth/record.h"
#include "synth/strings.h"
#include "synth_data.h"

enum { STRINGS = SLOW ? 4000 : 20000, SAMPLES = SLOW ? 120 : 800 };

static int compare(const void *a, const void *b) { return strcmp(a, b); }

static void test_strings(void **state)
{
	static char string[STRINGS][MOE_LONGEST_STRING + 1];
	size_t used[128] = {0}, lengths[MOE_LONGEST_STRING + 1] = {0};
	struct moe_draw r = {.seed = 1};

	(void)state;
	for (size_t i = 0; i < STRINGS; i++) {
		char *s = string[i];
		assert_non_null(moe_string_draw(&r, MOE_SYNTH_TRAIN, s));
		lengths[strlen(s)]++;
		assert_true(*s && *s != ' ' && s[strlen(s) - 1] != ' ' && !strstr(s, "  ") && !strstr(s, "''"));
		for (const char *c = s; *c; c++) {
			assert_in_range(*c, 32, 126);
			used[(unsigned char)*c]++;
		}
		assert_true(!s[1] || moe_synth_is_of(MOE_SYNTH_TRAIN, "read", s));
	}
	for (size_t n = 1; n <= MOE_LONGEST_STRING; n++)
		assert_true(lengths[n] > STRINGS / 60);
	for (int c = 32; c < 127; c++)
		assert_true(used[c] > STRINGS / 600);
	/* What the other splits draw was never drawn here, but for single characters. */
	qsort(string, STRINGS, sizeof *string, compare);
	for (enum moe_synth_split split = MOE_SYNTH_DEV; split < MOE_N_SYNTH_SPLITS; split++)
		for (int i = 0; i < STRINGS / 8; i++) {
			char s[MOE_LONGEST_STRING + 1];
			moe_string_draw(&r, split, s);
			if (s[1] && bsearch(s, string, STRINGS, sizeof *string, compare))
				fail_msg("\"%s\" is in two splits", s);
		}
}

static void test_splits(void **state)
{
	size_t count[MOE_N_SYNTH_SPLITS] = {0};

	(void)state;
	for (int i = 0; i < 20000; i++) {
		char s[16];
		size_t all = 0;
		snprintf(s, sizeof s, "%d", i);
		for (enum moe_synth_split split = 0; split < MOE_SYNTH_UNSEEN; split++) {
			bool is = moe_synth_is_of(split, "read", s);
			count[split] += is;
			all += is;
		}
		assert_int_equal(all, 1);
		assert_int_equal(moe_synth_is_of(MOE_SYNTH_UNSEEN, "read", s), moe_synth_is_of(MOE_SYNTH_TEST, "read", s));
	}
	assert_true(abs((int)count[MOE_SYNTH_TEST] - 2000) < 150 && abs((int)count[MOE_SYNTH_DEV] - 1000) < 110 && abs((int)count[MOE_SYNTH_CALIB] - 1000) < 110);
	assert_int_equal(moe_synth_split_find("calib"), MOE_SYNTH_CALIB);
	assert_int_equal(moe_synth_split_find("none"), MOE_N_SYNTH_SPLITS);
	assert_true(moe_string_needs_line("oO") && moe_string_needs_line("-") && !moe_string_needs_line("on"));
	assert_true(moe_string_has_context("lower") && !moe_string_has_context("random"));
}

static const char *tag_of(const struct moe_synth_sample *p, const char *name)
{
	for (size_t i = 0; i < p->n_tags; i++)
		if (!strcmp(p->tag[i].name, name))
			return p->tag[i].value;
	fail_msg("no tag %s", name);
	return NULL;
}

/* Boxes stand for the characters in order, without spaces, inside the picture. */
static void check_boxes(const struct moe_synth_sample *p)
{
	const char *c = p->question[0].answer;
	size_t n = 0;

	for (; *c; c++) {
		const struct moe_synth_box *b = &p->box[n];
		if (*c == ' ')
			continue;
		assert_true(n < p->n_boxes);
		assert_true(b->label[0] == *c && !b->label[1]);
		if (!(b->x0 >= 0 && b->x0 < b->x1 && b->x1 <= p->width && b->y0 >= 0 && b->y0 < b->y1 && b->y1 <= p->height))
			fail_msg("\"%s\", %c: %g %g %g %g in %u x %u", p->question[0].answer, *c, b->x0, b->y0, b->x1, b->y1, p->width, p->height);
		n++;
	}
	assert_int_equal(n, p->n_boxes);
}

/* Where the characters are, something is to be seen: the luminances of the boxes' pixels differ by 30 at least. (Blur and noise take some of the 60.) */
static void check_contrast(const struct moe_synth_sample *p)
{
	double low = 255, high = 0;

	for (size_t i = 0; i < p->n_boxes; i++)
		for (size_t y = (size_t)p->box[i].y0; y < (size_t)ceil(p->box[i].y1); y++)
			for (size_t x = (size_t)p->box[i].x0; x < (size_t)ceil(p->box[i].x1); x++) {
				const uint8_t *c = p->rgb + 3 * (y * p->width + x);
				double v = 0.30 * c[0] + 0.59 * c[1] + 0.11 * c[2];
				low = fmin(low, v);
				high = fmax(high, v);
			}
	if (!(high - low > 30))
		fail_msg("\"%s\": luminance from %g to %g", p->question[0].answer, low, high);
}

static void test_samples(void **state)
{
	struct moe_diag d = {0};
	struct moe_synth_sample p;
	struct moe_fonts f;

	(void)state;
	load_fonts(&f);
	for (enum moe_synth_split split = 0; split < MOE_N_SYNTH_SPLITS; split += 2) {
		struct moe_synth *s = new_synth(&f, split);
		for (uint64_t i = 0; i < SAMPLES; i++) {
			expect_ok(&d, moe_synth_make(s, 7, i, only("read"), &p, &d));
			assert_string_equal(p.kind, "read");
			assert_int_equal(p.n_questions, 1);
			assert_string_equal(p.question[0].prompt, "<read>");
			assert_true(p.question[0].spell);
			assert_true(p.width >= 2 && p.height >= 2 && p.width <= 4096 && p.height <= 4096);
			assert_int_equal(atoi(tag_of(&p, "length")), strlen(p.question[0].answer));
			assert_string_equal(tag_of(&p, "group"), split == MOE_SYNTH_UNSEEN ? "liberation" : "vera");
			assert_true(split == MOE_SYNTH_UNSEEN || !strcmp(tag_of(&p, "colours"), "seen"));
			check_boxes(&p);
			check_contrast(&p);
		}
		moe_synth_free(s);
	}
	moe_fonts_free(&f);
}

/* A sample is the same whatever was made before it; another seed, number or split makes another one. */
static void test_identity(void **state)
{
	struct moe_diag d = {0};
	struct moe_synth_sample p, q;
	struct moe_synth *s, *t, *u;
	struct moe_fonts f;
	size_t same = 0;

	(void)state;
	load_fonts(&f);
	s = new_synth(&f, MOE_SYNTH_TRAIN);
	t = new_synth(&f, MOE_SYNTH_TRAIN);
	u = new_synth(&f, MOE_SYNTH_TEST);
	for (uint64_t i = 0; i < 40; i++) {
		expect_ok(&d, moe_synth_make(s, 7, i, only("read"), &p, &d));
		expect_ok(&d, moe_synth_make(t, 7, 39 - i, only("read"), &q, &d));
		expect_ok(&d, moe_synth_make(t, 7, i, only("read"), &q, &d));
		assert_true(p.width == q.width && p.height == q.height);
		assert_memory_equal(p.rgb, q.rgb, 3 * (size_t)p.width * p.height);
		assert_string_equal(p.question[0].answer, q.question[0].answer);
		expect_ok(&d, moe_synth_make(t, 8, i, only("read"), &q, &d));
		same += !strcmp(p.question[0].answer, q.question[0].answer);
		expect_ok(&d, moe_synth_make(u, 7, i, only("read"), &q, &d));
		same += !strcmp(p.question[0].answer, q.question[0].answer);
	}
	assert_true(same < 4);
	moe_synth_free(s);
	moe_synth_free(t);
	moe_synth_free(u);
	moe_fonts_free(&f);
}

/* Every record is what one thread makes, and the last batch is not full. */
static void test_producer(void **state)
{
	enum { COUNT = 150 };
	struct moe_diag d = {0};
	struct moe_fonts f;
	struct moe_producer_options o = {.fonts = &f, .seed = 1, .first = 5, .n = COUNT, .weight = only("read")};
	struct moe_producer *one, *three;
	struct moe_pool *pool = moe_pool_new(3);
	const struct moe_record *a, *b;

	(void)state;
	load_fonts(&f);
	expect_ok(&d, moe_producer_new(&one, &o, &d));
	o.pool = pool;
	expect_ok(&d, moe_producer_new(&three, &o, &d));
	for (int i = 0; i < COUNT; i++) {
		expect_ok(&d, moe_producer_next(one, &a, &d));
		expect_ok(&d, moe_producer_next(three, &b, &d));
		assert_true(a->n_png == b->n_png && a->n_json == b->n_json);
		assert_memory_equal(a->png, b->png, a->n_png);
		assert_memory_equal(a->json, b->json, a->n_json);
	}
	assert_int_equal(moe_producer_next(one, &a, &d), MOE_END);
	assert_int_equal(moe_producer_next(three, &b, &d), MOE_END);
	moe_producer_free(one);
	moe_producer_free(three);
	moe_pool_free(pool);
	moe_fonts_free(&f);
}

/* A list without a held group has nothing for `unseen`. */
static void test_no_fonts(void **state)
{
	struct moe_diag d = {0};
	struct moe_fonts f;
	struct moe_synth *s;

	(void)state;
	load_fonts(&f);
	for (size_t i = 0; i < f.n; i++)
		f.font[i].flags &= ~(unsigned)MOE_FONT_HELD;
	expect_fail(&d, moe_synth_new(&s, &f, MOE_SYNTH_UNSEEN, &d), MOE_EINPUT, "none for the split unseen");
	assert_null(s);
	moe_fonts_free(&f);
}

static void test_json(void **state)
{
	static const char expected[] = "{\"kind\": \"read\", \"tags\": {\"font\": \"a\"},\n"
		" \"questions\": [{\"type\": \"read\", \"prompt\": \"<read>\", \"answer\": \"\\\"\\\\\\u000a\", \"spell\": true},\n"
		"  {\"type\": \"colour\", \"prompt\": \"<ask> what?\", \"answer\": \" red\"}],\n"
		" \"boxes\": [[\"\", 0.00, 0.12, 1.00, 1.00]]}\n";
	struct moe_arena arena = {0};
	struct moe_diag d = {0};
	uint8_t rgb[3] = {1, 2, 3};
	struct moe_synth_sample p = {.arena = &arena, .kind = "read", .width = 1, .height = 1, .rgb = rgb};
	struct moe_record r = {0};
	struct moe_png *png;

	(void)state;
	moe_synth_tag(&p, "font", "a");
	moe_synth_ask(&p, "read", "<read>", "\"\\\n", true);
	moe_synth_ask(&p, "colour", "<ask> what?", " red", false);
	moe_synth_box(&p, "", 0, 0.125, 1, 1);
	expect_ok(&d, moe_png_new(&png, &d));
	expect_ok(&d, moe_record_write(&r, &p, png, &d));
	assert_int_equal(r.n_json, strlen(expected));
	assert_memory_equal(r.json, expected, r.n_json);
	moe_record_free(&r);
	moe_png_free(png);
	moe_arena_free(&arena);
}

/* What is written is what the toolkit's decoder reads, whatever the filters. */
static void test_png(void **state)
{
	struct moe_diag d = {0};
	struct moe_png *png;
	uint64_t random = 1;

	(void)state;
	expect_ok(&d, moe_png_new(&png, &d));
	for (int i = 0; i < 60; i++) {
		uint32_t w = i < 2 ? 1 : 1 + (uint32_t)(next_random(&random) % 90), h = i % 2 ? 1 : 1 + (uint32_t)(next_random(&random) % 50), have_w, have_h;
		uint8_t *rgb = malloc(3 * (size_t)w * h), *back;
		const uint8_t *file;
		unsigned channels;
		size_t n;
		for (size_t k = 0; k < 3 * (size_t)w * h; k++)
			rgb[k] = (uint8_t)(i % 3 == 0 ? next_random(&random) : i % 3 == 1 ? k / 7 : k / (3 * w) * 9);
		expect_ok(&d, moe_png_encode(png, rgb, w, h, &file, &n, &d));
		assert_null(moe_stb_decode(file, n, 1 << 24, &back, &have_w, &have_h, &channels));
		assert_true(have_w == w && have_h == h && channels == 3);
		assert_memory_equal(back, rgb, 3 * (size_t)w * h);
		moe_stb_free(back);
		free(rgb);
	}
	expect_fail(&d, moe_png_encode(png, (const uint8_t *)"", 0, 5, &(const uint8_t *){0}, &(size_t){0}, &d), MOE_EUSAGE, "0 x 5");
	moe_png_free(png);
}

static double mean_of(const struct moe_synth_sample *p)
{
	double sum = 0;

	for (size_t i = 0; i < 3 * (size_t)p->width * p->height; i++)
		sum += p->rgb[i];
	return sum / (3.0 * p->width * p->height);
}

/* Effects keep the mean, and do what they are called after. */
static void test_effects(void **state)
{
	enum { W = 40, H = 30 };
	static uint8_t rgb[H][W][3];
	struct moe_arena arena = {0};
	struct moe_diag d = {0};
	struct moe_synth_sample p = {.arena = &arena, .width = W, .height = H, .rgb = &rgb[0][0][0]};
	struct moe_draw r = {.seed = 1};
	double squares = 0;

	(void)state;
	memset(rgb, 100, sizeof rgb);
	moe_effect_noise(&p, &r, 5, false);
	for (size_t i = 0; i < sizeof rgb; i++)
		squares += ((&rgb[0][0][0])[i] - 100.0) * ((&rgb[0][0][0])[i] - 100.0);
	assert_true(fabs(mean_of(&p) - 100) < 0.5 && fabs(sqrt(squares / sizeof rgb) - 5) < 0.4);
	moe_effect_blur(&p, 1.5);
	assert_true(fabs(mean_of(&p) - 100) < 0.7);
	memset(rgb, 100, sizeof rgb);
	rgb[15][20][1] = 255;
	moe_effect_blur(&p, 1);
	assert_true(rgb[15][20][1] < 140 && rgb[15][21][1] > 105 && rgb[15][20][0] == 100 && rgb[15][25][1] == 100);
	memset(rgb, 100, sizeof rgb);
	moe_effect_slope(&p, 20, 0, (const double[3]){1, 0, 1});
	assert_true(rgb[0][0][0] < 82 && rgb[0][W - 1][0] > 118 && rgb[9][0][1] == 100);
	expect_ok(&d, moe_effect_jpeg(&p, 80, &d));
	assert_true(fabs(mean_of(&p) - 100) < 1.5 && rgb[0][0][0] < 90);
	moe_arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_strings), cmocka_unit_test(test_splits), cmocka_unit_test(test_samples), cmocka_unit_test(test_identity), cmocka_unit_test(test_producer),
		cmocka_unit_test(test_no_fonts), cmocka_unit_test(test_json), cmocka_unit_test(test_png), cmocka_unit_test(test_effects),
	};

	return cmocka_run_group_tests_name("synth_read", tests, NULL, NULL);
}
