#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "report/escape.h"
#include "report/routing_priv.h"

/* ---- columns ---- */

void moe_columns_free(struct moe_columns *c)
{
	for (size_t i = 0; i < c->n; i++)
		moe_routing_part_free(c->c[i].own);
	c->n = 0;
}

enum moe_err moe_columns_make(struct moe_columns *out, const struct moe_routing *r, const struct moe_routing_layer *l, struct moe_diag *d)
{
	struct moe_routing_part *all = moe_routing_part_new(r->experts, r->k, r->tables);

	*out = (struct moe_columns){.c = {{.name = "all", .part = all, .own = all}}, .n = 1};
	if (!all)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (unsigned m = 0; m < MOE_N_MODALITIES; m++) {
		const struct moe_routing_part *p = l->part[m];
		if (!p)
			continue;
		moe_routing_part_join(all, p, r->experts, r->k);
		if (p->tokens || p->choices || p->passed)
			out->c[out->n++] = (struct moe_column){.name = moe_modality_name(m), .part = p};
	}
	for (size_t i = 0; i < out->n; i++) {
		enum moe_err err = moe_measure(&out->c[i].m, r, out->c[i].part, d);
		if (err) {
			moe_columns_free(out);
			return err;
		}
	}
	return MOE_OK;
}

void moe_set_real(json_t *o, const char *key, double v) { json_object_set_new(o, key, isfinite(v) ? json_real(v) : json_null()); }
void moe_set_number(json_t *o, const char *key, uint64_t n) { json_object_set_new(o, key, json_integer((json_int_t)n)); }
void moe_set_text(json_t *o, const char *key, const char *text) { json_object_set_new(o, key, moe_json_text(text, strlen(text))); }

json_t *moe_json_numbers(const uint64_t *v, size_t n)
{
	json_t *a = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(a, json_integer((json_int_t)v[i]));
	return a;
}

void moe_tsv_real(FILE *f, double v)
{
	if (isfinite(v))
		fprintf(f, "\t%.9g", v);
	else
		fputc('\t', f);
}

const char *moe_figure(char *buf, size_t cap, int digits, double v)
{
	if (digits >= 0 && fabs(v) < 0.5 * pow(10, -digits))
		v = 0;          /* never -0.000 */
	if (isnan(v))
		snprintf(buf, cap, "-");
	else
		snprintf(buf, cap, digits < 0 ? "%.*g" : "%.*f", digits < 0 ? -digits : digits, v);
	return buf;
}

enum moe_err moe_report_done(FILE *f, struct moe_diag *d) { return ferror(f) ? moe_fail(d, MOE_EIO, "cannot write the statistics") : MOE_OK; }

/* ---- the figures of a column ---- */

enum { NONE = -1 };

struct figure {
	const char *key, *label;
	int digits;                     /* behind the point; below 0: of the number */
	int value, chance;              /* offsets in struct moe_measures */
	bool whole;                     /* the value is a size_t */
};

#define AT(field) (int)offsetof(struct moe_measures, field)
static const struct figure figures[] = {
	{"load_entropy", "load entropy", 3, AT(load.entropy), AT(chance.entropy), false},
	{"effective_experts", "effective experts", 2, AT(load.effective), AT(chance.effective), false},
	{"participation", "participation", 2, AT(load.participation), AT(chance.participation), false},
	{"max_vio", "MaxVio", 3, AT(load.max_vio), AT(chance.max_vio), false},
	{"cv2", "CV^2", 4, AT(load.cv2), AT(chance.cv2), false},
	{"cv2_random", "CV^2 at random", 4, AT(cv2_random), NONE, false},
	{"busiest_share", "busiest", 4, AT(load.busiest), AT(chance.busiest), false},
	{"busiest_expert", "its number", 0, AT(load.busiest_expert), NONE, true},
	{"unused", "unused", 0, AT(unused), AT(unused_chance), true},
	{"router_entropy", "router entropy", 3, AT(router_entropy), NONE, false},
	{"mass", "mass of chosen", 3, AT(mass), AT(mass_chance), false},
	{"mean_weight", "mean weight", 3, AT(mean_weight), NONE, false},
	{"mean_margin", "mean margin", 4, AT(mean_margin), NONE, false},
	{"least_margin", "least margin", -2, AT(least_margin), NONE, false},
	{"mean_logit_margin", "in logits", 3, AT(mean_logit_margin), NONE, false},
	{"least_logit_margin", "least in logits", -2, AT(least_logit_margin), NONE, false},
	{"without", "without expert", 4, AT(without), AT(without_chance), false},
};
#undef AT
enum { N_FIGURES = sizeof figures / sizeof *figures };

static double value_of(const struct figure *g, const struct moe_measures *m)
{
	size_t whole;
	double real;

	if (g->whole) {
		memcpy(&whole, (const char *)m + g->value, sizeof whole);
		return (double)whole;
	}
	memcpy(&real, (const char *)m + g->value, sizeof real);
	return real;
}

/* The chance level; of an entropy over pools it is 1. */
static double chance_of(const struct figure *g, const struct moe_measures *m)
{
	double real;

	if (g->chance == NONE)
		return strcmp(g->key, "router_entropy") || isnan(m->router_entropy) ? NAN : 1;
	memcpy(&real, (const char *)m + g->chance, sizeof real);
	return real;
}

/* ---- what is said of a layer as a whole ---- */

struct whole {
	struct moe_specialisation text, modality;
	struct moe_overlap overlap[MOE_COLUMNS * MOE_COLUMNS];
};

static enum moe_err measure_layer(struct whole *w, const struct moe_routing *r, const struct moe_routing_layer *l, const struct moe_columns *c,
				  struct moe_diag *d)
{
	MOE_TRY(moe_specialise_modality(&w->text, &w->modality, l, r->experts, d));
	for (size_t i = 1; i < c->n; i++)
		for (size_t j = i + 1; j < c->n; j++)
			MOE_TRY(moe_overlap(&w->overlap[i * MOE_COLUMNS + j], c->c[i].part, c->c[j].part, r->experts, d));
	return MOE_OK;
}

static double share_of(const struct moe_column *c, size_t e) { return c->m.choices ? (double)c->part->count[e] / (double)c->m.choices : NAN; }

static double even_of(const struct moe_routing *r, const struct moe_column *c, size_t e)
{
	return c->m.choices ? moe_routing_even(c->part, r->experts, e) / (double)c->m.choices : NAN;
}

/* Share of an expert among the choices of a modality over its share among those of text (Aria's R_v / R_t). */
static double ratio_of(const struct moe_columns *c, size_t i, size_t e)
{
	double text = c->n > 1 && !strcmp(c->c[1].name, "text") ? share_of(&c->c[1], e) : NAN;

	return i > 1 && text > 0 ? share_of(&c->c[i], e) / text : NAN;
}

/* ---- text ---- */

enum { LABEL = 18, CELL = 10 };

static void print_row(FILE *f, const struct figure *g, const struct moe_columns *c)
{
	char text[40];

	fprintf(f, "%-*s", LABEL, g->label);
	for (size_t i = 0; i < c->n; i++) {
		fprintf(f, "%*s", CELL, moe_figure(text, sizeof text, g->digits, value_of(g, &c->c[i].m)));
		fprintf(f, "%*s", CELL, moe_figure(text, sizeof text, g->digits, chance_of(g, &c->c[i].m)));
	}
	fputc('\n', f);
}

static bool has_figure(const struct figure *g, const struct moe_columns *c)
{
	bool any = false;

	for (size_t i = 0; i < c->n; i++)
		any |= !isnan(value_of(g, &c->c[i].m)) && (strcmp(g->key, "without") || c->c[i].m.without > 0 || !isnan(c->c[i].m.without_chance));
	return any;
}

static void print_counts(FILE *f, const char *label, const struct moe_columns *c, size_t offset)
{
	fprintf(f, "%-*s", LABEL, label);
	for (size_t i = 0; i < c->n; i++) {
		uint64_t n;
		memcpy(&n, (const char *)&c->c[i].m + offset, sizeof n);
		fprintf(f, "%*llu%*s", CELL, (unsigned long long)n, i + 1 < c->n ? CELL : 0, "");
	}
	fputc('\n', f);
}

/* Where experts choose: the shares of tokens with so many of them; "without expert" is among the figures. */
static void print_numbers(FILE *f, const struct moe_routing *r, const struct moe_columns *c)
{
	char text[40];

	for (size_t n = 1; n <= r->k && moe_routing_by_experts(r->choice, c->c[0].part, r->k); n++) {
		if (!c->c[0].part->chosen[n])
			continue;
		fprintf(f, "with %-*zu", LABEL - 5, n);
		for (size_t i = 0; i < c->n; i++) {
			double tokens = (double)c->c[i].m.tokens, share = tokens > 0 ? (double)c->c[i].part->chosen[n] / tokens : NAN;
			fprintf(f, "%*s%*s", CELL, moe_figure(text, sizeof text, 4, share), CELL, "-");
		}
		fputc('\n', f);
	}
}

static void print_experts(FILE *f, const struct moe_routing *r, const struct moe_columns *c)
{
	char text[40];

	for (size_t e = 0; e < r->experts; e++) {
		fprintf(f, "expert %-*zu", LABEL - 7, e);
		for (size_t i = 0; i < c->n; i++) {
			fprintf(f, "%*s", CELL, moe_figure(text, sizeof text, 4, share_of(&c->c[i], e)));
			fprintf(f, "%*s", CELL, moe_figure(text, sizeof text, 4, even_of(r, &c->c[i], e)));
		}
		fputc('\n', f);
	}
}

void moe_print_specialisation(FILE *f, const struct moe_specialisation *s, const char *what)
{
	char a[40], b[40], e[40];

	fprintf(f, "specialisation     %s of what %s is (chance 0; %s nats, %s with labels permuted)\n", moe_figure(a, sizeof a, 3, s->share), what,
		moe_figure(b, sizeof b, 4, s->information), moe_figure(e, sizeof e, 4, s->information_chance));
}

static void print_whole(FILE *f, const struct whole *w, const struct moe_columns *c)
{
	char a[40], b[40], e[40];

	if (c->n < 3)
		return;
	moe_print_specialisation(f, &w->modality, "the modality");
	fprintf(f, "text score         %s (even routing %s, labels permuted %s)\n", moe_figure(a, sizeof a, 4, w->text.score),
		moe_figure(b, sizeof b, 4, w->text.score_even), moe_figure(e, sizeof e, 4, w->text.score_chance));
	for (size_t i = 1; i < c->n; i++)
		for (size_t j = i + 1; j < c->n; j++)
			fprintf(f, "overlap            %s of the busiest quarters of %s and %s (chance %s)\n",
				moe_figure(a, sizeof a, 3, w->overlap[i * MOE_COLUMNS + j].value), c->c[i].name, c->c[j].name,
				moe_figure(b, sizeof b, 3, w->overlap[i * MOE_COLUMNS + j].chance));
}

static void print_text(FILE *f, const struct moe_routing *r, const struct moe_routing_layer *l, const struct moe_columns *c, const struct whole *w,
		       bool experts, bool first)
{
	bool passed = false;

	for (size_t i = 0; i < c->n; i++)
		passed |= c->c[i].m.passed > 0;
	fprintf(f, "%slayer %zu: %zu experts, top %zu", first ? "" : "\n", l->number, r->experts, r->k);
	if (strcmp(r->choice, "token")) {
		fputs(", chosen by ", f);
		moe_print_escaped(f, r->choice, strlen(r->choice));
	}
	fprintf(f, "\n%-*s", LABEL, "");
	for (size_t i = 0; i < c->n; i++)
		fprintf(f, "%*s%*s", CELL, c->c[i].name, CELL, "chance");
	fputc('\n', f);
	print_counts(f, "tokens", c, offsetof(struct moe_measures, tokens));
	if (passed)
		print_counts(f, "passed by", c, offsetof(struct moe_measures, passed));
	if (experts)
		print_experts(f, r, c);
	for (int i = 0; i < N_FIGURES; i++)
		if (has_figure(&figures[i], c))
			print_row(f, &figures[i], c);
	print_numbers(f, r, c);
	print_whole(f, w, c);
}

/* ---- JSON ---- */

static json_t *part_json(const struct moe_routing *r, const struct moe_columns *c, size_t i)
{
	const struct moe_column *x = &c->c[i];
	json_t *o = json_object(), *weight = json_array(), *even = json_array(), *ratio = json_array();

	for (size_t e = 0; e < r->experts; e++) {
		double to_text = ratio_of(c, i, e);
		json_array_append_new(weight, json_real(x->part->weight[e]));
		json_array_append_new(even, json_real(moe_routing_even(x->part, r->experts, e)));
		json_array_append_new(ratio, isfinite(to_text) ? json_real(to_text) : json_null());
	}
	moe_set_number(o, "tokens", x->m.tokens);
	moe_set_number(o, "passed", x->m.passed);
	moe_set_number(o, "choices", x->m.choices);
	moe_set_number(o, "pool", x->m.pool);
	json_object_set_new(o, "load", moe_json_numbers(x->part->count, r->experts));
	json_object_set_new(o, "load_chance", even);
	json_object_set_new(o, "weight", weight);
	if (i > 1)
		json_object_set(o, "ratio_to_text", ratio);
	json_decref(ratio);
	json_object_set_new(o, "by_number", moe_json_numbers(x->part->chosen, r->k + 1));
	for (int k = 0; k < N_FIGURES; k++) {
		double value = value_of(&figures[k], &x->m), chance = chance_of(&figures[k], &x->m);
		char key[64];
		if (figures[k].whole)
			moe_set_number(o, figures[k].key, (uint64_t)value);
		else
			moe_set_real(o, figures[k].key, value);
		snprintf(key, sizeof key, "%s_chance", figures[k].key);
		if (figures[k].chance != NONE || !strcmp(figures[k].key, "router_entropy"))
			moe_set_real(o, key, chance);
	}
	return o;
}

static json_t *overlap_json(const struct moe_columns *c, const struct whole *w)
{
	json_t *all = json_array();

	for (size_t i = 1; i < c->n; i++)
		for (size_t j = i + 1; j < c->n; j++) {
			json_t *o = json_object();
			moe_set_text(o, "first", c->c[i].name);
			moe_set_text(o, "second", c->c[j].name);
			moe_set_real(o, "value", w->overlap[i * MOE_COLUMNS + j].value);
			moe_set_real(o, "chance", w->overlap[i * MOE_COLUMNS + j].chance);
			json_array_append_new(all, o);
		}
	return all;
}

static json_t *layer_json(const struct moe_routing *r, const struct moe_routing_layer *l, const struct moe_columns *c, const struct whole *w)
{
	json_t *o = json_object();

	moe_set_text(o, "what", "routing");
	moe_set_text(o, "choice", r->choice);
	moe_set_number(o, "layer", l->number);
	moe_set_number(o, "experts", r->experts);
	moe_set_number(o, "top_k", r->k);
	for (size_t i = 0; i < c->n; i++)
		json_object_set_new(o, c->c[i].name, part_json(r, c, i));
	moe_set_real(o, "text_score", w->text.score);
	moe_set_real(o, "text_score_even", w->text.score_even);
	moe_set_real(o, "text_score_chance", w->text.score_chance);
	moe_set_real(o, "information", w->modality.information);
	moe_set_real(o, "information_chance", w->modality.information_chance);
	moe_set_real(o, "modality_entropy", w->modality.label_entropy);
	moe_set_real(o, "specialisation", w->modality.share);
	json_object_set_new(o, "overlap", overlap_json(c, w));
	return o;
}

/* ---- TSV: choice, layer, modality, expert, statistic, value, chance, tokens, k ---- */

struct line { FILE *f; const struct moe_routing *r; const struct moe_routing_layer *l; const char *modality; uint64_t tokens; };

static void print_line(const struct line *at, long expert, const char *statistic, double value, double chance)
{
	moe_print_escaped(at->f, at->r->choice, strlen(at->r->choice));
	fprintf(at->f, "\t%zu\t%s\t", at->l->number, at->modality);
	if (expert >= 0)
		fprintf(at->f, "%ld", expert);
	fprintf(at->f, "\t%s", statistic);
	moe_tsv_real(at->f, value);
	moe_tsv_real(at->f, chance);
	fprintf(at->f, "\t%llu\t%zu\n", (unsigned long long)at->tokens, at->r->k);
}

static void print_column(const struct line *at, const struct moe_columns *c, size_t i)
{
	const struct moe_column *x = &c->c[i];

	print_line(at, -1, "choices", (double)x->m.choices, NAN);
	print_line(at, -1, "passed", (double)x->m.passed, NAN);
	print_line(at, -1, "pool", (double)x->m.pool, NAN);
	for (int k = 0; k < N_FIGURES; k++)
		print_line(at, -1, figures[k].key, value_of(&figures[k], &x->m), chance_of(&figures[k], &x->m));
	for (size_t n = 0; n <= at->r->k; n++) {
		char name[40];
		snprintf(name, sizeof name, "tokens_with_%zu", n);
		print_line(at, -1, name, (double)x->part->chosen[n], NAN);
	}
	for (size_t e = 0; e < at->r->experts; e++) {
		print_line(at, (long)e, "count", (double)x->part->count[e], moe_routing_even(x->part, at->r->experts, e));
		print_line(at, (long)e, "share", share_of(x, e), even_of(at->r, x, e));
		print_line(at, (long)e, "weight", x->part->weight[e], NAN);
		if (i > 1)
			print_line(at, (long)e, "ratio_to_text", ratio_of(c, i, e), 1);
	}
}

static void print_tsv(FILE *f, const struct moe_routing *r, const struct moe_routing_layer *l, const struct moe_columns *c, const struct whole *w, bool first)
{
	struct line at = {f, r, l, "all", c->c[0].m.tokens};

	if (first)
		fputs("choice\tlayer\tmodality\texpert\tstatistic\tvalue\tchance\ttokens\tk\n", f);
	for (size_t i = 0; i < c->n; i++) {
		at.modality = c->c[i].name;
		at.tokens = c->c[i].m.tokens;
		print_column(&at, c, i);
	}
	at.modality = "all";
	at.tokens = c->c[0].m.tokens;
	print_line(&at, -1, "text_score", w->text.score, w->text.score_chance);
	print_line(&at, -1, "text_score_even", w->text.score_even, NAN);
	print_line(&at, -1, "information", w->modality.information, w->modality.information_chance);
	print_line(&at, -1, "modality_entropy", w->modality.label_entropy, NAN);
	print_line(&at, -1, "specialisation", w->modality.share, isnan(w->modality.share) ? NAN : 0);
	for (size_t i = 1; i < c->n; i++)
		for (size_t j = i + 1; j < c->n; j++) {
			char name[60];
			snprintf(name, sizeof name, "%s,%s", c->c[i].name, c->c[j].name);
			at.modality = name;
			print_line(&at, -1, "overlap", w->overlap[i * MOE_COLUMNS + j].value, w->overlap[i * MOE_COLUMNS + j].chance);
		}
}

/* ---- all ---- */

static enum moe_err report_layer(FILE *f, const struct moe_routing *r, const struct moe_routing_layer *l, enum moe_load_format format, bool experts,
				 bool first, struct moe_diag *d)
{
	struct moe_columns c;
	struct whole w;
	enum moe_err err;

	MOE_TRY(moe_columns_make(&c, r, l, d));
	err = measure_layer(&w, r, l, &c, d);
	if (!err && format == MOE_LOAD_JSON)
		moe_print_json(f, layer_json(r, l, &c, &w));
	else if (!err && format == MOE_LOAD_TSV)
		print_tsv(f, r, l, &c, &w, first);
	else if (!err)
		print_text(f, r, l, &c, &w, experts, first);
	moe_columns_free(&c);
	return err ? err : moe_report_done(f, d);
}

enum moe_err moe_report_routing(FILE *f, const struct moe_routing_set *s, enum moe_load_format format, bool experts, struct moe_diag *d)
{
	for (size_t i = 0; i < s->n; i++)
		for (size_t l = 0; l < s->kind[i].n_layers; l++)
			MOE_TRY(report_layer(f, &s->kind[i], &s->kind[i].layer[l], format, experts, !i && !l, d));
	return MOE_OK;
}
