#include "plot/page.h"

#include <math.h>
#include <string.h>

#include "plot/draw.h"
#include "plot/page_priv.h"

enum { MOST = 1060 };

/* ---- pictures, each once, for all facets to use ---- */

static enum moe_err print_pictures(FILE *f, const struct moe_page *p, struct moe_diag *d)
{
	struct moe_pen *pen;
	enum moe_err err = MOE_OK;

	MOE_TRY(moe_pen_svg_new(&pen, f, d));
	fputs("<svg width=\"0\" height=\"0\" class=\"pictures\" aria-hidden=\"true\"><defs>", f);
	for (size_t i = 0; i < p->n && !err; i++)
		err = moe_figure_define(&p->figure[i], pen, d);
	fputs("</defs></svg>\n", f);
	moe_pen_free(pen);
	return err;
}

/* ---- a figure ---- */

static void open_svg(FILE *f, struct moe_extent e, const char *label, const char *more)
{
	double w = ceil(e.width) + 2, h = ceil(e.height) + 2;

	fprintf(f, "<svg viewBox=\"-1 -1 %.0f %.0f\" width=\"%.0f\" height=\"%.0f\" role=\"img\" aria-label=\"", w, h, w, h);
	moe_print_xml(f, label);
	if (more) {
		fputs(": ", f);
		moe_print_xml(f, more);
	}
	fputs("\">\n", f);
}

static enum moe_err print_key(FILE *f, const struct moe_figure *figure, struct moe_diag *d)
{
	struct moe_extent e = moe_key_draw(moe_pen_none(), figure, 0, 0, MOST);
	struct moe_pen *pen;

	if (!(e.height > 0))
		return MOE_OK;
	MOE_TRY(moe_pen_svg_new(&pen, f, d));
	fputs("<div class=\"key\">", f);
	open_svg(f, e, "key", figure->scale.kind == MOE_SCALE_NONE ? "experts and their colours" : "the scale of the colours");
	moe_key_draw(pen, figure, 0, 0, MOST);
	fputs("</svg></div>\n", f);
	moe_pen_free(pen);
	return MOE_OK;
}

static enum moe_err print_facet(FILE *f, const struct moe_figure *figure, const struct moe_facet *facet, struct moe_diag *d)
{
	struct moe_facet nameless = *facet;
	struct moe_extent e;
	struct moe_pen *pen;

	nameless.name = "";
	nameless.about = NULL;
	fputs("<figure", f);
	if (facet->layer >= 0)
		fprintf(f, " data-of-layer=\"%d\"", facet->layer);
	fputs(">", f);
	if (*facet->name || facet->about) {
		fputs("<figcaption><b>", f);
		moe_print_xml(f, facet->name);
		fputs("</b> ", f);
		moe_print_xml(f, facet->about ? facet->about : "");
		fputs("</figcaption>", f);
	}
	if (facet->kind == MOE_FACET_TEXT) {
		moe_page_words(f, &facet->text);
	} else {
		MOE_TRY(moe_pen_svg_new(&pen, f, d));
		e = moe_facet_draw(moe_pen_none(), figure, &nameless, 0, 0, MOST);
		open_svg(f, e, figure->title, facet->name);
		moe_facet_draw(pen, figure, &nameless, 0, 0, MOST);
		fputs("</svg>", f);
		moe_pen_free(pen);
	}
	fputs("</figure>\n", f);
	return MOE_OK;
}

static void print_paragraph(FILE *f, const char *class, const char *a, const char *b)
{
	fprintf(f, "<p class=\"%s\">", class);
	moe_print_xml(f, a);
	if (b) {
		fputs(" ", f);
		moe_print_xml(f, b);
	}
	fputs("</p>\n", f);
}

/* Figures of one name are numbered from the second on. */
static const char *id_of(const struct moe_page *p, size_t i, char to[64])
{
	size_t before = 0;

	for (size_t j = 0; j < i; j++)
		before += !strcmp(p->figure[j].name, p->figure[i].name);
	if (before)
		snprintf(to, 64, "%.40s-%zu", p->figure[i].name, before + 1);
	else
		snprintf(to, 64, "%.40s", p->figure[i].name);
	return to;
}

static enum moe_err print_figure(FILE *f, const struct moe_page *p, size_t at, struct moe_diag *d)
{
	const struct moe_figure *figure = &p->figure[at];
	char id[64];

	id_of(p, at, id);
	fprintf(f, "<section id=\"%s\" aria-labelledby=\"%s-title\">\n<h2 id=\"%s-title\">", id, id, id);
	moe_print_xml(f, figure->title);
	fputs("</h2>\n", f);
	print_paragraph(f, "about", figure->about, NULL);
	MOE_TRY(print_key(f, figure, d));
	fputs("<div class=\"facets\">\n", f);
	for (size_t i = 0; i < figure->n_facets; i++)
		MOE_TRY(print_facet(f, figure, &figure->facet[i], d));
	fputs("</div>\n", f);
	print_paragraph(f, "reading", figure->reading, figure->drawn);
	fputs("<details><summary>The numbers as a table</summary>\n", f);
	for (size_t i = 0; i < figure->n_facets; i++)
		MOE_TRY(moe_page_table(f, &figure->facet[i], d));
	fputs("</details>\n</section>\n", f);
	return MOE_OK;
}

/* ---- the page ---- */

/* Nothing may be loaded from anywhere, whatever a trace's texts hold. */
static void print_head(FILE *f, const struct moe_page *p)
{
	fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
	      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
	      "script-src 'unsafe-inline'\">\n<title>", f);
	moe_print_xml(f, p->title);
	fprintf(f, "</title>\n<style>\n%s\n%s</style>\n</head>\n", moe_svg_style, p->style);
}

static void print_contents(FILE *f, const struct moe_page *p)
{
	char id[64];

	if (p->n < 2)
		return;
	fputs("<nav aria-label=\"figures\"><ul>\n", f);
	for (size_t i = 0; i < p->n; i++) {
		fprintf(f, "<li><a href=\"#%s\">", id_of(p, i, id));
		moe_print_xml(f, p->figure[i].title);
		fputs("</a></li>\n", f);
	}
	fputs("</ul></nav>\n", f);
}

enum moe_err moe_page_print(FILE *f, const struct moe_page *p, struct moe_diag *d)
{
	print_head(f, p);
	fputs("<body>\n<header>\n<h1>", f);
	moe_print_xml(f, p->title);
	fputs("</h1>\n", f);
	print_paragraph(f, "about", p->about, NULL);
	fputs("<div id=\"choose\"></div>\n</header>\n", f);
	print_contents(f, p);
	MOE_TRY(print_pictures(f, p, d));
	fputs("<main>\n", f);
	for (size_t i = 0; i < p->n; i++)
		MOE_TRY(print_figure(f, p, i, d));
	fputs("</main>\n", f);
	if (p->provenance) {
		fputs("<footer><h2>How the trace was made</h2><pre>", f);
		for (const char *line = p->provenance; *line;) {        /* lines by themselves: print_xml takes no line ends */
			char text[2000];
			size_t n = strcspn(line, "\n");
			snprintf(text, sizeof text, "%.*s", (int)n, line);
			moe_print_xml(f, text);
			fputs("\n", f);
			line += n + (line[n] == '\n');
		}
		fputs("</pre></footer>\n", f);
	}
	fputs("<div id=\"info\" role=\"status\"></div>\n", f);
	MOE_TRY(moe_page_data(f, p, d));
	fprintf(f, "<script>\n%s</script>\n</body>\n</html>\n", p->program);
	return ferror(f) ? moe_fail_errno(d, "cannot write") : MOE_OK;
}
