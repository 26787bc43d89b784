#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/utf8.h"
#include "plot/term_priv.h"

enum { GAP = 3, STEPS = 12 };

static void colour(const struct moe_term *t, int what, struct moe_rgb c)
{
	if (t->colours == MOE_TERM_TRUE)
		fprintf(t->f, "\033[%d;2;%u;%u;%um", what, c.r, c.g, c.b);
	else
		fprintf(t->f, "\033[%d;5;%um", what, moe_colour_256(c));
}

void moe_term_on(const struct moe_term *t, const struct moe_rgb *ink, const struct moe_rgb *paper)
{
	if (t->colours == MOE_TERM_PLAIN)
		return;
	if (ink)
		colour(t, 38, *ink);
	if (paper)
		colour(t, 48, *paper);
}

void moe_term_strong(const struct moe_term *t)
{
	if (t->colours != MOE_TERM_PLAIN)
		fputs("\033[1m", t->f);
}

void moe_term_off(const struct moe_term *t)
{
	if (t->colours != MOE_TERM_PLAIN)
		fputs("\033[0m", t->f);
}

void moe_term_spaces(const struct moe_term *t, size_t n) { fprintf(t->f, "%*s", (int)n, ""); }

/* One character at s: its length, what is shown of it, and its columns. */
static size_t character(const char *s, char to[4], size_t *n, size_t *columns)
{
	bool good;
	size_t length = moe_utf8_step(s, strnlen(s, 4), &good);
	unsigned rune = good ? moe_utf8_get(s, length) : 0xfffd;
	int width;

	if (rune < 0x20 || (rune >= 0x7f && rune < 0xa0))
		rune = 0xfffd;
	width = utf8proc_charwidth((utf8proc_int32_t)rune);
	*columns = width > 0 ? (size_t)width : 0;
	*n = moe_utf8_put(to, rune);
	return length;
}

size_t moe_term_columns(const char *s)
{
	char c[4];
	size_t n, columns, sum = 0;

	while (*s) {
		s += character(s, c, &n, &columns);
		sum += columns;
	}
	return sum;
}

/* The beginning of the text that fits; returns its columns. */
static size_t cut(const struct moe_term *t, const char *s, size_t width)
{
	char c[4];
	size_t n, columns, sum = 0;

	while (*s) {
		s += character(s, c, &n, &columns);
		if (sum + columns > width)
			break;
		fwrite(c, 1, n, t->f);
		sum += columns;
	}
	return sum;
}

void moe_term_left(const struct moe_term *t, const char *s, size_t width) { moe_term_spaces(t, width - cut(t, s, width)); }

void moe_term_right(const struct moe_term *t, const char *s, size_t width)
{
	size_t n = moe_term_columns(s);

	if (n < width)
		moe_term_spaces(t, width - n);
	cut(t, s, width);
}

void moe_term_field(const struct moe_term *t, struct moe_rgb paper, const char *s, size_t width)
{
	struct moe_rgb ink = moe_ink_on(paper);

	moe_term_on(t, &ink, &paper);
	moe_term_left(t, s, width);
	moe_term_off(t);
}

/* ---- a figure ---- */

/* Words of a sentence in lines. */
static void print_wrapped(const struct moe_term *t, const char *s)
{
	size_t at = 0;

	while (*s) {
		size_t n = strcspn(s, " ");
		char *word = strndup(s, n);
		size_t columns = word ? moe_term_columns(word) : 0;
		if (at && at + 1 + columns > t->width) {
			fputc('\n', t->f);
			at = 0;
		}
		if (at)
			fputc(' ', t->f);
		at += (at > 0) + columns;
		if (word)
			cut(t, word, SIZE_MAX);
		free(word);
		s += n;
		s += strspn(s, " ");
	}
	fputc('\n', t->f);
}

static void print_experts(const struct moe_term *t, const struct moe_figure *f)
{
	size_t at = 7;
	char number[24];

	fputs("expert", t->f);
	for (size_t e = 0; e < f->experts; e++) {
		size_t n = f->key[e] ? (size_t)snprintf(number, sizeof number, " %zu ", e) : 0;
		if (!n)
			continue;
		if (at + n + 1 > t->width) {
			fputs("\n      ", t->f);
			at = 7;
		}
		fputc(' ', t->f);
		moe_term_field(t, moe_expert_colour(e), number, n);
		at += n + 1;
	}
	fputs("\n", t->f);
}

static void print_key(const struct moe_term *t, const struct moe_figure *f)
{
	if (t->colours == MOE_TERM_PLAIN)
		return;         /* the fields have numbers */
	if (f->scale.kind != MOE_SCALE_NONE) {
		size_t columns = moe_term_columns(f->scale_end[0]) + STEPS + 2 + moe_term_columns(f->scale_end[2]);
		fprintf(t->f, "%s ", f->scale_end[0]);
		for (int i = 0; i < STEPS; i++)
			moe_term_field(t, moe_scale_colour(&f->scale, (i + 0.5) / STEPS), "", 1);
		fprintf(t->f, " %s", f->scale_end[2]);
		if (f->scale_end[1])
			fprintf(t->f, "%s(white: %s)", columns + moe_term_columns(f->scale_end[1]) + 10 <= t->width ? " " : "\n", f->scale_end[1]);
		fputs("\n", t->f);
	} else if (f->key) {
		print_experts(t, f);
	}
}

/* A facet in lines of `width` columns. */
struct block {
	char *text;
	size_t n, width;
	const char *name, *about;
};

static void make_block(struct block *b, const struct moe_term *t, const struct moe_figure *f, const struct moe_facet *facet)
{
	struct moe_term own = *t;

	*b = (struct block){.name = facet->name, .about = facet->about ? facet->about : ""};
	own.f = open_memstream(&b->text, &b->n);
	if (!own.f)
		return;
	switch (facet->kind) {
	case MOE_FACET_FIELDS: b->width = moe_term_fields(&own, f, facet); break;
	case MOE_FACET_PICTURE: b->width = moe_term_picture(&own, facet); break;
	case MOE_FACET_TEXT: b->width = moe_term_text(&own, facet); break;
	case MOE_FACET_FLOW: b->width = moe_term_flow(&own, facet); break;
	case MOE_FACET_LINES: b->width = moe_term_lines(&own, facet); break;
	}
	if (fclose(own.f)) {
		free(b->text);
		b->text = NULL;
	}
}

/* Columns with its name, too. */
static size_t block_width(const struct block *b)
{
	size_t name = moe_term_columns(b->name) + (*b->about ? moe_term_columns(b->about) + 2 : 0);

	return name > b->width ? name : b->width;
}

static void print_names(const struct moe_term *t, const struct block *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t w = block_width(&b[i]), name = moe_term_columns(b[i].name);
		moe_term_strong(t);
		moe_term_left(t, b[i].name, name);
		moe_term_off(t);
		if (*b[i].about)
			fputs("  ", t->f);
		moe_term_left(t, b[i].about, i + 1 < n ? w + GAP - name - (*b[i].about ? 2 : 0) : moe_term_columns(b[i].about));
	}
	fputs("\n", t->f);
}

/* Part of a line, with the spaces before it; those behind it wait until something follows. */
static void print_part(const struct moe_term *t, const char *s, const char *end, size_t *spaces)
{
	const char *last = end;

	while (last > s && last[-1] == ' ')
		last--;
	if (last > s) {
		moe_term_spaces(t, *spaces);
		fwrite(s, 1, (size_t)(last - s), t->f);
		*spaces = 0;
	}
	*spaces += (size_t)(end - last);
}

/* Blocks beside each other, line by line. */
static void print_blocks(const struct moe_term *t, struct block *b, size_t n)
{
	bool more = true, named = false;
	char **at = calloc(n, sizeof *at);

	for (size_t i = 0; at && i < n; i++) {
		at[i] = b[i].text;
		named |= *b[i].name || *b[i].about;
	}
	if (named)
		print_names(t, b, n);
	while (at && more) {
		more = false;
		for (size_t i = 0; i < n; i++)
			more |= at[i] && *at[i];
		for (size_t i = 0, spaces = 0; i < n && more; i++) {
			char *end = at[i] ? strchr(at[i], '\n') : NULL;
			print_part(t, at[i], end, &spaces);
			spaces += block_width(&b[i]) - (end ? b[i].width : 0) + GAP;
			at[i] = end ? end + 1 : NULL;
		}
		if (more)
			fputs("\n", t->f);
	}
	free(at);
}

static void print_facets(const struct moe_term *t, const struct moe_figure *f, struct block *b)
{
	size_t first = 0;

	for (size_t i = 0; i < f->n_facets; i++)
		make_block(&b[i], t, f, &f->facet[i]);
	while (first < f->n_facets) {
		size_t n = 1, width = block_width(&b[first]);
		while (first + n < f->n_facets && width + GAP + block_width(&b[first + n]) <= t->width) {
			width += GAP + block_width(&b[first + n]);
			n++;
		}
		fputs("\n", t->f);
		print_blocks(t, b + first, n);
		first += n;
	}
	for (size_t i = 0; i < f->n_facets; i++)
		free(b[i].text);
}

enum moe_err moe_figure_term(const struct moe_term *t, const struct moe_figure *f, struct moe_diag *d)
{
	struct block *b = calloc(f->n_facets + 1, sizeof *b);
	char note[300];

	if (!b)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	moe_term_strong(t);
	print_wrapped(t, f->title);
	moe_term_off(t);
	print_wrapped(t, f->about);
	print_key(t, f);
	print_facets(t, f, b);
	if (moe_term_narrow(t, f)) {
		snprintf(note, sizeof note, "Digits stand for the place on the scale. 0: %s; 9: %s.", f->scale_end[0], f->scale_end[2]);
		fputs("\n", t->f);
		print_wrapped(t, note);
	}
	if (*f->reading) {
		fputs("\n", t->f);
		print_wrapped(t, f->reading);
	}
	free(b);
	return ferror(t->f) ? moe_fail_errno(d, "cannot write") : MOE_OK;
}
