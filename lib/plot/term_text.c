#include <stdlib.h>

#include "plot/mixture.h"
#include "plot/term_priv.h"

enum { LEFT = 9, MOST_WORD = 24 };

static size_t word_width(const struct moe_word *w)
{
	size_t n = moe_term_columns(w->text);

	n = n > MOST_WORD ? MOST_WORD : n;
	return w->patches && n < MOST_WORD ? MOST_WORD : n < 3 ? 3 : n;
}

/* The experts of a word, each in as many columns as it has weight; a number where it has room. */
static void print_bar(const struct moe_term *t, const struct moe_text_facet *f, const struct moe_word *w, size_t layer, size_t width)
{
	struct moe_mixture m;
	double at = 0;
	size_t done = 0;

	moe_mixture_of(&m, f, w, layer);
	for (size_t i = 0; i < m.n; i++) {
		char number[8];
		size_t n, need;
		at += m.part[i].share;
		n = (size_t)(at * (double)width + 0.5);
		n = n > width ? width : n;
		n -= n > done ? done : n;
		need = (size_t)snprintf(number, sizeof number, "%u", m.part[i].expert);
		/* Without colours, a number that touches the next one could not be told from it. */
		if (n < need || (t->colours == MOE_TERM_PLAIN && n == need && done + n < width))
			number[0] = 0;
		if (!i && !number[0]) {
			snprintf(number, sizeof number, "%u", m.part[i].expert);
			n = need + (t->colours == MOE_TERM_PLAIN && need < width);
		}
		moe_term_field(t, moe_expert_colour(m.part[i].expert), number, n);
		done += n;
	}
	if (done < width)
		moe_term_spaces(t, width - done);
	fputc(f->differs && !w->patches && f->differs[layer][w->token] ? '*' : ' ', t->f);
}

/* Words [from, to) and the layers under them. */
static void print_line(const struct moe_term *t, const struct moe_text_facet *f, size_t from, size_t to, size_t total)
{
	char name[32];
	size_t used = LEFT;

	moe_term_spaces(t, LEFT);
	for (size_t i = from; i < to; i++) {
		size_t w = word_width(&f->word[i]);
		if (f->word[i].made)
			moe_term_strong(t);
		moe_term_left(t, f->word[i].text, w);
		if (f->word[i].made)
			moe_term_off(t);
		moe_term_spaces(t, 1);
		used += w + 1;
	}
	moe_term_spaces(t, total - used);
	fputs("\n", t->f);
	for (size_t l = 0; l < f->n_layers; l++) {
		snprintf(name, sizeof name, "layer %zu", f->layer[l]);
		moe_term_left(t, name, LEFT);
		for (size_t i = from; i < to; i++) {
			print_bar(t, f, &f->word[i], l, word_width(&f->word[i]));
		}
		moe_term_spaces(t, total - used);
		fputs("\n", t->f);
	}
}

/* Where the line ends that begins with word `from`, and its columns. */
static size_t line_end(const struct moe_term *t, const struct moe_text_facet *f, size_t from, size_t *columns)
{
	size_t to = from;

	*columns = LEFT;
	while (to < f->n && (to == from || *columns + word_width(&f->word[to]) <= t->width))
		*columns += word_width(&f->word[to++]) + 1;
	return to;
}

size_t moe_term_text(const struct moe_term *t, const struct moe_facet *facet)
{
	const struct moe_text_facet *f = &facet->text;
	size_t total = 0, columns;

	for (size_t from = 0; from < f->n; from = line_end(t, f, from, &columns)) {
		line_end(t, f, from, &columns);
		total = columns > total ? columns : total;
	}
	for (size_t from = 0, to; from < f->n; from = to) {
		to = line_end(t, f, from, &columns);
		if (from) {
			moe_term_spaces(t, total);
			fputs("\n", t->f);
		}
		print_line(t, f, from, to, total);
	}
	return total;
}
