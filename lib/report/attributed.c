#include "report/attributed.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "report/escape.h"

enum { EMBEDDING, BIAS, FIRST_LAYER };          /* places in the sums */
enum { ATTENTION, SHARED, FIRST_EXPERT };       /* in those of a layer */

static const char *const kind_name[] = {
	[MOE_SUMMAND_EMBEDDING] = "embedding", [MOE_SUMMAND_ATTENTION] = "attention", [MOE_SUMMAND_EXPERT] = "expert", [MOE_SUMMAND_SHARED] = "shared",
	[MOE_SUMMAND_BIAS] = "bias",
};

enum moe_err moe_attributed_init(struct moe_attributed_report *r, size_t layers, size_t experts, struct moe_diag *d)
{
	r->layers = layers;
	r->experts = experts;
	r->sum = calloc(FIRST_LAYER + layers * (FIRST_EXPERT + experts), sizeof *r->sum);
	return r->sum ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");
}

void moe_attributed_free(struct moe_attributed_report *r)
{
	free(r->sum);
	r->sum = NULL;
}

static bool in_layer(enum moe_summand_kind k) { return k == MOE_SUMMAND_ATTENTION || k == MOE_SUMMAND_EXPERT || k == MOE_SUMMAND_SHARED; }

static struct moe_attributed_sum *place(const struct moe_attributed_report *r, const struct moe_summand *s)
{
	struct moe_attributed_sum *layer = r->sum + FIRST_LAYER + s->layer * (FIRST_EXPERT + r->experts);

	switch (s->kind) {
	case MOE_SUMMAND_EMBEDDING:
		return r->sum + EMBEDDING;
	case MOE_SUMMAND_BIAS:
		return r->sum + BIAS;
	case MOE_SUMMAND_ATTENTION:
		return layer + ATTENTION;
	case MOE_SUMMAND_SHARED:
		return layer + SHARED;
	default:
		return layer + FIRST_EXPERT + s->expert;
	}
}

static json_t *summand_json(const struct moe_summand *s)
{
	json_t *o = json_pack("{s:s}", "part", kind_name[s->kind]);

	if (in_layer(s->kind))
		json_object_set_new(o, "layer", json_integer((json_int_t)s->layer));
	if (s->kind == MOE_SUMMAND_EXPERT) {
		json_object_set_new(o, "expert", json_integer(s->expert));
		json_object_set_new(o, "weight", json_real(s->weight));
	}
	json_object_set_new(o, "logit", json_real(s->logit));
	json_object_set_new(o, "lead", json_real(s->lead));
	return o;
}

static bool print_json(const struct moe_attributed_report *r, const struct moe_attributed *a)
{
	json_t *o = json_object(), *list = json_array();

	if (a->name)
		json_object_set_new(o, "name", moe_json_text(a->name, strlen(a->name)));
	json_object_set_new(o, "seq", json_integer((json_int_t)a->seq));
	json_object_set_new(o, "step", json_integer((json_int_t)a->step));
	json_object_set_new(o, "row", json_integer((json_int_t)a->row));
	json_object_set_new(o, "answer", moe_json_token(r->tokenizer, a->token));
	json_object_set_new(o, "second", a->second >= 0 ? moe_json_token(r->tokenizer, a->second) : json_null());
	json_object_set_new(o, "logit", json_real(a->logit));
	json_object_set_new(o, "lead", json_real(a->lead));
	for (size_t i = 0; i < a->n; i++)
		json_array_append_new(list, summand_json(&a->summand[i]));
	json_object_set_new(o, "parts", list);
	return moe_print_json(r->f, o);
}

static void print_tsv(const struct moe_attributed_report *r, const struct moe_attributed *a)
{
	if (!r->answers)
		fprintf(r->f, "name\tseq\tstep\trow\tanswer\tsecond\tpart\tlayer\texpert\tweight\tlogit\tlead\n");
	for (size_t i = 0; i < a->n; i++) {
		const struct moe_summand *s = &a->summand[i];
		if (a->name)
			moe_print_escaped(r->f, a->name, strlen(a->name));
		fprintf(r->f, "\t%llu\t%llu\t%llu\t%d\t%d\t%s\t", (unsigned long long)a->seq, (unsigned long long)a->step, (unsigned long long)a->row, a->token, a->second,
			kind_name[s->kind]);
		if (in_layer(s->kind))
			fprintf(r->f, "%zu", s->layer);
		if (s->kind == MOE_SUMMAND_EXPERT)
			fprintf(r->f, "\t%d\t%.9g", s->expert, s->weight);
		else
			fprintf(r->f, "\t\t");
		fprintf(r->f, "\t%.9g\t%.9g\n", s->logit, s->lead);
	}
}

enum moe_err moe_attributed_add(struct moe_attributed_report *r, const struct moe_attributed *a, struct moe_diag *d)
{
	bool ok = true;

	if (r->form == MOE_ATTRIBUTED_JSON)
		ok = print_json(r, a);
	else if (r->form == MOE_ATTRIBUTED_TSV)
		print_tsv(r, a);
	for (size_t i = 0; i < a->n; i++) {
		const struct moe_summand *s = &a->summand[i];
		struct moe_attributed_sum *to = place(r, s);
		to->logit += s->logit;
		to->lead += s->lead;
		to->weight += s->weight;
		to->n++;
	}
	r->all.logit += a->logit;
	r->all.lead += a->lead;
	r->answers++;
	r->last = *a;
	return ok && !ferror(r->f) ? MOE_OK : moe_fail_errno(d, "cannot write");
}

/* A line of the summary; layer -1: none. What no answer has is left out. */
static void print_line(const struct moe_attributed_report *r, long layer, const char *part, const struct moe_attributed_sum *s, bool expert)
{
	double n = (double)r->answers, all = r->all.logit;
	char where[24] = "-", chosen[24] = "", weight[24] = "";

	if (!s->n)
		return;
	if (layer >= 0)
		snprintf(where, sizeof where, "%ld", layer);
	if (expert) {
		snprintf(chosen, sizeof chosen, "%llu", (unsigned long long)s->n);
		snprintf(weight, sizeof weight, "%.3f", s->weight / (double)s->n);
	}
	fprintf(r->f, "%-6s %-12s %8s %7s %10.3f %10.3f %7.1f %%\n", where, part, chosen, weight, s->logit / n, s->lead / n, 100 * s->logit / all);
}

static void print_layer(const struct moe_attributed_report *r, size_t layer)
{
	const struct moe_attributed_sum *s = r->sum + FIRST_LAYER + layer * (FIRST_EXPERT + r->experts);

	print_line(r, (long)layer, "attention", s + ATTENTION, false);
	for (size_t e = 0; e < r->experts; e++) {
		char part[40];
		snprintf(part, sizeof part, "expert %zu", e);
		print_line(r, (long)layer, part, s + FIRST_EXPERT + e, true);
	}
	print_line(r, (long)layer, "shared", s + SHARED, false);
}

static void print_answer(const struct moe_attributed_report *r)
{
	fprintf(r->f, "answer ");
	moe_print_token(r->f, r->tokenizer, r->last.token);
	if (r->last.second >= 0) {
		fprintf(r->f, ", second ");
		moe_print_token(r->f, r->tokenizer, r->last.second);
	}
	fputc('\n', r->f);
}

enum moe_err moe_attributed_finish(struct moe_attributed_report *r, struct moe_diag *d)
{
	if (r->form == MOE_ATTRIBUTED_TEXT) {
		double n = (double)r->answers;
		if (r->answers == 1)
			print_answer(r);
		else
			fprintf(r->f, "means over %llu answers\n", (unsigned long long)r->answers);
		if (r->answers) {
			fprintf(r->f, "%-6s %-12s %8s %7s %10s %10s %9s\n", "layer", "part", "chosen", "weight", "logit", "lead", "of logit");
			print_line(r, -1, "embedding", r->sum + EMBEDDING, false);
			for (size_t l = 0; l < r->layers; l++)
				print_layer(r, l);
			print_line(r, -1, "bias", r->sum + BIAS, false);
			fprintf(r->f, "%-6s %-12s %8s %7s %10.3f %10.3f\n", "all", "", "", "", r->all.logit / n, r->all.lead / n);
		}
	}
	return fflush(r->f) || ferror(r->f) ? moe_fail_errno(d, "cannot write") : MOE_OK;
}
