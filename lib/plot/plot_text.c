#include <string.h>

#include "plot/mixture.h"
#include "plot/plot_priv.h"

/* What is shown of a token: without spaces around it; control characters as signs. */
static const char *shown(struct moe_figure *f, const char *text)
{
	static const struct { char c; const char *sign; } signs[] = {{'\n', "\u21b5"}, {'\t', "\u21e5"}, {'\r', "\u240d"}};
	size_t n = strlen(text), first = strspn(text, " ");
	const char *out = "";

	if (!n)
		return "\u00b7";        /* a piece of a character, or of what the tokenizer leaves out */
	if (first == n)
		return "\u2423";
	while (n > first && text[n - 1] == ' ')
		n--;
	if (!strpbrk(text, "\n\t\r"))
		return moe_figure_text(f, "%.*s", (int)(n - first), text + first);
	for (size_t i = first; i < n; i++) {
		char one[2] = {text[i]};
		const char *sign = one;
		for (size_t j = 0; j < sizeof signs / sizeof *signs; j++)
			sign = text[i] == signs[j].c ? signs[j].sign : sign;
		out = moe_figure_text(f, "%s%s", out, sign);
	}
	return out;
}

/* Tokens of one picture from i on. */
static size_t run_of(const struct moe_tokens *t, size_t i)
{
	size_t n = 1;

	while (i + n < t->n && t->image[i + n] == t->image[i])
		n++;
	return n;
}

static size_t make_words(struct moe_word *w, struct moe_figure *f, const struct moe_tokens *t, const char *const *text)
{
	size_t n = 0, pictures = moe_tokens_pictures(t);

	for (size_t i = 0; i < t->n; n++) {
		bool patches = t->image[i] >= 0;
		w[n] = (struct moe_word){.token = i, .n = patches ? run_of(t, i) : 1, .patches = patches, .made = t->made[i]};
		if (!patches)
			w[n].text = shown(f, text[i]);
		else if (pictures > 1)
			w[n].text = moe_figure_text(f, "picture %d: %zu patches", t->image[i] + 1, w[n].n);
		else
			w[n].text = moe_figure_text(f, "%zu patches", w[n].n);
		i += w[n].n;
	}
	return n;
}

static const struct moe_chosen *chosen_of(struct moe_figure *f, const struct moe_tokens *t, size_t layer)
{
	struct moe_chosen *c = moe_figure_get(f, t->n, sizeof *c);

	for (size_t i = 0; c && i < t->n; i++) {
		c[i] = moe_tokens_chosen(t, layer, i);
		for (size_t j = 0; j < t->k && c[i].expert[j] != MOE_NO_EXPERT; j++)
			moe_figure_mark(f, c[i].expert[j]);
	}
	return c;
}

/* Where the other run differs, [n_layers][n]; NULL without memory. */
static const bool **differences(struct moe_figure *f, const struct moe_tokens *t, const struct moe_tokens *other)
{
	const bool **all = moe_figure_get(f, t->n_layers, sizeof *all);

	for (size_t l = 0; all && l < t->n_layers; l++) {
		bool *one = moe_figure_get(f, t->n, sizeof *one);
		if (!one)
			return NULL;
		for (size_t i = 0; i < t->n; i++)
			one[i] = moe_tokens_differ(t, other, l, i);
		all[l] = one;
	}
	return all;
}

static void describe(struct moe_figure *f, const struct moe_tokens *t)
{
	static const char of_model[] = "Underlined: what the model wrote; a token's experts are those that it was read with, to find the next. ";
	size_t made = 0;

	for (size_t i = 0; i < t->n; i++)
		made += t->made[i];
	f->title = "Which expert reads which word";
	f->about = moe_figure_text(f, "%zu tokens%s; under each its experts, layer by layer from top to bottom%s; top %zu of %zu experts.", t->n,
				   t->left_out ? moe_figure_text(f, " (%zu more are left out)", t->left_out) : "",
				   t->k > 1 ? (t->layer->weight ? ", as wide as their weights" : ", side by side") : "", t->k, t->experts);
	f->reading = moe_figure_text(f, "%s%sThe patches of a picture are drawn as one word, with the mean of its patches.",
				     t->k > MOE_MIXTURE_FEW ? "Grey: experts with less weight. " : "", made ? of_model : "");
	f->experts = t->experts;
	f->key = moe_figure_get(f, t->experts, sizeof *f->key);
}

enum moe_err moe_plot_text(struct moe_figure *f, const struct moe_tokens *t, const struct moe_tokens *other, const struct moe_tokenizer *tokenizer,
			   struct moe_diag *d)
{
	struct moe_facet *facet;
	struct moe_word *word;
	const struct moe_chosen **chosen;
	const bool **differs = NULL;
	size_t *layer;
	const char **text;

	moe_figure_init(f, "text");
	if (!t->n)
		return moe_fail(d, MOE_EUSAGE, "the trace has no tokens");
	describe(f, t);
	if (other) {
		differs = differences(f, t, other);
		f->reading = moe_figure_text(f, "Framed (*): layers in which the second run gives another expert the largest weight. %s", f->reading);
	}
	MOE_TRY(moe_tokens_text(&text, f, t, tokenizer, d));
	word = moe_figure_get(f, t->n, sizeof *word);
	chosen = moe_figure_get(f, t->n_layers, sizeof *chosen);
	layer = moe_figure_get(f, t->n_layers, sizeof *layer);
	if (!word || !chosen || !layer || (other && !differs))
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t l = 0; l < t->n_layers; l++) {
		layer[l] = t->layer[l].number;
		chosen[l] = chosen_of(f, t, l);
		if (!chosen[l])
			return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	MOE_TRY(moe_figure_add(f, &facet, MOE_FACET_TEXT, "", d));
	facet->text = (struct moe_text_facet){.word = word, .n = make_words(word, f, t, text), .n_layers = t->n_layers, .k = t->k, .layer = layer, .chosen = chosen,
					      .differs = differs};
	return MOE_OK;
}
