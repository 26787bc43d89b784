#include "plot/table.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "report/escape.h"
#include "trace/trace.h"

/* ---- the rows of each kind ---- */

static struct moe_cell text(const char *name, const char *s) { return (struct moe_cell){.name = name, .kind = s ? MOE_CELL_TEXT : MOE_CELL_NONE, .text = s}; }

static struct moe_cell whole(const char *name, double v) { return (struct moe_cell){.name = name, .kind = MOE_CELL_WHOLE, .number = v}; }

static struct moe_cell real(const char *name, double v)
{
	return (struct moe_cell){.name = name, .kind = isfinite(v) ? MOE_CELL_REAL : MOE_CELL_NONE, .number = v};
}

/* A label that is a number. */
static struct moe_cell label(const char *name, const char *s)
{
	double v = 0;

	if (!*s || s[strspn(s, "0123456789")] || strlen(s) > 15)
		return text(name, s);
	for (; *s; s++)
		v = 10 * v + (*s - '0');
	return whole(name, v);
}

static enum moe_err fields_rows(const struct moe_facet *facet, moe_row *row, void *self, struct moe_diag *d)
{
	const struct moe_fields *g = &facet->fields;

	for (size_t r = 0; r < g->rows; r++)
		for (size_t c = 0; c < g->columns; c++) {
			size_t i = r * g->columns + c;
			struct moe_cell cell[] = {
				text("part", facet->name), label(g->column_key ? g->column_key : g->column_name, g->column[c]), label(g->row_key ? g->row_key : g->row_name, g->row[r]),
				real(g->value_name, g->value[i]), real("chance", g->chance[i]), whole(g->count_name, g->count ? g->count[i] : 0),
			};
			if (!isnan(g->value[i]))
				MOE_TRY(row(self, cell, g->count ? 6 : 5, d));
		}
	return MOE_OK;
}

static enum moe_err picture_rows(const struct moe_facet *facet, moe_row *row, void *self, struct moe_diag *d)
{
	const struct moe_picture_facet *p = &facet->picture;

	for (size_t i = 0; i < p->n; i++) {
		const struct moe_patch_place *at = &p->place[i];
		struct moe_cell cell[] = {
			whole("picture", p->number), whole("layer", (double)p->layer), whole("row", (double)at->row), whole("column", (double)at->column),
			whole("token", (double)at->token), {.name = "experts", .kind = MOE_CELL_CHOSEN, .chosen = at->chosen, .k = p->k},
			whole("differs", at->differs),
		};
		MOE_TRY(row(self, cell, sizeof cell / sizeof *cell, d));
	}
	return MOE_OK;
}

static enum moe_err word_rows(const struct moe_text_facet *t, const struct moe_word *w, moe_row *row, void *self, struct moe_diag *d)
{
	for (size_t i = w->token; i < w->token + w->n; i++)
		for (size_t l = 0; l < t->n_layers; l++) {
			struct moe_cell cell[] = {
				whole("token", (double)i), text("text", w->patches ? NULL : w->text), text("from", w->patches ? "picture" : w->made ? "model" : "prompt"),
				whole("layer", (double)t->layer[l]), {.name = "experts", .kind = MOE_CELL_CHOSEN, .chosen = t->chosen[l][i], .k = t->k},
				whole("differs", t->differs && t->differs[l][i]),
			};
			MOE_TRY(row(self, cell, sizeof cell / sizeof *cell, d));
		}
	return MOE_OK;
}

static enum moe_err text_rows(const struct moe_facet *facet, moe_row *row, void *self, struct moe_diag *d)
{
	for (size_t i = 0; i < facet->text.n; i++)
		MOE_TRY(word_rows(&facet->text, &facet->text.word[i], row, self, d));
	return MOE_OK;
}

static enum moe_err flow_rows(const struct moe_facet *facet, moe_row *row, void *self, struct moe_diag *d)
{
	const struct moe_flow_facet *f = &facet->flow;
	size_t n = f->experts;

	for (size_t l = 0; l + 1 < f->n_layers; l++)
		for (size_t i = 0; i < n * n; i++) {
			double v = f->link[l * n * n + i], chance = f->node[l * n + i / n] * f->node[(l + 1) * n + i % n] / f->tokens;
			struct moe_cell cell[] = {
				text("part", facet->name), whole("layer", (double)f->layer[l]), whole("next_layer", (double)f->layer[l + 1]), whole("expert", (double)(i / n)),
				whole("next_expert", (double)(i % n)), real("tokens", v), real("share", v / f->tokens), real("chance", chance / f->tokens),
			};
			if (v > 0)
				MOE_TRY(row(self, cell, sizeof cell / sizeof *cell, d));
		}
	return MOE_OK;
}

static enum moe_err lines_rows(const struct moe_facet *facet, moe_row *row, void *self, struct moe_diag *d)
{
	const struct moe_line_facet *f = &facet->lines;

	for (size_t i = 0; i < f->n; i++)
		for (size_t j = 0; j < f->line[i].n; j++) {
			double x = f->line[i].x[j];
			struct moe_cell cell[] = {
				text("part", facet->name), text("line", f->line[i].name), f->tick ? text("at", f->tick[(size_t)x]) : real("at", x),
				real("share", f->line[i].y[j]), real("chance", f->chance),
			};
			MOE_TRY(row(self, cell, sizeof cell / sizeof *cell, d));
		}
	return MOE_OK;
}

enum moe_err moe_facet_rows(const struct moe_facet *facet, moe_row *row, void *self, struct moe_diag *d)
{
	switch (facet->kind) {
	case MOE_FACET_FIELDS: return fields_rows(facet, row, self, d);
	case MOE_FACET_PICTURE: return picture_rows(facet, row, self, d);
	case MOE_FACET_TEXT: return text_rows(facet, row, self, d);
	case MOE_FACET_FLOW: return flow_rows(facet, row, self, d);
	case MOE_FACET_LINES: return lines_rows(facet, row, self, d);
	}
	return MOE_OK;
}

/* ---- as tab-separated values ---- */

struct tsv {
	FILE *f;
	const char *figure, *first;     /* the figure at hand, and that of the header */
};

static void print_chosen(FILE *f, const struct moe_cell *c)
{
	for (size_t i = 0; i < c->k && c->chosen.expert[i] != MOE_NO_EXPERT; i++)
		fprintf(f, "%s%u", i ? "," : "", c->chosen.expert[i]);
	fputc('\t', f);
	for (size_t i = 0; i < c->k && c->chosen.weight && c->chosen.expert[i] != MOE_NO_EXPERT; i++)
		fprintf(f, "%s%.6g", i ? "," : "", (double)c->chosen.weight[i]);
}

static enum moe_err tsv_row(void *self, const struct moe_cell *cell, size_t n, struct moe_diag *d)
{
	struct tsv *t = self;

	if (!t->first) {
		fputs("figure", t->f);
		for (size_t i = 0; i < n; i++)
			fprintf(t->f, cell[i].kind == MOE_CELL_CHOSEN ? "\t%s\tweights" : "\t%s", cell[i].name);
		fputs("\n", t->f);
		t->first = t->figure;
	}
	if (strcmp(t->first, t->figure))
		return moe_fail(d, MOE_EUSAGE, "the tables of %s and %s have other columns: one at a time", t->first, t->figure);
	fputs(t->figure, t->f);
	for (size_t i = 0; i < n; i++) {
		fputc('\t', t->f);
		switch (cell[i].kind) {
		case MOE_CELL_NONE: break;
		case MOE_CELL_TEXT: moe_print_escaped(t->f, cell[i].text, strlen(cell[i].text)); break;
		case MOE_CELL_WHOLE: fprintf(t->f, "%.0f", cell[i].number); break;
		case MOE_CELL_REAL: fprintf(t->f, "%.9g", cell[i].number); break;
		case MOE_CELL_CHOSEN: print_chosen(t->f, &cell[i]); break;
		}
	}
	fputs("\n", t->f);
	return MOE_OK;
}

enum moe_err moe_figures_tsv(FILE *f, const struct moe_figure *figure, size_t n, struct moe_diag *d)
{
	struct tsv t = {.f = f};

	for (size_t i = 0; i < n; i++) {
		t.figure = figure[i].name;
		for (size_t j = 0; j < figure[i].n_facets; j++)
			MOE_TRY(moe_facet_rows(&figure[i].facet[j], tsv_row, &t, d));
	}
	return ferror(f) ? moe_fail_errno(d, "cannot write") : MOE_OK;
}

/* ---- as JSON lines ---- */

static void set_chosen(json_t *o, const struct moe_cell *c)
{
	json_t *experts = json_array(), *weights = c->chosen.weight ? json_array() : NULL;

	for (size_t i = 0; i < c->k && c->chosen.expert[i] != MOE_NO_EXPERT; i++) {
		json_array_append_new(experts, json_integer(c->chosen.expert[i]));
		if (weights)
			json_array_append_new(weights, json_real((double)c->chosen.weight[i]));
	}
	json_object_set_new(o, c->name, experts);
	json_object_set_new(o, "weights", weights ? weights : json_null());
}

static enum moe_err json_row(void *self, const struct moe_cell *cell, size_t n, struct moe_diag *d)
{
	const struct tsv *t = self;
	json_t *o = json_pack("{s:s}", "figure", t->figure);

	for (size_t i = 0; o && i < n; i++)
		switch (cell[i].kind) {
		case MOE_CELL_NONE: json_object_set_new(o, cell[i].name, json_null()); break;
		case MOE_CELL_TEXT: json_object_set_new(o, cell[i].name, moe_json_text(cell[i].text, strlen(cell[i].text))); break;
		case MOE_CELL_WHOLE: json_object_set_new(o, cell[i].name, json_integer((json_int_t)cell[i].number)); break;
		case MOE_CELL_REAL: json_object_set_new(o, cell[i].name, json_real(cell[i].number)); break;
		case MOE_CELL_CHOSEN: set_chosen(o, &cell[i]); break;
		}
	return moe_print_json(t->f, o) ? MOE_OK : moe_fail_errno(d, "cannot write");
}

enum moe_err moe_figures_json(FILE *f, const struct moe_figure *figure, size_t n, struct moe_diag *d)
{
	struct tsv t = {.f = f};

	for (size_t i = 0; i < n; i++) {
		t.figure = figure[i].name;
		for (size_t j = 0; j < figure[i].n_facets; j++)
			MOE_TRY(moe_facet_rows(&figure[i].facet[j], json_row, &t, d));
	}
	return MOE_OK;
}
