#include "plot/mixture.h"
#include "plot/page_priv.h"
#include "plot/pen.h"

/* A bar as a background in steps, with the number of its largest part. */
static void print_bar(FILE *f, const struct moe_text_facet *t, const struct moe_word *w, size_t layer)
{
	struct moe_mixture m;
	struct moe_rgb ink;
	double at = 0;

	moe_mixture_of(&m, t, w, layer);
	fprintf(f, "<i data-layer=\"%zu\"%s", t->layer[layer], t->differs && !w->patches && t->differs[layer][w->token] ? " class=\"differs\"" : "");
	if (!m.n) {
		fputs("></i>", f);
		return;
	}
	ink = moe_ink_on(moe_expert_colour(m.part[0].expert));
	fprintf(f, " data-expert=\"%u\" style=\"color:#%02x%02x%02x;background:linear-gradient(90deg", m.part[0].expert, ink.r, ink.g, ink.b);
	for (size_t i = 0; i < m.n; i++) {
		struct moe_rgb c = moe_expert_colour(m.part[i].expert);
		double to = at + 100 * m.part[i].share;
		fprintf(f, ",#%02x%02x%02x %.1f%% %.1f%%", c.r, c.g, c.b, at, to);
		at = to;
	}
	if (at < 99.5)
		fprintf(f, ",var(--rule) %.1f%%", at);
	fprintf(f, ")\">%u</i>", m.part[0].expert);
}

void moe_page_words(FILE *f, const struct moe_text_facet *t)
{
	fputs("<div class=\"words\" tabindex=\"0\" role=\"group\" aria-label=\"the text; the left and right arrow keys go from token to token\">\n", f);
	fputs("<span class=\"w names\" aria-hidden=\"true\"><b>layer</b><span class=\"bars\">", f);
	for (size_t l = 0; l < t->n_layers; l++)
		fprintf(f, "<i data-layer=\"%zu\">%zu</i>", t->layer[l], t->layer[l]);
	fputs("</span></span>\n", f);
	for (size_t i = 0; i < t->n; i++) {
		const struct moe_word *w = &t->word[i];
		fprintf(f, "<span class=\"w%s%s\"", w->patches ? " patches" : "", w->made ? " made" : "");
		if (!w->patches)
			fprintf(f, " data-token=\"%zu\"", w->token);
		fputs("><b>", f);
		moe_print_xml(f, w->text);
		fputs("</b><span class=\"bars\" aria-hidden=\"true\">", f);
		for (size_t l = 0; l < t->n_layers; l++)
			print_bar(f, t, w, l);
		fputs("</span></span>\n", f);
	}
	fputs("</div>\n", f);
}
