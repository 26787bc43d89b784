/* What the tests of lib/synth share: the small list of fonts. */
#ifndef TESTS_LIB_SYNTH_DATA_H
#define TESTS_LIB_SYNTH_DATA_H

#include "lib_data.h"
#include "synth/synth.h"

#define SMALL_LIST "share/synth/fonts-small.tsv"

static inline void load_fonts(struct moe_fonts *f)
{
	struct moe_diag d = {0};

	expect_ok(&d, moe_fonts_load(f, SMALL_LIST, &d));
}

static inline struct moe_synth *new_synth(const struct moe_fonts *f, enum moe_synth_split split)
{
	struct moe_diag d = {0};
	struct moe_synth *s = NULL;

	expect_ok(&d, moe_synth_new(&s, f, split, &d));
	return s;
}

/* Weights of the mixture that has this task alone. */
static inline const double *only(const char *task)
{
	static double weight[16];

	memset(weight, 0, sizeof weight);
	weight[moe_synth_task_find(task, strlen(task))] = 1;
	return weight;
}

/* Is the word, of n characters, a line of the list? */
static inline bool in_words(const char *words, const char *word, size_t n)
{
	for (const char *line = words; *line; line = strchr(line, '\n') + 1)
		if (strncmp(line, word, n) == 0 && line[n] == '\n')
			return true;
	return false;
}

/* Every run of small letters in the text, special tokens apart, is a word of the list and stands behind a space. */
static inline void expect_words(const char *words, const char *text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz";

	for (const char *c = *text == '<' ? strchr(text, '>') : text; *(c += strcspn(c, letters)); c += strspn(c, letters))
		if (!in_words(words, c, strspn(c, letters)) || c == text || c[-1] != ' ')
			fail_msg("a word of \"%s\" is not in the list or has no space before it", text);
}

/* Boxes lie within the picture. */
static inline void expect_boxes(const struct moe_synth_sample *p)
{
	for (size_t i = 0; i < p->n_boxes; i++) {
		const struct moe_synth_box *b = &p->box[i];
		if (!(b->x0 >= 0 && b->y0 >= 0 && b->x0 < b->x1 && b->y0 < b->y1 && b->x1 <= p->width + 1e-6 && b->y1 <= p->height + 1e-6))
			fail_msg("box \"%s\" of %g, %g to %g, %g in %u x %u", b->label, b->x0, b->y0, b->x1, b->y1, p->width, p->height);
	}
}

/* Yes and no by type of question. */
struct balance {
	const char *type[8];
	size_t yes[8], no[8], n;
};

static inline void balance_add(struct balance *b, const struct moe_synth_question *q)
{
	bool yes = strcmp(q->answer, " yes") == 0;
	size_t i = 0;

	if (!yes && strcmp(q->answer, " no"))
		return;
	while (i < b->n && strcmp(b->type[i], q->type))
		i++;
	assert_true(i < 8);
	if (i == b->n)
		b->type[b->n++] = q->type;
	b->yes[i] += yes;
	b->no[i] += !yes;
}

static inline void balance_expect(const struct balance *b, size_t least)
{
	for (size_t i = 0; i < b->n; i++) {
		double all = (double)(b->yes[i] + b->no[i]), share = (double)b->yes[i] / all;
		if (all < (double)least || share < 0.48 || share > 0.52)
			fail_msg("%s: %zu yes, %zu no", b->type[i], b->yes[i], b->no[i]);
	}
}

/* A sample is a function of its seed and number: what was made before, by whom, changes nothing. Of n samples of a task, in this split. */
static inline void expect_identity(const char *task, enum moe_synth_split split, uint64_t n)
{
	struct moe_fonts fonts;
	struct moe_synth *one, *two;

	load_fonts(&fonts);
	one = new_synth(&fonts, split);
	two = new_synth(&fonts, split);
	for (uint64_t i = 0; i < n; i++) {
		struct moe_synth_sample a, b;
		struct moe_diag d = {0};
		expect_ok(&d, moe_synth_make(one, 9, i, only(task), &a, &d));
		expect_ok(&d, moe_synth_make(two, 9, n - 1 - i, only(task), &b, &d));
		expect_ok(&d, moe_synth_make(two, 9, i, only(task), &b, &d));
		assert_true(a.width == b.width && a.height == b.height && a.n_questions == b.n_questions && a.n_boxes == b.n_boxes);
		assert_memory_equal(a.rgb, b.rgb, (size_t)a.width * a.height * 3);
		for (size_t k = 0; k < a.n_questions; k++)
			assert_true(!strcmp(a.question[k].prompt, b.question[k].prompt) && !strcmp(a.question[k].answer, b.question[k].answer));
	}
	moe_synth_free(one);
	moe_synth_free(two);
	moe_fonts_free(&fonts);
}

#endif
