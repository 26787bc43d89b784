/* The task `panel`: every answer is found again from hands, needles, fillings and boxes; distance from the borders between answers; splits, balance, words,
 * boxes, and what is seen in the picture itself. */
#include <math.h>

#include "synth/panel.h"
#include "synth_data.h"

enum { SAMPLES = SLOW ? 300 : 2400, LIGHTS = SLOW ? 100 : 4000 };

static const char *const rank[] = {"first", "second", "third", "fourth"};

static void make(struct moe_panel *panel, struct moe_synth *s, uint64_t i, struct moe_synth_sample *p)
{
	struct moe_diag d = {0};
	struct moe_draw r = {.seed = 3, .stream = i};

	moe_arena_reset(&s->arena);
	*p = (struct moe_synth_sample){.arena = &s->arena};
	expect_ok(&d, moe_panel_make(panel, s, &r, p, &d));
	assert_false(p->no_memory);
}

static void expect_answer(const struct moe_synth_sample *p, size_t k, const char *type, const char *answer, bool spell)
{
	const struct moe_synth_question *q = &p->question[k];

	assert_true(k < p->n_questions);
	if (strcmp(q->type, type) || strcmp(q->answer, answer) || q->spell != spell)
		fail_msg("%s: %s is answered \"%s\", expected %s, \"%s\"", q->type, q->prompt, q->answer, type, answer);
}

static void hidden(const struct moe_synth_sample *p)
{
	assert_int_equal(p->n_boxes, 1);
	assert_string_equal(p->box[0].label, "");
	assert_true(p->box[0].x0 == 0 && p->box[0].y0 == 0 && fabs(p->box[0].x1 - p->width) < 1e-6 && fabs(p->box[0].y1 - p->height) < 1e-6);
}

/* The characters' boxes from left to right are the string; they do not overlap. The unit of a temperature has no label. */
static void check_display(const struct moe_panel *panel, const struct moe_synth_sample *p)
{
	char text[16];
	size_t n = p->n_boxes;

	if (panel->display.what == MOE_PANEL_TEMPERATURE)
		assert_string_equal(p->box[--n].label, "");
	for (size_t i = 0; i < n; i++) {
		assert_true(p->box[i].label[0] && !p->box[i].label[1]);
		text[i] = p->box[i].label[0];
		assert_true(!i || p->box[i].x0 > p->box[i - 1].x0);
	}
	text[n] = 0;
	assert_int_equal(p->n_questions, 1);
	expect_answer(p, 0, "display", text, true);
	assert_true(n >= 1 && n <= 8 && text[strspn(text, "0123456789.:-")] == 0 && !strchr(text + 1, '-') && text[n - 1] != '.');
	assert_true((strchr(text, ':') != NULL) == (panel->display.what == MOE_PANEL_TIME));
}

static void check_clock(const struct moe_panel *panel, const struct moe_synth_sample *p)
{
	int minute = (int)lround(panel->clock.minute_hand * 60), hour = (int)floor(panel->clock.hour_hand * 12 + 1e-9);
	char text[16];

	hidden(p);
	assert_true(fabs(panel->clock.hour_hand * 12 - hour - panel->clock.minute_hand) < 1e-9);   /* the hour hand stands where it should */
	assert_true(fabs(panel->clock.minute_hand * 60 - minute) < 1e-9);
	snprintf(text, sizeof text, "%d:%02d", hour ? hour : 12, minute);
	assert_int_equal(p->n_questions, 1);
	expect_answer(p, 0, minute % 5 ? "clock-minute" : "clock", text, true);
}

static void check_gauge(const struct moe_panel *panel, const struct moe_synth_sample *p)
{
	const struct moe_panel_gauge *g = &panel->gauge;
	double nearest = floor(g->shown + 0.5);
	char text[16];

	hidden(p);
	assert_true(g->shown >= 0 && g->shown <= g->n_ticks - 1 && fabs(g->shown - nearest) <= 0.3);
	snprintf(text, sizeof text, "%g", g->low + g->step * nearest);
	assert_int_equal(p->n_questions, 1);
	expect_answer(p, 0, "gauge", text, true);
}

/* The share of what is full, by the boxes. */
static double filled(const struct moe_synth_sample *p, bool vertical)
{
	double full = 0, all = 0;

	for (size_t i = 0; i < p->n_boxes; i++) {
		const struct moe_synth_box *b = &p->box[i];
		double length = vertical ? b->y1 - b->y0 : b->x1 - b->x0;
		bool is_full = strcmp(b->label, " full") == 0;
		assert_true(is_full || strcmp(b->label, " empty") == 0);
		full += is_full ? length : 0;
		all += length;
	}
	return full / all;
}

static void check_bar(const struct moe_panel *panel, const struct moe_synth_sample *p)
{
	double shown = 100 * filled(p, panel->bar.vertical);
	int percent = 5 * (int)lround(shown / 5);
	char text[16];

	assert_true(fabs(shown - panel->bar.shown) < 0.05 && fabs(shown - percent) <= 1.05);    /* 2.5 is the border, a fifth of a step is 1 */
	snprintf(text, sizeof text, "%d%%", percent);
	assert_int_equal(p->n_questions, 1);
	expect_answer(p, 0, "bar", text, true);
	for (size_t i = 1; i < p->n_boxes && panel->bar.segments; i++)          /* from the left or the bottom */
		assert_true(panel->bar.vertical ? p->box[i].y1 < p->box[i - 1].y0 : p->box[i].x0 > p->box[i - 1].x1);
}

static double brightness(const struct moe_synth_sample *p, double x, double y)
{
	const uint8_t *pixel = p->rgb + 3 * ((size_t)y * p->width + (size_t)x);

	return fmax(pixel[0], fmax(pixel[1], pixel[2]));
}

static void check_lights(const struct moe_panel *panel, const struct moe_synth_sample *p)
{
	unsigned n = panel->lights.n, on = 0, colours = 0;
	char text[40];

	assert_int_equal(p->n_boxes, n);
	for (unsigned i = 0; i < n; i++) {
		const struct moe_synth_box *b = &p->box[i];
		bool lit = strcmp(b->label, " off") != 0;
		on += lit;
		assert_true(!i || b->x0 > p->box[i - 1].x1);
		assert_true((brightness(p, (b->x0 + b->x1) / 2, (b->y0 + b->y1) / 2) > 160) == lit);
	}
	snprintf(text, sizeof text, "%u", on);
	expect_answer(p, 0, "light-count", text, true);
	for (size_t k = 1; k < p->n_questions; k++) {
		const char *prompt = p->question[k].prompt;
		unsigned i = 0;
		while (n > 1 && i < n && !strstr(prompt, rank[i]))
			i++;
		assert_true(i < n && (n > 1 || strstr(prompt, "the light")));
		bool lit = strcmp(p->box[i].label, " off") != 0;
		if (strstr(prompt, "what colour is the")) {
			assert_true(lit);
			expect_answer(p, k, "light-colour", p->box[i].label, false);
			colours++;
		} else {
			assert_true(strstr(prompt, "<ask> is the ") == prompt);
			expect_answer(p, k, "light-on", lit ? " yes" : " no", false);
		}
	}
	assert_int_equal(colours, on < 2 ? on : 2);
}

static void check_split(const struct moe_panel *panel, enum moe_synth_split split, struct moe_synth_sample *p)
{
	const char *key = moe_panel_key(p, panel);
	bool held = !moe_panel_style_name(panel->device, panel->style + 1);
	unsigned of = 0;

	assert_true(held == (split == MOE_SYNTH_UNSEEN));
	if (!key) {     /* one digit */
		assert_true(panel->device == MOE_PANEL_DISPLAY && !panel->display.text[1]);
		return;
	}
	for (enum moe_synth_split other = 0; other < MOE_SYNTH_UNSEEN; other++)
		of |= (unsigned)moe_synth_is_of(other, moe_panel_device_name(panel->device), key) << other;
	assert_int_equal(of, 1u << (split == MOE_SYNTH_UNSEEN ? MOE_SYNTH_TEST : split));
}

static void test_answers(void **state)
{
	static void (*const check[])(const struct moe_panel *, const struct moe_synth_sample *) = {check_display, check_clock, check_gauge, check_bar, check_lights};
	struct moe_fonts fonts;
	char *words = moe_synth_words();

	(void)state;
	load_fonts(&fonts);
	for (enum moe_synth_split split = 0; split < MOE_N_SYNTH_SPLITS; split++) {
		struct moe_synth *s = new_synth(&fonts, split);
		size_t n = split == MOE_SYNTH_TRAIN ? SAMPLES : SAMPLES / 6, count[MOE_PANEL_DEVICES] = {0}, single = 0;
		for (uint64_t i = 0; i < n; i++) {
			struct moe_panel panel;
			struct moe_synth_sample p;
			make(&panel, s, i, &p);
			check_split(&panel, split, &p);
			expect_boxes(&p);
			check[panel.device](&panel, &p);
			count[panel.device]++;
			single += panel.device == MOE_PANEL_DISPLAY && !panel.display.text[1];
			for (size_t k = 0; k < p.n_questions; k++) {
				expect_words(words, p.question[k].prompt);
				if (!p.question[k].spell)
					expect_words(words, p.question[k].answer);
			}
			for (size_t k = 0; k < p.n_boxes; k++)
				if (p.box[k].label[0] == ' ')
					expect_words(words, p.box[k].label);
			assert_string_equal(p.tag[0].value, moe_panel_device_name(panel.device));
			assert_true(p.height >= 60 ? p.width >= 64 && p.width <= 400 : p.height >= 29 && p.width >= 3 * p.height);
		}
		for (int device = 0; device < MOE_PANEL_DEVICES; device++)
			assert_true(SLOW || count[device] > n / 17);
		assert_true(SLOW || single < count[MOE_PANEL_DISPLAY] / 4);     /* in small splits, too */
		moe_synth_free(s);
	}
	moe_fonts_free(&fonts);
	free(words);
}

static void test_balance(void **state)
{
	struct moe_fonts fonts;
	struct moe_synth *s;
	struct balance balance = {0};
	size_t n = 0;

	(void)state;
	load_fonts(&fonts);
	s = new_synth(&fonts, MOE_SYNTH_TRAIN);
	for (uint64_t i = 0; n < LIGHTS; i++) {
		struct moe_panel panel;
		struct moe_diag d = {0};
		struct moe_draw r = {.seed = 4, .stream = i};
		moe_arena_reset(&s->arena);
		struct moe_synth_sample p = {.arena = &s->arena};
		expect_ok(&d, moe_panel_compose(&panel, s, &r, &p, &d));
		if (panel.device != MOE_PANEL_LIGHTS)
			continue;
		moe_panel_ask(&panel, &r, &p);
		for (size_t k = 0; k < p.n_questions; k++)
			balance_add(&balance, &p.question[k]);
		n++;
	}
	assert_int_equal(balance.n, 1);
	if (!SLOW)
		balance_expect(&balance, LIGHTS);
	moe_synth_free(s);
	moe_fonts_free(&fonts);
}

static void test_identity(void **state)
{
	(void)state;
	expect_identity("panel", MOE_SYNTH_CALIB, 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_answers), cmocka_unit_test(test_balance), cmocka_unit_test(test_identity)};

	return cmocka_run_group_tests_name("synth_panel", tests, NULL, NULL);
}
