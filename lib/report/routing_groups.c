/* Reports of choices by label. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "report/escape.h"
#include "report/routing_priv.h"

enum { DRAWS = 200, LABEL_WIDTH = 24 };

static const char *name_of(const struct moe_groups_report *r, size_t g, char *buf, size_t cap, size_t *n)
{
	const struct moe_group_name *x = &r->names->list[g];
	const char *text = r->tokens && r->text.text ? r->text.text(r->text.self, (int32_t)x->number, n) : NULL;

	if (text)
		return text;
	if (x->text) {
		*n = strlen(x->text);
		return x->text;
	}
	*n = (size_t)snprintf(buf, cap, "%lld", (long long)x->number);
	return buf;
}

/* What a group says: sum over experts of its count times the log of its share over the share that all tokens have. */
struct told { size_t group; double says; };

/* A layer with its sums over groups. */
struct view {
	const struct moe_groups_report *r;
	const struct moe_groups *g;
	const struct moe_group_layer *l;
	uint64_t *total;                /* [experts] */
	uint64_t tokens;
	struct moe_specialisation s;
	struct moe_vocabulary v;
};

static double says_of(const struct view *v, size_t group)
{
	const uint32_t *count = v->l->count + group * v->g->experts;
	double says = 0;

	for (size_t e = 0; e < v->g->experts; e++)
		if (count[e])
			says += count[e] * log((double)count[e] / (double)v->l->tokens[group] / ((double)v->total[e] / (double)v->tokens));
	return says;
}

static int says_more(const void *a, const void *b)
{
	const struct told *x = a, *y = b;

	return x->says != y->says ? (x->says < y->says ? 1 : -1) : (x->group > y->group) - (x->group < y->group);
}

static enum moe_err open_view(struct view *v, struct moe_diag *d)
{
	size_t experts = v->g->experts, n = v->l->groups;
	uint64_t *wide = moe_calloc(n ? n * experts : 1, sizeof *wide);
	enum moe_err err;

	v->total = moe_calloc(experts, sizeof *v->total);
	if (!v->total || !wide) {
		free(wide);
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	for (size_t g = 0; g < n; g++) {
		v->tokens += v->l->tokens[g];
		for (size_t e = 0; e < experts; e++) {
			wide[g * experts + e] = v->l->count[g * experts + e];
			v->total[e] += wide[g * experts + e];
		}
	}
	err = moe_specialise(&v->s, wide, v->l->tokens, n, experts, d);
	free(wide);
	v->v = (struct moe_vocabulary){.value = NAN, .chance = NAN};
	return err || !v->r->vocabulary ? err : moe_vocabulary(&v->v, v->l, experts, v->r->least, DRAWS, d);
}

static size_t count_listed(const struct view *v)
{
	size_t n = 0;

	for (size_t g = 0; g < v->l->groups; g++)
		n += v->l->tokens[g] >= v->r->least && v->l->tokens[g];
	return n;
}

/* The three experts that a group has most, as its share: expert (share). */
static void print_leaders(FILE *f, const struct view *v, size_t group)
{
	const uint32_t *count = v->l->count + group * v->g->experts;
	size_t last = SIZE_MAX;

	for (int k = 0; k < 3; k++) {
		size_t best = SIZE_MAX;
		for (size_t e = 0; e < v->g->experts; e++) {
			bool after = last == SIZE_MAX || count[e] < count[last] || (count[e] == count[last] && e > last);
			if (count[e] && after && (best == SIZE_MAX || count[e] > count[best]))
				best = e;
		}
		if (best == SIZE_MAX)
			return;
		fprintf(f, "  %zu: %.3f (%.3f)", best, (double)count[best] / (double)v->l->tokens[group], (double)v->total[best] / (double)v->tokens);
		last = best;
	}
}

static enum moe_err print_text(FILE *f, const struct view *v, struct moe_diag *d)
{
	struct told *told = moe_calloc(v->l->groups ? v->l->groups : 1, sizeof *told);
	char a[40], b[40], c[40];
	size_t n = 0;

	if (!told)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t g = 0; g < v->l->groups; g++)
		if (v->l->tokens[g] >= v->r->least && v->l->tokens[g])
			told[n++] = (struct told){g, says_of(v, g)};
	qsort(told, n, sizeof *told, says_more);
	fprintf(f, "layer %zu by %s: %zu experts, top %zu, %llu tokens, %zu labels", v->l->number, v->r->by, v->g->experts, v->g->k,
		(unsigned long long)v->tokens, count_listed(v));
	if (v->l->unlabelled)
		fprintf(f, ", %llu token%s without", (unsigned long long)v->l->unlabelled, v->l->unlabelled == 1 ? "" : "s");
	if (strcmp(v->g->choice, "token")) {
		fputs(", chosen by ", f);
		moe_print_escaped(f, v->g->choice, strlen(v->g->choice));
	}
	fputc('\n', f);
	moe_print_specialisation(f, &v->s, "the label");
	fprintf(f, "score              %s (even routing %s, labels permuted %s)\n", moe_figure(a, sizeof a, 4, v->s.score),
		moe_figure(b, sizeof b, 4, v->s.score_even), moe_figure(c, sizeof c, 4, v->s.score_chance));
	if (v->r->vocabulary)
		fprintf(f, "vocabulary         %s (words drawn at random %s), of %zu with %llu tokens or more\n", moe_figure(a, sizeof a, 4, v->v.value),
			moe_figure(b, sizeof b, 4, v->v.chance), v->v.groups, (unsigned long long)v->r->least);
	for (size_t i = 0; i < n && i < v->r->most; i++) {
		char buf[24];
		size_t bytes, width;
		const char *name = name_of(v->r, told[i].group, buf, sizeof buf, &bytes);
		width = moe_print_escaped(f, name, bytes);
		fprintf(f, "%*s%10llu", width < LABEL_WIDTH ? (int)(LABEL_WIDTH - width) : 1, "", (unsigned long long)v->l->tokens[told[i].group]);
		print_leaders(f, v, told[i].group);
		fputc('\n', f);
	}
	free(told);
	return MOE_OK;
}

static json_t *group_json(const struct view *v, size_t g)
{
	json_t *o = json_object(), *count = json_array(), *first = json_array();
	char buf[24];
	size_t n;
	const char *name = name_of(v->r, g, buf, sizeof buf, &n);

	for (size_t e = 0; e < v->g->experts; e++) {
		json_array_append_new(count, json_integer(v->l->count[g * v->g->experts + e]));
		json_array_append_new(first, json_integer(v->l->first[g * v->g->experts + e]));
	}
	moe_set_text(o, "what", "label");
	moe_set_text(o, "choice", v->g->choice);
	moe_set_number(o, "layer", v->l->number);
	moe_set_text(o, "by", v->r->by);
	json_object_set_new(o, "label", moe_json_text(name, n));
	if (!v->r->names->list[g].text)
		json_object_set_new(o, "number", json_integer(v->r->names->list[g].number));
	moe_set_number(o, "tokens", v->l->tokens[g]);
	json_object_set_new(o, "load", count);
	json_object_set_new(o, "first", first);
	moe_set_real(o, "says", says_of(v, g));
	return o;
}

static void print_json(FILE *f, const struct view *v)
{
	json_t *o = json_object();

	moe_set_text(o, "what", "by");
	moe_set_text(o, "choice", v->g->choice);
	moe_set_number(o, "layer", v->l->number);
	moe_set_text(o, "by", v->r->by);
	moe_set_number(o, "experts", v->g->experts);
	moe_set_number(o, "top_k", v->g->k);
	moe_set_number(o, "tokens", v->tokens);
	moe_set_number(o, "labels", count_listed(v));
	moe_set_number(o, "unlabelled", v->l->unlabelled);
	json_object_set_new(o, "load", moe_json_numbers(v->total, v->g->experts));
	moe_set_real(o, "chance", (double)v->g->k / (double)v->g->experts);
	moe_set_real(o, "information", v->s.information);
	moe_set_real(o, "information_chance", v->s.information_chance);
	moe_set_real(o, "label_entropy", v->s.label_entropy);
	moe_set_real(o, "specialisation", v->s.share);
	moe_set_real(o, "score", v->s.score);
	moe_set_real(o, "score_even", v->s.score_even);
	moe_set_real(o, "score_chance", v->s.score_chance);
	if (v->r->vocabulary) {
		moe_set_real(o, "vocabulary", v->v.value);
		moe_set_real(o, "vocabulary_chance", v->v.chance);
		moe_set_number(o, "words", v->v.groups);
	}
	moe_print_json(f, o);
	for (size_t g = 0; g < v->l->groups; g++)
		if (v->l->tokens[g] >= v->r->least && v->l->tokens[g])
			moe_print_json(f, group_json(v, g));
}

static void print_tsv(FILE *f, const struct view *v, bool header)
{
	if (header)
		fputs("choice\tlayer\tby\tlabel\texpert\tcount\tfirst\tshare\toverall\tchance\ttokens\tk\n", f);
	for (size_t g = 0; g < v->l->groups; g++) {
		char buf[24];
		size_t n;
		const char *name;
		if (!v->l->tokens[g] || v->l->tokens[g] < v->r->least)
			continue;
		name = name_of(v->r, g, buf, sizeof buf, &n);
		for (size_t e = 0; e < v->g->experts; e++) {
			size_t at = g * v->g->experts + e;
			moe_print_escaped(f, v->g->choice, strlen(v->g->choice));
			fprintf(f, "\t%zu\t%s\t", v->l->number, v->r->by);
			moe_print_escaped(f, name, n);
			fprintf(f, "\t%zu\t%u\t%u", e, v->l->count[at], v->l->first[at]);
			moe_tsv_real(f, (double)v->l->count[at] / (double)v->l->tokens[g]);
			moe_tsv_real(f, (double)v->total[e] / (double)v->tokens);
			moe_tsv_real(f, (double)v->g->k / (double)v->g->experts);
			fprintf(f, "\t%llu\t%zu\n", (unsigned long long)v->l->tokens[g], v->g->k);
		}
	}
}

enum moe_err moe_report_groups(FILE *f, const struct moe_groups_report *r, enum moe_load_format format, struct moe_diag *d)
{
	bool first = true;

	for (size_t i = 0; i < r->set->n; i++)
		for (size_t l = 0; l < r->set->kind[i].n_layers; l++, first = false) {
			struct view v = {.r = r, .g = &r->set->kind[i], .l = &r->set->kind[i].layer[l]};
			enum moe_err err = open_view(&v, d);
			if (!err && format == MOE_LOAD_JSON)
				print_json(f, &v);
			else if (!err && format == MOE_LOAD_TSV)
				print_tsv(f, &v, first);
			else if (!err && !first)
				fputc('\n', f);
			if (!err && format == MOE_LOAD_TEXT)
				err = print_text(f, &v, d);
			free(v.total);
			if (err)
				return err;
		}
	return moe_report_done(f, d);
}
