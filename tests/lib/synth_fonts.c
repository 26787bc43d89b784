/* Fonts: the list and what is wrong with it, held out groups, characters that a design draws alike; draws. */
#include <math.h>

#include "synth_data.h"

static void test_list(void **state)
{
	struct moe_fonts f;
	size_t held = 0;

	(void)state;
	load_fonts(&f);
	assert_true(f.n >= 8);
	for (size_t i = 0; i < f.n; i++)
		held += (f.font[i].flags & MOE_FONT_HELD) != 0;
	assert_true(held > 0 && held < f.n);
	assert_string_equal(f.font[0].package, "fonts-dejavu-core");
	assert_string_equal(f.font[0].name, "DejaVuSans");
	assert_string_equal(f.font[0].group, "vera");
	moe_fonts_free(&f);
}

/* The line of a font that is there, with changes. */
static void expect_refused(const char *text, enum moe_err code, const char *part)
{
	struct moe_diag d = {0};
	struct moe_fonts f;
	const char *path = scratch("fonts.tsv");

	write_bytes(path, text, strlen(text));
	expect_fail(&d, moe_fonts_load(&f, path, &d), code, part);
	assert_null(f.font);
}

static void test_refused(void **state)
{
	static const char sum[] = "0d977336a6d5fba34eab8e3199eb218327161b5143749f802982c2bc34df0c96";
	static const char bold[] = "/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf";
	struct moe_diag d = {0};
	struct moe_fonts f;
	char text[2000];

	(void)state;
	expect_fail(&d, moe_fonts_load(&f, "/nonexistent/list", &d), MOE_EIO, "/nonexistent/list");
	expect_refused("", MOE_EINPUT, "no font is listed");
	expect_refused("# nothing\n", MOE_EINPUT, "no font is listed");
	expect_refused("a\tb\n", MOE_EINPUT, "line 1: expected package");
	snprintf(text, sizeof text, "#\nfonts-none\t/nonexistent/None.ttf\t%s\tg\t-\n", sum);
	expect_refused(text, MOE_EIO, "`apt-get install fonts-none`");
	snprintf(text, sizeof text, "a\t/nonexistent/None.ttf\t%s\tg\t-\na\t/nonexistent/2\t%s\tg\t-\nb\t/nonexistent/3\t%s\tg\t-\n", sum, sum, sum);
	expect_refused(text, MOE_EIO, "None.ttf is not there; `apt-get install a b` installs it");
	snprintf(text, sizeof text, "p\t%s\t%.63s0\tg\t-\n", bold, sum);
	expect_refused(text, MOE_EIO, "has other bytes");
	snprintf(text, sizeof text, "p\t%s\t%s\tg\tbold,fat\n", bold, sum);
	expect_refused(text, MOE_EINPUT, "line 1: flags");
	snprintf(text, sizeof text, "p\t%s\t%s\tg\tbold\textra\n", bold, sum);
	expect_refused(text, MOE_EINPUT, "separated by tabs");
	snprintf(text, sizeof text, "p\trelative.ttf\t%s\tg\tbold\n", sum);
	expect_refused(text, MOE_EINPUT, "line 1");
	snprintf(text, sizeof text, "p\t%s\t%s\tg\theld\np\t%s\t%s\tg\tbold\n", bold, sum, bold, sum);
	expect_refused(text, MOE_EINPUT, "is held out and");
	snprintf(text, sizeof text, "p\t%s\t%s\tg\t-\n", SMALL_LIST, sum);
	expect_refused(text, MOE_EINPUT, "line 1");
	snprintf(text, sizeof text, "p\t%s\te3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\tg\t-\n", scratch("empty.ttf"));
	write_bytes(scratch("empty.ttf"), "", 0);
	expect_refused(text, MOE_EINPUT, "not a font");
}

static const struct moe_font *named(const struct moe_fonts *f, const char *name)
{
	for (size_t i = 0; i < f->n; i++)
		if (!strcmp(f->font[i].name, name))
			return &f->font[i];
	fail_msg("no font %s", name);
	return NULL;
}

/* DejaVu Sans draws I and l as bars of almost one height; its fixed-width sister tells them apart. */
static void test_alike(void **state)
{
	const struct moe_font *sans, *mono;
	struct moe_fonts f;

	(void)state;
	load_fonts(&f);
	sans = named(&f, "DejaVuSans");
	mono = named(&f, "DejaVuSansMono");
	for (int c = MOE_FIRST_CHARACTER; c <= MOE_LAST_CHARACTER; c++) {
		if (moe_font_is_clear(sans, (char)c) != !strchr("Il", c))
			fail_msg("DejaVu Sans, %c", c);
		assert_true(moe_font_is_clear(mono, (char)c));
		assert_false(moe_font_has_twin(sans, (char)c));
	}
	assert_true(moe_font_is_clear(sans, ' '));
	assert_true(moe_font_has_twin(sans, '\n'));
	assert_false(moe_font_is_clear(sans, (char)0xe4));
	moe_fonts_free(&f);
}

static void test_faces(void **state)
{
	struct moe_diag d = {0};
	struct moe_faces *faces;
	struct moe_fonts f;

	(void)state;
	load_fonts(&f);
	expect_ok(&d, moe_faces_new(&faces, &f, &d));
	for (size_t i = 0; i < f.n; i++) {
		assert_non_null(moe_face_get(faces, &f.font[i]));
		assert_true(moe_face_glyph(faces, &f.font[i], 'A') > 0);
		assert_true(fabs(moe_face_kerning(faces, &f.font[i], 'A', 'V')) < 0.3);
	}
	assert_true(moe_face_kerning(faces, named(&f, "DejaVuSans"), 'A', 'V') < 0);
	moe_faces_free(faces);
	moe_fonts_free(&f);
}

/* Groups that are held out serve the split `unseen` and no other. */
static void test_choice(void **state)
{
	struct moe_fonts f;

	(void)state;
	load_fonts(&f);
	for (enum moe_synth_split split = 0; split < MOE_N_SYNTH_SPLITS; split++) {
		struct moe_synth *s = new_synth(&f, split);
		struct moe_draw r = {.seed = 3};
		for (int i = 0; i < 300; i++) {
			unsigned flags = moe_synth_font(s, &r, i % 2 ? MOE_FONT_MONO : 0, i % 3 ? MOE_FONT_BOLD : 0)->flags;
			assert_int_equal(!(flags & MOE_FONT_HELD), split != MOE_SYNTH_UNSEEN);
			assert_true(i % 2 == 0 || flags & MOE_FONT_MONO);
			assert_true(i % 3 == 0 || !(flags & MOE_FONT_BOLD));
		}
		assert_non_null(moe_synth_font(s, &r, MOE_FONT_MONO, MOE_FONT_MONO));   /* none fits: any */
		moe_synth_free(s);
	}
	moe_fonts_free(&f);
}

static void test_draws(void **state)
{
	static const double weight[4] = {0, 1, 0, 3};
	struct moe_draw r = {.seed = 1, .stream = 2}, again = r;
	double sum = 0, squares = 0;
	size_t count[4] = {0};
	int order[5] = {0, 1, 2, 3, 4}, seen = 0;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		double x = moe_draw_normal(&r);
		sum += x;
		squares += x * x;
		count[moe_draw_weighted(&r, weight, 4)]++;
		assert_true(moe_draw_below(&r, 7) < 7);
		assert_in_range(moe_draw_between(&r, 3, 5), 3, 5);
	}
	assert_true(fabs(sum / 20000) < 0.03 && fabs(squares / 20000 - 1) < 0.05);
	assert_true(count[0] == 0 && count[2] == 0 && count[1] > 4700 && count[1] < 5300);
	moe_draw_shuffle(&r, order, 5, sizeof *order);
	for (int i = 0; i < 5; i++)
		seen |= 1 << order[i];
	assert_int_equal(seen, 31);
	assert_true(moe_draw_u64(&again) == moe_draw_u64(&(struct moe_draw){.seed = 1, .stream = 2}));
	assert_true(moe_draw_u64(&again) != moe_draw_u64(&(struct moe_draw){.seed = 1, .stream = 2}));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_list), cmocka_unit_test(test_refused), cmocka_unit_test(test_alike),
		cmocka_unit_test(test_faces), cmocka_unit_test(test_choice), cmocka_unit_test(test_draws),
	};

	return cmocka_run_group_tests_name("synth_fonts", tests, NULL, scratch_remove);
}
