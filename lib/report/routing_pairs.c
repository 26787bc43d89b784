/* Reports of tables of experts × experts: together in a token, and from a layer to the next. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "report/escape.h"
#include "report/routing_priv.h"

/* One cell of a table: tokens that have both, the share of them among the first expert's tokens, and what that is by chance. */
struct cell {
	size_t first, second;
	uint64_t both;
	double share, chance, says;     /* says: what the pair adds to the information, for the order of the text */
};

/* A table of one column of a layer. */
struct table {
	const struct moe_routing *r;
	const struct moe_column *c;
	size_t layer, next;             /* next: SIZE_MAX: together */
	const uint64_t *there;          /* [experts]: tokens of the second experts */
	double even;                    /* together: chance of a second expert given the first */
	struct moe_pairing pairing;     /* of layers */
};

static struct cell cell_of(const struct table *t, size_t i, size_t j)
{
	const struct moe_routing_part *p = t->c->part;
	size_t n = t->r->experts;
	struct cell x = {.first = i, .second = j};

	x.both = t->next == SIZE_MAX ? p->together[i * n + j] + p->together[j * n + i] : p->next[i * n + j];
	x.share = p->count[i] ? (double)x.both / (double)p->count[i] : NAN;
	x.chance = t->next == SIZE_MAX ? t->even : (double)t->there[j] / (double)p->tokens;
	x.says = x.both ? (double)x.both * log(x.share / x.chance) : 0;
	return x;
}

static bool is_cell(const struct table *t, size_t i, size_t j) { return t->next != SIZE_MAX || i != j; }

/* ---- text ---- */

static int says_more(const void *a, const void *b)
{
	const struct cell *x = a, *y = b;

	if (x->says != y->says)
		return x->says < y->says ? 1 : -1;
	return x->first != y->first ? (x->first > y->first) - (x->first < y->first) : (x->second > y->second) - (x->second < y->second);
}

static enum moe_err print_text(FILE *f, const struct table *t, size_t most, struct moe_diag *d)
{
	size_t n = 0, experts = t->r->experts;
	struct cell *cell = moe_calloc(experts * experts, sizeof *cell);
	char a[40], b[40];

	if (!cell)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < experts; i++)
		for (size_t j = 0; j < experts; j++)
			if (is_cell(t, i, j) && (cell[n] = cell_of(t, i, j)).both)
				n++;
	qsort(cell, n, sizeof *cell, says_more);
	if (t->next == SIZE_MAX)
		fprintf(f, "layer %zu, %s: %zu experts, top %zu, %llu tokens\n", t->layer, t->c->name, experts, t->r->k, (unsigned long long)t->c->m.tokens);
	else
		fprintf(f, "layers %zu and %zu, %s: %zu experts, top %zu, %llu tokens, %s nats (%s when tokens are permuted)\n", t->layer, t->next,
			t->c->name, experts, t->r->k, (unsigned long long)t->c->m.tokens, moe_figure(a, sizeof a, 4, t->pairing.information),
			moe_figure(b, sizeof b, 4, t->pairing.chance));
	fprintf(f, "%8s%8s%12s%10s%10s\n", "expert", t->next == SIZE_MAX ? "with" : "then", "tokens", "share", "chance");
	for (size_t i = 0; i < n && i < most; i++)
		fprintf(f, "%8zu%8zu%12llu%10.4f%10.4f\n", cell[i].first, cell[i].second, (unsigned long long)cell[i].both, cell[i].share, cell[i].chance);
	free(cell);
	return MOE_OK;
}

/* ---- JSON and TSV ---- */

static json_t *row(const struct table *t, size_t i)
{
	json_t *a = json_array();

	for (size_t j = 0; j < t->r->experts; j++)
		json_array_append_new(a, json_integer(is_cell(t, i, j) ? (json_int_t)cell_of(t, i, j).both : 0));
	return a;
}

static void print_json(FILE *f, const struct table *t)
{
	const struct moe_column *c = t->c;
	bool together = t->next == SIZE_MAX;
	json_t *o = json_object(), *both = json_array();

	for (size_t e = 0; e < t->r->experts; e++)
		json_array_append_new(both, row(t, e));
	moe_set_text(o, "what", together ? "coactivation" : "pairs");
	moe_set_text(o, "choice", t->r->choice);
	moe_set_number(o, "layer", t->layer);
	moe_set_text(o, "modality", c->name);
	moe_set_number(o, "experts", t->r->experts);
	moe_set_number(o, "top_k", t->r->k);
	moe_set_number(o, "tokens", c->m.tokens);
	json_object_set_new(o, "load", moe_json_numbers(c->part->count, t->r->experts));
	json_object_set_new(o, "both", both);
	if (together) {
		moe_set_real(o, "chance", t->even);
	} else {
		moe_set_number(o, "next_layer", t->next);
		json_object_set_new(o, "next_load", moe_json_numbers(t->there, t->r->experts));
		moe_set_real(o, "information", t->pairing.information);
		moe_set_real(o, "information_chance", t->pairing.chance);
	}
	moe_print_json(f, o);
}

static void print_tsv(FILE *f, const struct table *t, bool first)
{
	if (first)
		fprintf(f, "choice\tlayer%s\tmodality\texpert\t%s\tboth\tshare\tchance\ttokens\tk\n", t->next == SIZE_MAX ? "" : "\tnext_layer",
			t->next == SIZE_MAX ? "with" : "next_expert");
	for (size_t i = 0; i < t->r->experts; i++)
		for (size_t j = 0; j < t->r->experts; j++) {
			struct cell x = cell_of(t, i, j);
			if (!is_cell(t, i, j))
				continue;
			moe_print_escaped(f, t->r->choice, strlen(t->r->choice));
			fprintf(f, "\t%zu", t->layer);
			if (t->next != SIZE_MAX)
				fprintf(f, "\t%zu", t->next);
			fprintf(f, "\t%s\t%zu\t%zu\t%llu", t->c->name, i, j, (unsigned long long)x.both);
			moe_tsv_real(f, x.share);
			moe_tsv_real(f, x.chance);
			fprintf(f, "\t%llu\t%zu\n", (unsigned long long)t->c->m.tokens, t->r->k);
		}
}

/* ---- all ---- */

struct style { enum moe_load_format format; size_t most; bool first; };

static enum moe_err print_table(FILE *f, const struct table *t, struct style *s, struct moe_diag *d)
{
	enum moe_err err = MOE_OK;

	if (s->format == MOE_LOAD_JSON) {
		print_json(f, t);
	} else if (s->format == MOE_LOAD_TSV) {
		print_tsv(f, t, s->first);
	} else {
		if (!s->first)
			fputc('\n', f);
		err = print_text(f, t, s->most, d);
	}
	s->first = false;
	return err ? err : moe_report_done(f, d);
}

/* Chance of a second expert when the first is known: one of the others in the pool, of which the tokens that have the first have n - 1. */
static double even_second(const struct moe_column *c, size_t k)
{
	double others = 0, all = 0;

	for (size_t n = 1; n <= k; n++) {
		others += (double)(n * (n - 1)) * (double)c->part->chosen[n];
		all += (double)n * (double)c->part->chosen[n];
	}
	return all > 0 && c->m.pool > 1 ? others / all / (double)(c->m.pool - 1) : NAN;
}

static enum moe_err report_layer(FILE *f, const struct moe_routing *r, size_t l, bool next, struct style *s, struct moe_diag *d)
{
	struct moe_columns c, behind = {.n = 0};
	enum moe_err err;

	MOE_TRY(moe_columns_make(&c, r, &r->layer[l], d));
	err = next ? moe_columns_make(&behind, r, &r->layer[l + 1], d) : MOE_OK;
	for (size_t i = 0; !err && i < c.n; i++) {
		struct table t = {.r = r, .c = &c.c[i], .layer = r->layer[l].number, .next = SIZE_MAX};
		if (!c.c[i].m.choices || !(next ? c.c[i].part->next : c.c[i].part->together))
			continue;
		t.even = even_second(t.c, r->k);
		if (next) {
			const struct moe_column *there = NULL;
			for (size_t k = 0; k < behind.n; k++)
				there = !strcmp(behind.c[k].name, c.c[i].name) ? &behind.c[k] : there;
			if (!there)
				continue;
			t.next = r->layer[l].next;
			t.there = there->part->count;
			moe_pair(&t.pairing, t.c->part->next, t.c->part->count, t.there, t.c->m.tokens, r->experts);
		}
		err = print_table(f, &t, s, d);
	}
	moe_columns_free(&c);
	moe_columns_free(&behind);
	return err;
}

enum moe_err moe_report_together(FILE *f, const struct moe_routing_set *s, enum moe_load_format format, size_t most, struct moe_diag *d)
{
	struct style style = {format, most, true};

	for (size_t i = 0; i < s->n; i++)
		for (size_t l = 0; l < s->kind[i].n_layers; l++)
			MOE_TRY(report_layer(f, &s->kind[i], l, false, &style, d));
	return MOE_OK;
}

enum moe_err moe_report_next(FILE *f, const struct moe_routing_set *s, enum moe_load_format format, size_t most, struct moe_diag *d)
{
	struct style style = {format, most, true};

	for (size_t i = 0; i < s->n; i++)
		for (size_t l = 0; l + 1 < s->kind[i].n_layers; l++)
			if (s->kind[i].layer[l].next == s->kind[i].layer[l + 1].number)
				MOE_TRY(report_layer(f, &s->kind[i], l, true, &style, d));
	return MOE_OK;
}
