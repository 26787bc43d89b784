#include <math.h>
#include <stdio.h>

#include "plot/page_priv.h"
#include "plot/pen.h"
#include "plot/table.h"

enum { MOST_CHOSEN = 300, MOST_ROWS = 2000 };

static void open_table(FILE *f, const struct moe_facet *facet)
{
	fputs("<table>", f);
	if (*facet->name || facet->about) {
		fputs("<caption>", f);
		moe_print_xml(f, facet->name);
		if (facet->about) {
			fputs(*facet->name ? ": " : "", f);
			moe_print_xml(f, facet->about);
		}
		fputs("</caption>", f);
	}
	fputs("\n", f);
}

static void heading(FILE *f, const char *scope, const char *text)
{
	fprintf(f, "<th scope=\"%s\">", scope);
	moe_print_xml(f, text);
	fputs("</th>", f);
}

static void fields_table(FILE *f, const struct moe_facet *facet)
{
	const struct moe_fields *g = &facet->fields;
	char text[32], name[200];

	open_table(f, facet);
	fputs("<thead><tr>", f);
	snprintf(name, sizeof name, *g->row_name ? "%s \\ %s" : "%s%s", g->row_name, g->column_name);
	heading(f, "col", name);
	for (size_t c = 0; c < g->columns; c++)
		heading(f, "col", g->column[c]);
	fputs("</tr></thead><tbody>\n", f);
	for (size_t r = 0; r < g->rows; r++) {
		fputs("<tr>", f);
		heading(f, "row", g->row[r]);
		for (size_t c = 0; c < g->columns; c++)
			fprintf(f, "<td>%s</td>", isnan(g->value[r * g->columns + c]) ? "" : moe_unit_text(g->unit, g->value[r * g->columns + c], text));
		fputs("</tr>\n", f);
	}
	fputs("</tbody></table>\n", f);
}

static void picture_table(FILE *f, const struct moe_facet *facet)
{
	const struct moe_picture_facet *p = &facet->picture;
	char text[MOST_CHOSEN];
	size_t row = SIZE_MAX;

	if (!p->n)
		return;
	open_table(f, facet);
	fputs("<thead><tr>", f);
	heading(f, "col", "row \\ column");
	for (size_t c = 0; c < p->columns; c++) {
		snprintf(text, sizeof text, "%zu", c);
		heading(f, "col", text);
	}
	fputs("</tr></thead><tbody>\n", f);
	for (size_t i = 0; i < p->n; i++) {
		if (p->place[i].row != row) {
			fputs(row == SIZE_MAX ? "<tr>" : "</tr>\n<tr>", f);
			row = p->place[i].row;
			snprintf(text, sizeof text, "%zu", row);
			heading(f, "row", text);
		}
		fprintf(f, "<td>%s</td>", moe_chosen_text(&p->place[i].chosen, p->k, text, sizeof text));
	}
	fputs("</tr>\n</tbody></table>\n", f);
}

static void text_table(FILE *f, const struct moe_facet *facet)
{
	const struct moe_text_facet *t = &facet->text;
	char text[MOST_CHOSEN];

	open_table(f, facet);
	fputs("<thead><tr>", f);
	heading(f, "col", "token");
	for (size_t l = 0; l < t->n_layers; l++) {
		snprintf(text, sizeof text, "layer %zu", t->layer[l]);
		heading(f, "col", text);
	}
	fputs("</tr></thead><tbody>\n", f);
	for (size_t i = 0; i < t->n; i++) {
		if (t->word[i].patches)
			continue;
		fputs("<tr>", f);
		heading(f, "row", t->word[i].text);
		for (size_t l = 0; l < t->n_layers; l++)
			fprintf(f, "<td>%s</td>", moe_chosen_text(&t->chosen[l][t->word[i].token], t->k, text, sizeof text));
		fputs("</tr>\n", f);
	}
	fputs("</tbody></table>\n", f);
}

struct list { FILE *f; bool begun; };

static void print_cell(FILE *f, const struct moe_cell *c)
{
	fputs("<td>", f);
	switch (c->kind) {
	case MOE_CELL_NONE: case MOE_CELL_CHOSEN: break;
	case MOE_CELL_TEXT: moe_print_xml(f, c->text); break;
	case MOE_CELL_WHOLE: fprintf(f, "%.0f", c->number); break;
	case MOE_CELL_REAL: fprintf(f, "%.4g", c->number); break;
	}
	fputs("</td>", f);
}

static enum moe_err list_row(void *self, const struct moe_cell *cell, size_t n, struct moe_diag *d)
{
	struct list *l = self;

	(void)d;
	if (!l->begun) {
		fputs("<thead><tr>", l->f);
		for (size_t i = 0; i < n; i++)
			heading(l->f, "col", cell[i].name);
		fputs("</tr></thead><tbody>\n", l->f);
		l->begun = true;
	}
	fputs("<tr>", l->f);
	for (size_t i = 0; i < n; i++)
		print_cell(l->f, &cell[i]);
	fputs("</tr>\n", l->f);
	return MOE_OK;
}

static enum moe_err count_row(void *self, const struct moe_cell *cell, size_t n, struct moe_diag *d)
{
	(void)cell;
	(void)n;
	(void)d;
	++*(size_t *)self;
	return MOE_OK;
}

enum moe_err moe_page_table(FILE *f, const struct moe_facet *facet, struct moe_diag *d)
{
	struct list l = {f, false};
	size_t rows = 0;

	switch (facet->kind) {
	case MOE_FACET_FIELDS: fields_table(f, facet); return MOE_OK;
	case MOE_FACET_PICTURE: picture_table(f, facet); return MOE_OK;
	case MOE_FACET_TEXT: text_table(f, facet); return MOE_OK;
	default: break;
	}
	MOE_TRY(moe_facet_rows(facet, count_row, &rows, d));
	if (rows > MOST_ROWS) {
		fprintf(f, "<p>%zu rows are too many for a page; <code>moe-plot --tsv</code> prints them.</p>\n", rows);
		return MOE_OK;
	}
	open_table(f, facet);
	MOE_TRY(moe_facet_rows(facet, list_row, &l, d));
	fputs(l.begun ? "</tbody></table>\n" : "</table>\n", f);
	return MOE_OK;
}
