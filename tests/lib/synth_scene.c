/* The task `scene`: every answer is found again by reading the question, with grammar and words of this test's own, and looking at the things of the scene;
 * what training must not see; balance, boxes, words. */
#include <math.h>

#include "synth/scene.h"
#include "synth_data.h"

enum { SAMPLES = SLOW ? 300 : 4000, DRAWN = SLOW ? 60 : 600, ANY = -1 };

static const char *const sizes[] = {"small", "large", NULL};
static const char *const colours[] = {"red", "green", "blue", "yellow", "purple", "orange", "pink", "white", "black", "grey", NULL};
static const char *const textures[] = {"plain", "striped", "dotted", "checked", NULL};
static const char *const nouns[] = {"circle", "square", "triangle", "star", "diamond", "cross", "ring", "heart", "digit", "letter", "object", NULL};
static const char *const cells[] = {"top left", "top", "top right", "left", "middle", "right", "bottom left", "bottom", "bottom right", NULL};

/* ---- a reader of questions ---- */

struct reader {
	const char *at;
	const struct moe_scene *scene;
	bool held;      /* a pair was named that training must not see */
};

struct seen { int size, colour, texture, kind; };

static int find(const char *const *list, const char *word, size_t n)
{
	for (int i = 0; list[i]; i++)
		if (strlen(list[i]) == n && strncmp(list[i], word, n) == 0)
			return i;
	return ANY;
}

/* Skips the text if it comes next, up to the end of a word. */
static bool next(struct reader *r, const char *text)
{
	size_t n = strlen(text);

	if (strncmp(r->at, text, n) || (r->at[n] && !strchr(" ?,", r->at[n])))
		return false;
	r->at += n + (r->at[n] == ' ');
	return true;
}

static struct seen read_noun(struct reader *r)
{
	struct seen s = {ANY, ANY, ANY, ANY};

	for (;;) {
		size_t n = strcspn(r->at, " ?,");
		int *slot[] = {&s.size, &s.colour, &s.texture}, noun = find(nouns, r->at, n);
		const char *const *list[] = {sizes, colours, textures};
		for (int i = 0; i < 3; i++)
			if (find(list[i], r->at, n) != ANY)
				*slot[i] = find(list[i], r->at, n);
		if (noun == ANY && r->at[n - 1] == 's')         /* plural */
			noun = strncmp(r->at, "crosses", n) ? find(nouns, r->at, n - 1) : 5;
		r->at += n + (r->at[n] == ' ');
		if (noun != ANY) {
			s.kind = noun == 10 ? ANY : noun;
			break;
		}
		assert_true(*r->at);
	}
	r->held |= s.colour != ANY && s.kind != ANY && moe_scene_is_held((unsigned)s.kind, (unsigned)s.colour);
	return s;
}

static bool is(const struct moe_scene_thing *t, const struct seen *s)
{
	return (s->size == ANY || s->size == (int)t->value[MOE_SCENE_SIZE]) && (s->colour == ANY || s->colour == (int)t->value[MOE_SCENE_COLOUR]) &&
		(s->texture == ANY || s->texture == (int)t->value[MOE_SCENE_TEXTURE]) && (s->kind == ANY || s->kind == (int)t->value[MOE_SCENE_KIND]);
}

static int number_of(struct reader *r)
{
	struct seen s = read_noun(r);
	int n = 0;

	for (size_t i = 0; i < r->scene->n; i++)
		n += is(&r->scene->thing[i], &s);
	return n;
}

/* "the ...": there must be exactly one. */
static const struct moe_scene_thing *the_thing(struct reader *r, const char *question)
{
	const struct moe_scene_thing *found = NULL;
	struct seen s;

	assert_true(next(r, "the"));
	s = read_noun(r);
	for (size_t i = 0; i < r->scene->n; i++)
		if (is(&r->scene->thing[i], &s)) {
			if (found)
				fail_msg("%s: there are several", question);
			found = &r->scene->thing[i];
		}
	if (!found)
		fail_msg("%s: there is none", question);
	return found;
}

static const struct moe_scene_thing *in_cell(struct reader *r)
{
	size_t n = strcspn(r->at, "?");
	int cell = find(cells, r->at, n);

	assert_true(cell != ANY);
	r->at += n;
	for (size_t i = 0; i < r->scene->n; i++) {
		const struct moe_scene_thing *t = &r->scene->thing[i];
		if ((int)(t->x / (64 / 3.0)) + 3 * (int)(t->y / (64 / 3.0)) == cell)
			return t;
	}
	return NULL;
}

static char *describe(char *to, const struct moe_scene_thing *t)
{
	to += sprintf(to, " %s %s", sizes[t->value[MOE_SCENE_SIZE]], colours[t->value[MOE_SCENE_COLOUR]]);
	if (t->value[MOE_SCENE_TEXTURE])
		to += sprintf(to, " %s", textures[t->value[MOE_SCENE_TEXTURE]]);
	return to + sprintf(to, " %s", nouns[t->value[MOE_SCENE_KIND]]);
}

static void caption(char *to, const struct moe_scene *scene)
{
	strcpy(to, " nothing");
	for (unsigned cell = 0; cell < 9; cell++)
		for (size_t i = 0; i < scene->n; i++) {
			const struct moe_scene_thing *t = &scene->thing[i];
			if (t->cell != cell)
				continue;
			to = describe(to + sprintf(to, "%s a", i ? "," : ""), t);
			if (t->text)
				to += sprintf(to, " %c", t->text);
			to += sprintf(to, " %s the %s", cell == 4 ? "in" : "at", cells[cell]);
		}
}

static bool relation(struct reader *r, const struct moe_scene_thing *a, const char *question)
{
	static const struct { const char *words; double x, y; } relations[] = {{"left of", -1, 0}, {"right of", 1, 0}, {"above", 0, -1}, {"below", 0, 1}};

	for (int i = 0; i < 4; i++)
		if (next(r, relations[i].words)) {
			const struct moe_scene_thing *b = the_thing(r, question);
			double way = (a->x - b->x) * relations[i].x + (a->y - b->y) * relations[i].y;
			assert_true(a != b && fabs(way) > 8);
			return way > 0;
		}
	bool larger = next(r, "larger");
	assert_true(larger || next(r, "smaller"));
	assert_true(next(r, "than"));
	const struct moe_scene_thing *b = the_thing(r, question);
	assert_true(fabs(a->radius - b->radius) > 2);
	return (a->radius > b->radius) == larger;
}

/* The answer to a question, and what type it is of; fails when it has none or several. */
static const char *answer(struct reader *r, const char *question, char *text)
{
	static const struct { const char *word, *type; enum moe_scene_attribute a; } attribute[] = {
		{"size", "size", MOE_SCENE_SIZE}, {"colour", "colour", MOE_SCENE_COLOUR}, {"texture", "texture", MOE_SCENE_TEXTURE}, {"shape", "shape", MOE_SCENE_KIND}};
	static const char *const *const words[] = {sizes, colours, textures, nouns};
	const struct moe_scene_thing *t;
	int n, m;

	r->at = question;
	if (next(r, "<describe>")) {
		caption(text, r->scene);
		return "caption";
	}
	assert_true(next(r, "<ask>"));
	if (next(r, "what is at the") || next(r, "what is in the")) {
		strcpy(text, " nothing");
		if ((t = in_cell(r)))
			describe(text, t);
		return "probe";
	}
	for (int kind = 8; kind < 10; kind++) {
		char start[2][40];
		sprintf(start[0], "what %s is at the", nouns[kind]);
		sprintf(start[1], "what %s is in the", nouns[kind]);
		if (next(r, start[0]) || next(r, start[1])) {
			t = in_cell(r);
			assert_true(t && (int)t->value[MOE_SCENE_KIND] == kind);
			sprintf(text, "%c", t->text);
			return nouns[kind];
		}
	}
	if (next(r, "what is")) {
		t = the_thing(r, question);
		assert_true(t->text);
		sprintf(text, "%c", t->text);
		return nouns[t->value[MOE_SCENE_KIND]];
	}
	if (next(r, "what"))
		for (int i = 0; i < 4; i++)
			if (next(r, attribute[i].word)) {
				assert_true(next(r, "is"));
				t = the_thing(r, question);
				assert_true(!t->text || attribute[i].a < MOE_SCENE_TEXTURE);
				sprintf(text, " %s", words[i == 3 ? 3 : i][t->value[attribute[i].a]]);
				return attribute[i].type;
			}
	if (next(r, "where is")) {
		sprintf(text, " %s", cells[the_thing(r, question)->cell]);
		return "position";
	}
	if (next(r, "how many")) {
		sprintf(text, "%d", number_of(r));
		return "count";
	}
	if (next(r, "are there more")) {
		n = number_of(r);
		assert_true(next(r, "than"));
		m = number_of(r);
		assert_true(n != m);
		strcpy(text, n > m ? " yes" : " no");
		return "comparison";
	}
	if (next(r, "is there an") || next(r, "is there a")) {
		strcpy(text, number_of(r) ? " yes" : " no");
		return "exist";
	}
	assert_true(next(r, "is"));
	t = the_thing(r, question);
	bool compared = strstr(question, " than ");
	strcpy(text, relation(r, t, question) ? " yes" : " no");
	return compared ? "comparison" : "relation";
}

static void check_question(const struct moe_scene *scene, const struct moe_synth_question *q, bool may_be_held)
{
	struct reader r = {.scene = scene};
	char text[400];
	const char *type = answer(&r, q->prompt, text);
	bool spell = !strcmp(type, "count") || !strcmp(type, "digit") || !strcmp(type, "letter");

	if (strcmp(type, q->type) || strcmp(text, q->answer) || spell != q->spell)
		fail_msg("%s: %s is answered \"%s\", expected %s, \"%s\"", q->type, q->prompt, q->answer, type, text);
	if (*r.at && strcmp(r.at, "?"))
		fail_msg("%s: \"%s\" is left", q->prompt, r.at);
	if (r.held && !may_be_held)
		fail_msg("%s names a pair that training must not see", q->prompt);
}

/* ---- tests ---- */

/* A scene with its questions, without a picture. */
static void compose(struct moe_scene *scene, struct moe_synth *s, uint64_t i, struct moe_synth_sample *p)
{
	struct moe_diag d = {0};
	struct moe_draw r = {.seed = 11, .stream = i};

	moe_arena_reset(&s->arena);
	*p = (struct moe_synth_sample){.arena = &s->arena};
	expect_ok(&d, moe_scene_compose(scene, s, &r, p, &d));
	moe_scene_ask(scene, &r, p);
}

static void check_things(const struct moe_scene *scene, enum moe_synth_split split)
{
	bool held = false;

	assert_true(scene->n <= 5 && (!scene->easy || scene->n == 1 || scene->n == 2));
	for (size_t i = 0; i < scene->n; i++) {
		const struct moe_scene_thing *t = &scene->thing[i];
		held |= moe_scene_is_held(t->value[MOE_SCENE_KIND], t->value[MOE_SCENE_COLOUR]);
		assert_true(!i || t->cell > t[-1].cell);
		assert_true((t->value[MOE_SCENE_KIND] >= 8) == (t->text != 0) && !t->text == !t->font);
		if (t->font)
			assert_true(!(t->font->flags & MOE_FONT_HELD) == (split != MOE_SYNTH_UNSEEN) && moe_font_is_clear(t->font, t->text));
		for (size_t j = 0; j < i; j++) {
			const struct moe_scene_thing *o = &scene->thing[j];
			assert_true(fmax(fabs(t->x - o->x), fabs(t->y - o->y)) >= t->radius + o->radius);
		}
	}
	assert_true(held == scene->pairs && (split == MOE_SYNTH_UNSEEN || !held));
}

static void check_key(const struct moe_scene *scene, enum moe_synth_split split, struct moe_synth_sample *p)
{
	const char *key = moe_scene_key(p, scene);
	unsigned of = 0;

	for (enum moe_synth_split other = 0; other < MOE_SYNTH_UNSEEN; other++)
		of |= (unsigned)moe_synth_is_of(other, "scene", key) << other;
	assert_int_equal(of, 1u << (split == MOE_SYNTH_UNSEEN ? MOE_SYNTH_TEST : split));
}

static void test_questions(void **state)
{
	static const char *const types[] = {"colour", "shape", "size", "texture", "probe", "exist", "digit", "letter", "count", "position", "relation", "comparison",
		"caption"};
	struct moe_fonts fonts;
	char *words = moe_synth_words();

	(void)state;
	load_fonts(&fonts);
	for (enum moe_synth_split split = 0; split < MOE_N_SYNTH_SPLITS; split++) {
		struct moe_synth *s = new_synth(&fonts, split);
		struct balance balance = {0};
		size_t count[13] = {0}, n = split == MOE_SYNTH_TRAIN ? SAMPLES : SAMPLES / 4, easy = 0, questions = 0;
		for (uint64_t i = 0; i < n; i++) {
			struct moe_scene scene;
			struct moe_synth_sample p;
			compose(&scene, s, i, &p);
			check_things(&scene, split);
			check_key(&scene, split, &p);
			for (size_t k = 0; k < p.n_questions; k++) {
				const struct moe_synth_question *q = &p.question[k];
				check_question(&scene, q, scene.pairs);
				balance_add(&balance, q);
				expect_words(words, q->prompt);
				if (!q->spell)
					expect_words(words, q->answer);
				for (size_t j = 0; j < k; j++)
					assert_string_not_equal(q->prompt, p.question[j].prompt);
				for (int t = 0; t < 13; t++)
					count[t] += strcmp(q->type, types[t]) == 0;
			}
			assert_in_range(p.n_questions, scene.n ? 6 : 4, 11);
			questions += p.n_questions;
			easy += scene.easy;
		}
		assert_true(fabs((double)easy / (double)n - 0.3) < 0.08 && questions > 7 * n);
		assert_int_equal(balance.n, 3);
		if (!SLOW && split == MOE_SYNTH_TRAIN)
			balance_expect(&balance, 800);
		for (int t = 0; t < 13; t++)
			assert_true(SLOW || count[t] > n / 12);
		moe_synth_free(s);
	}
	moe_fonts_free(&fonts);
	free(words);
}

/* Most things that are asked about in vain are hard to miss: each of the words is true of something. */
static void test_hard_negatives(void **state)
{
	struct moe_fonts fonts;
	struct moe_synth *s;
	size_t hard = 0, all = 0;

	(void)state;
	load_fonts(&fonts);
	s = new_synth(&fonts, MOE_SYNTH_TRAIN);
	for (uint64_t i = 0; i < SAMPLES / 2; i++) {
		struct moe_scene scene;
		struct moe_synth_sample p;
		compose(&scene, s, i, &p);
		for (size_t k = 0; k < p.n_questions; k++) {
			struct reader r = {p.question[k].prompt, &scene, false};
			if (scene.n < 3 || !(next(&r, "<ask> is there an") || next(&r, "<ask> is there a")) || strcmp(p.question[k].answer, " no"))
				continue;
			struct seen w = read_noun(&r);
			const struct seen one[] = {{w.size, ANY, ANY, ANY}, {ANY, w.colour, ANY, ANY}, {ANY, ANY, w.texture, ANY}, {ANY, ANY, ANY, w.kind}};
			unsigned true_words = 0;
			for (int a = 0; a < 4; a++) {
				bool some = false;
				for (size_t t = 0; t < scene.n; t++)
					some |= is(&scene.thing[t], &one[a]);
				true_words += some;
			}
			assert_true(true_words >= 3);   /* at most one is strange */
			hard += true_words == 4;
			all++;
		}
	}
	assert_true(hard > all * 6 / 10 && all > SAMPLES / 20);
	moe_synth_free(s);
	moe_fonts_free(&fonts);
}

/* What is drawn where the boxes say: the middle of a plain shape has its colour, and the box holds the thing. */
static void check_picture(const struct moe_scene *scene, const struct moe_synth_sample *p)
{
	double scale = p->width / 64.0;

	assert_true(p->width == p->height && p->width >= 64 && p->width <= 192);
	assert_int_equal(p->n_boxes, scene->n);
	expect_boxes(p);
	for (size_t i = 0; i < scene->n; i++) {
		const struct moe_scene_thing *t = &scene->thing[i];
		const struct moe_synth_box *b = &p->box[i];
		double wide = b->x1 - b->x0, high = b->y1 - b->y0, reach = 2 * t->radius * scale;
		const uint8_t *pixel = p->rgb + 3 * ((size_t)(t->y * scale) * p->width + (size_t)(t->x * scale));
		assert_true(fmax(wide, high) > 0.8 * reach && fmax(wide, high) < 1.05 * reach);
		assert_true(fabs((b->x0 + b->x1) / 2 - t->x * scale) < 0.1 * reach && fabs((b->y0 + b->y1) / 2 - t->y * scale) < 0.1 * reach);
		assert_true(t->text ? b->label[0] == t->text && !b->label[1] : b->label[0] == ' ' && !strcmp(b->label + 1, nouns[t->value[MOE_SCENE_KIND]]));
		if (t->value[MOE_SCENE_TEXTURE] == MOE_SCENE_PLAIN && t->value[MOE_SCENE_KIND] <= 5)
			assert_true(moe_ink_distance((struct moe_ink){pixel[0], pixel[1], pixel[2]}, t->ink) < 75);
	}
}

static void test_pictures(void **state)
{
	struct moe_fonts fonts;

	(void)state;
	load_fonts(&fonts);
	for (enum moe_synth_split split = 0; split < MOE_N_SYNTH_SPLITS; split += MOE_SYNTH_UNSEEN) {
		struct moe_synth *s = new_synth(&fonts, split);
		for (uint64_t i = 0; i < DRAWN; i++) {
			struct moe_scene scene;
			struct moe_diag d = {0};
			struct moe_draw r = {.seed = 5, .stream = i};
			moe_arena_reset(&s->arena);
			struct moe_synth_sample p = {.arena = &s->arena};
			expect_ok(&d, moe_scene_make(&scene, s, &r, &p, &d));
			assert_false(p.no_memory);
			check_picture(&scene, &p);
			assert_string_equal(p.tag[0].name, "objects");
			assert_int_equal(p.n_tags, split == MOE_SYNTH_UNSEEN ? 3 : 2);
		}
		moe_synth_free(s);
	}
	moe_fonts_free(&fonts);
}

/* The largest difference of a channel. */
static double channel(struct moe_ink a, struct moe_ink b)
{
	return fmax(fmax(fabs(a.r - b.r), fabs(a.g - b.g)), fabs(a.b - b.b));
}

/* The colours of things by name. */
struct shades {
	struct moe_ink ink[10][2000], low[10], high[10];
	size_t n[10];
};

static void collect(struct shades *to, const struct moe_fonts *fonts, enum moe_synth_split split)
{
	struct moe_synth *s = new_synth(fonts, split);

	for (int c = 0; c < 10; c++) {
		to->low[c] = (struct moe_ink){255, 255, 255};
		to->high[c] = (struct moe_ink){0, 0, 0};
	}
	for (uint64_t i = 0; i < (SLOW ? 400 : 3000); i++) {
		struct moe_scene scene;
		struct moe_synth_sample p;
		compose(&scene, s, i, &p);
		for (size_t t = 0; t < scene.n && !scene.pairs; t++) {
			unsigned c = scene.thing[t].value[MOE_SCENE_COLOUR];
			struct moe_ink ink = scene.thing[t].ink, *low = &to->low[c], *high = &to->high[c];
			*low = (struct moe_ink){fmin(low->r, ink.r), fmin(low->g, ink.g), fmin(low->b, ink.b)};
			*high = (struct moe_ink){fmax(high->r, ink.r), fmax(high->g, ink.g), fmax(high->b, ink.b)};
			if (to->n[c] < 2000)
				to->ink[c][to->n[c]++] = ink;
		}
	}
	moe_synth_free(s);
}

static void widen(struct shades *s, const struct shades *by, int c)
{
	s->low[c] = (struct moe_ink){fmin(s->low[c].r, by->low[c].r), fmin(s->low[c].g, by->low[c].g), fmin(s->low[c].b, by->low[c].b)};
	s->high[c] = (struct moe_ink){fmax(s->high[c].r, by->high[c].r), fmax(s->high[c].g, by->high[c].g), fmax(s->high[c].b, by->high[c].b)};
}

/* How far colour a lies above colour b in the channel where it does so most. */
static double gap(const struct shades *s, int a, int b)
{
	return fmax(fmax(s->low[a].r - s->high[b].r, s->low[a].g - s->high[b].g), s->low[a].b - s->high[b].b);
}

/* Colours of different names stay apart in all shades, and shades of the split unseen from those of training. */
static void test_colours_apart(void **state)
{
	static struct shades seen, unseen;
	struct moe_fonts fonts;

	(void)state;
	load_fonts(&fonts);
	collect(&seen, &fonts, MOE_SYNTH_TRAIN);
	collect(&unseen, &fonts, MOE_SYNTH_UNSEEN);
	for (int c = 0; c < 10; c++)
		for (size_t i = 0; i < unseen.n[c]; i++)
			for (size_t k = 0; k < seen.n[c]; k++)
				if (channel(unseen.ink[c][i], seen.ink[c][k]) < 1.9)
					fail_msg("a shade of %s is in both splits", colours[c]);
	/* Boxes around the shades of two colours do not meet: there is a gap in some channel. */
	for (int c = 0; c < 10; c++)
		widen(&seen, &unseen, c);
	for (int a = 0; a < 10; a++)
		for (int b = 0; b < 10; b++)
			if (a != b && fmax(gap(&seen, a, b), gap(&seen, b, a)) < 10)
				fail_msg("%s and %s meet", colours[a], colours[b]);
	moe_fonts_free(&fonts);
}

static void test_identity(void **state)
{
	(void)state;
	expect_identity("scene", MOE_SYNTH_DEV, 30);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_questions), cmocka_unit_test(test_hard_negatives), cmocka_unit_test(test_pictures), cmocka_unit_test(test_colours_apart),
		cmocka_unit_test(test_identity),
	};

	return cmocka_run_group_tests_name("synth_scene", tests, NULL, NULL);
}
