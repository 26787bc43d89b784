#include "eval/tables.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "report/escape.h"

static const double thresholds[] = {0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995};
enum { N_THRESHOLDS = sizeof thresholds / sizeof *thresholds, WIDEST = 28 };

static double mean_logprob(const struct moe_tally_part *p) { return p->tokens ? p->logprob / (double)p->tokens : 0; }
static double perplexity(const struct moe_tally_part *p) { return exp(-mean_logprob(p)); }

/* Samples that were asked. */
static size_t count_samples(const struct moe_evaluation *e)
{
	size_t n = 0;

	for (size_t i = 0; i < e->n_samples; i++)
		n += e->sample[i]->asked[0].own.done;
	return n;
}

/* ---- text ---- */

/* A name in a column, on its line whatever is in it. */
static void print_name(FILE *f, const char *s, int width)
{
	size_t n = strlen(s);

	fprintf(f, "%*s", width - (int)moe_print_escaped(f, s, n), "");
}

static int widest(const struct moe_tally *s, const char *head, int column)
{
	size_t most = strlen(head);

	for (size_t i = 0; i < s->n; i++) {
		const char *name = column == 0 ? s->row[i].kind : column == 1 ? s->row[i].type : s->row[i].value;
		most = moe_max(most, name ? strlen(name) : 3);
	}
	return (int)moe_min(most, WIDEST) + 2;
}

struct widths { int kind, type, value; };

static struct widths find_widths(const struct moe_tables *t)
{
	return (struct widths){widest(t->scores, "kind", 0), widest(t->scores, "type", 1), t->by ? widest(t->scores, t->by, 2) : 0};
}

/* A kind with one type, and a lone kind, are told once. */
static bool told_below(const struct moe_tally *s, size_t i)
{
	const struct moe_tally_row *r = &s->row[i];

	for (size_t k = i + 1; k < s->n; k++) {
		const struct moe_tally_row *x = &s->row[k];
		bool part = r->kind ? !r->type && x->type && !x->value && !strcmp(x->kind, r->kind) : x->kind && !x->type;
		if (part && x->own.n == r->own.n)
			return true;
	}
	return false;
}

static void print_key(FILE *f, const struct moe_tables *t, const struct moe_tally_row *r, const struct widths *w)
{
	print_name(f, r->kind ? r->kind : "all", w->kind);
	print_name(f, r->type ? r->type : r->kind ? "all" : "", w->type);
	if (t->by)
		print_name(f, r->value ? *r->value ? r->value : "-" : "", w->value);
}

static void print_head(FILE *f, const struct moe_tables *t, const struct widths *w)
{
	print_name(f, "kind", w->kind);
	print_name(f, "type", w->type);
	if (t->by)
		print_name(f, t->by, w->value);
}

static void print_blind(FILE *f, const struct moe_tally_row *r)
{
	if (r->blind.n)
		fprintf(f, "  %6.1f%%", 100 * moe_share(r->blind.right, r->blind.n));
	else
		fprintf(f, "  %7s", "-");
}

static void print_scores(FILE *f, const struct moe_tables *t, const struct widths *w)
{
	print_head(f, t, w);
	fprintf(f, "%7s  %7s  %13s  %7s  %7s  %10s  %10s  %10s  %7s\n", "n", "right", "95 % interval", "blind", "chance", "perplexity", "blind ppl.", "confidence", "ECE");
	for (size_t i = 0; i < t->scores->n; i++) {
		const struct moe_tally_row *r = &t->scores->row[i];
		double low, high;
		if (!r->value && told_below(t->scores, i))
			continue;
		moe_wilson(r->own.right, r->own.n, &low, &high);
		print_key(f, t, r, w);
		fprintf(f, "%7llu  %6.1f%%  %5.1f - %5.1f", (unsigned long long)r->own.n, 100 * moe_share(r->own.right, r->own.n), 100 * low, 100 * high);
		print_blind(f, r);
		fprintf(f, "  %6.1f%%  %10.4g", 100 * r->chance, perplexity(&r->own));
		if (r->blind.n)
			fprintf(f, "  %10.4g", perplexity(&r->blind));
		else
			fprintf(f, "  %10s", "-");
		fprintf(f, "  %9.1f%%  %6.1f%%\n", 100 * r->confidence, 100 * r->calibration);
	}
}

static void print_refusals(FILE *f, const struct moe_tables *t)
{
	uint64_t all, right;

	moe_tally_confident(t->e, NULL, 0, &all, &right);
	fprintf(f, "\n%-12s  %8s  %8s\n", "refused", "answered", "right");
	for (int i = 0; i < N_THRESHOLDS; i++) {
		uint64_t n;
		moe_tally_confident(t->e, NULL, thresholds[i], &n, &right);
		fprintf(f, "below %-6g  %7.1f%%", thresholds[i], 100 * moe_share(n, all));
		if (n)
			fprintf(f, "  %7.1f%%\n", 100 * moe_share(right, n));
		else
			fprintf(f, "  %8s\n", "-");
	}
}

static void print_differences(FILE *f, const struct moe_tables *t, const struct widths *w)
{
	if (!t->against)
		return;
	fputc('\n', f);
	print_head(f, t, w);
	fprintf(f, "%7s  %7s  %7s  %10s  %13s\n", "n", "right", "other", "difference", "95 % interval");
	for (size_t i = 0; i < t->scores->n; i++) {
		const struct moe_tally_row *r = &t->scores->row[i];
		double a = 100 * moe_share(r->right_a, r->both), b = 100 * moe_share(r->right_b, r->both);
		if (!r->value && told_below(t->scores, i))
			continue;
		print_key(f, t, r, w);
		fprintf(f, "%7llu  %6.1f%%  %6.1f%%  %+10.1f  %+5.1f - %+5.1f\n", (unsigned long long)r->both, a, b, a - b, 100 * r->low, 100 * r->high);
	}
}

/* The loss of the other modality: what the picture's own rows say. */
static void print_patches(FILE *f, const struct moe_tables *t, const struct widths *w)
{
	for (size_t i = 0; i < t->scores->n_patches; i++) {
		const struct moe_tally_patches *p = &t->scores->patches[i];
		if (!i && t->scores->n_patches == 2)    /* one kind is told once */
			continue;
		if (i == (t->scores->n_patches == 2)) {
			fputc('\n', f);
			print_name(f, "kind", w->kind);
			fprintf(f, "%10s  %7s  %7s  %10s\n", "patches", "right", "chance", "perplexity");
		}
		print_name(f, p->kind ? p->kind : "all", w->kind);
		fprintf(f, "%10llu  %6.1f%%  %6.1f%%  %10.4g\n", (unsigned long long)p->sum.n, 100 * moe_share(p->sum.right, p->sum.n), 100 * p->chance,
			exp(-p->sum.logprob / (double)p->sum.n));
	}
}

/* Share of the busiest expert, entropy of the load as a share of the largest, experts that nothing went to. */
static void print_part(FILE *f, size_t layer, const char *modality, const struct moe_load *l, const struct moe_routing_part *p)
{
	double entropy = 0;
	size_t busiest = 0, unused = 0;

	for (size_t e = 0; e < l->experts; e++) {
		double share = moe_share(p->count[e], p->choices);
		entropy -= share > 0 ? share * log(share) : 0;
		unused += !p->count[e];
		busiest = p->count[e] > p->count[busiest] ? e : busiest;
	}
	fprintf(f, "%-5zu  %-8s  %10llu  %7.1f%%  %6zu  %7.3f  %6zu\n", layer, modality, (unsigned long long)p->tokens,
		100 * moe_share(p->count[busiest], p->choices), busiest, l->experts > 1 ? entropy / log((double)l->experts) : 0, unused);
}

static void print_routing(FILE *f, const struct moe_tables *t)
{
	fprintf(f, "\n%-5s  %-8s  %10s  %8s  %6s  %7s  %6s\n", "layer", "modality", "rows", "busiest", "expert", "entropy", "unused");
	for (size_t l = 0; l < t->e->n_layers; l++)
		for (int m = 0; m < 2 && t->e->load[l].k; m++)          /* a dense layer routes nothing */
			if (moe_load_part(&t->e->load[l], (unsigned)m)->tokens)
				print_part(f, l, moe_modality_name((unsigned)m), &t->e->load[l], moe_load_part(&t->e->load[l], (unsigned)m));
}

/* With how it is routed, where that is not the choice of each token. */
static void print_model(FILE *f, const char *label, const char *fingerprint, const char *choice)
{
	bool plain = !choice || !strcmp(choice, "token");

	fprintf(f, "%s %s%s%s\n", label, fingerprint, plain ? "" : ", routing ", plain ? "" : choice);
}

static void print_text(FILE *f, const struct moe_tables *t)
{
	struct widths w = find_widths(t);
	uint64_t n, right;

	moe_tally_confident(t->e, NULL, 0, &n, &right);
	print_model(f, "model", t->model, t->choice);
	if (t->against)
		print_model(f, "other", t->against, t->other_choice);
	fprintf(f, "%zu samples, %llu questions, %llu failed\n\n", count_samples(t->e), (unsigned long long)n, (unsigned long long)t->e->failed);
	print_scores(f, t, &w);
	print_refusals(f, t);
	print_differences(f, t, &w);
	print_patches(f, t, &w);
	print_routing(f, t);
}

/* ---- JSON ---- */

static json_t *name(const char *s) { return s ? moe_json_text(s, strlen(s)) : json_null(); }

static json_t *real(double x) { return isfinite(x) ? json_real(x) : json_null(); }

static json_t *score_json(const struct moe_tables *t, const struct moe_tally_row *r)
{
	double low, high, a = moe_share(r->right_a, r->both), b = moe_share(r->right_b, r->both);
	bool blind = r->blind.n;
	json_t *o;

	moe_wilson(r->own.right, r->own.n, &low, &high);
	o = json_pack("{s:s, s:o, s:o}", "what", "score", "kind", name(r->kind), "type", name(r->type));
	if (t->by)
		json_object_set_new(o, t->by, name(r->value));
	json_object_update_new(o, json_pack("{s:I, s:I, s:f, s:f, s:f, s:I, s:o, s:f, s:I, s:o, s:o, s:o, s:o, s:f, s:f}", "n", (json_int_t)r->own.n, "right",
		(json_int_t)r->own.right, "accuracy", moe_share(r->own.right, r->own.n), "low", low, "high", high, "blind_n", (json_int_t)r->blind.n, "blind_accuracy",
		blind ? real(moe_share(r->blind.right, r->blind.n)) : json_null(), "chance", r->chance, "tokens", (json_int_t)r->own.tokens, "logprob",
		real(mean_logprob(&r->own)), "perplexity", real(perplexity(&r->own)), "blind_logprob", blind ? real(mean_logprob(&r->blind)) : json_null(),
		"blind_perplexity", blind ? real(perplexity(&r->blind)) : json_null(), "confidence", r->confidence, "calibration_error", r->calibration));
	if (t->against)
		json_object_update_new(o, json_pack("{s:I, s:f, s:f, s:f, s:f, s:f}", "both", (json_int_t)r->both, "accuracy_both", a, "other_accuracy", b, "difference",
			a - b, "difference_low", r->low, "difference_high", r->high));
	return o;
}

static json_t *refusal_json(const struct moe_tables *t, const char *kind, double below)
{
	uint64_t all, n, right;

	moe_tally_confident(t->e, kind, 0, &all, &right);
	moe_tally_confident(t->e, kind, below, &n, &right);
	return json_pack("{s:s, s:o, s:f, s:f, s:o}", "what", "refusal", "kind", name(kind), "below", below, "answered", moe_share(n, all), "accuracy",
			 n ? real(moe_share(right, n)) : json_null());
}

static json_t *patches_json(const struct moe_tally_patches *p)
{
	double logprob = p->sum.logprob / (double)p->sum.n;

	return json_pack("{s:s, s:o, s:I, s:I, s:f, s:f, s:o, s:o}", "what", "patches", "kind", name(p->kind), "n", (json_int_t)p->sum.n, "right",
			 (json_int_t)p->sum.right, "accuracy", moe_share(p->sum.right, p->sum.n), "chance", p->chance, "logprob", real(logprob), "perplexity",
			 real(exp(-logprob)));
}

static enum moe_err print_json(FILE *f, const struct moe_tables *t, struct moe_diag *d)
{
	json_t *head = json_pack("{s:s, s:s, s:I, s:I}", "what", "evaluation", "model", t->model, "samples", (json_int_t)count_samples(t->e), "failed",
				 (json_int_t)t->e->failed);
	bool ok;

	json_object_set_new(head, "choice", json_string(t->choice ? t->choice : "token"));
	if (t->against)
		json_object_set_new(head, "other", json_string(t->against));
	if (t->against)
		json_object_set_new(head, "other_choice", json_string(t->other_choice ? t->other_choice : "token"));
	ok = moe_print_json(f, head);
	for (size_t i = 0; ok && i < t->scores->n; i++)
		ok = moe_print_json(f, score_json(t, &t->scores->row[i]));
	for (size_t i = 0; ok && i < t->scores->n; i++)
		for (int k = 0; ok && !t->scores->row[i].type && k < N_THRESHOLDS; k++)
			ok = moe_print_json(f, refusal_json(t, t->scores->row[i].kind, thresholds[k]));
	for (size_t i = 0; ok && i < t->scores->n_patches; i++)
		ok = moe_print_json(f, patches_json(&t->scores->patches[i]));
	for (size_t l = 0; ok && l < t->e->n_layers; l++)
		if (t->e->load[l].k)
			MOE_TRY(moe_load_print(f, &t->e->load[l], l, MOE_LOAD_JSON, false, false, d));
	return ok ? MOE_OK : moe_fail(d, MOE_EIO, "cannot write the scores");
}

/* ---- TSV ---- */

static void print_field(FILE *f, const char *s)
{
	moe_print_escaped(f, s ? s : "", s ? strlen(s) : 0);
	fputc('\t', f);
}

static void print_tsv(FILE *f, const struct moe_tables *t)
{
	fputs("kind\ttype\t", f);
	if (t->by)
		print_field(f, t->by);
	fputs("n\tright\taccuracy\tlow\thigh\tblind_n\tblind_accuracy\tchance\ttokens\tlogprob\tperplexity\tblind_logprob\tblind_perplexity\tconfidence\t"
	      "calibration_error", f);
	fputs(t->against ? "\tboth\taccuracy_both\tother_accuracy\tdifference\tdifference_low\tdifference_high\n" : "\n", f);
	for (size_t i = 0; i < t->scores->n; i++) {
		const struct moe_tally_row *r = &t->scores->row[i];
		double low, high, a = moe_share(r->right_a, r->both), b = moe_share(r->right_b, r->both);
		moe_wilson(r->own.right, r->own.n, &low, &high);
		print_field(f, r->kind);
		print_field(f, r->type);
		if (t->by)
			print_field(f, r->value);
		fprintf(f, "%llu\t%llu\t%.6f\t%.6f\t%.6f\t%llu\t%.6f\t%.6f\t%llu\t%.6f\t%.6g\t%.6f\t%.6g\t%.6f\t%.6f", (unsigned long long)r->own.n,
			(unsigned long long)r->own.right, moe_share(r->own.right, r->own.n), low, high, (unsigned long long)r->blind.n,
			moe_share(r->blind.right, r->blind.n), r->chance, (unsigned long long)r->own.tokens, mean_logprob(&r->own), perplexity(&r->own),
			mean_logprob(&r->blind), perplexity(&r->blind), r->confidence, r->calibration);
		if (t->against)
			fprintf(f, "\t%llu\t%.6f\t%.6f\t%.6f\t%.6f\t%.6f", (unsigned long long)r->both, a, b, a - b, r->low, r->high);
		fputc('\n', f);
	}
}

enum moe_err moe_tables_print(FILE *f, const struct moe_tables *t, enum moe_table_format format, struct moe_diag *d)
{
	if (format == MOE_TABLE_TEXT)
		print_text(f, t);
	else if (format == MOE_TABLE_JSON)
		MOE_TRY(print_json(f, t, d));
	else
		print_tsv(f, t);
	return ferror(f) ? moe_fail(d, MOE_EIO, "cannot write the scores") : MOE_OK;
}

static json_t *answer_json(const struct moe_asked_sample *s, const struct moe_asked *a)
{
	json_t *o = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "name", name(s->name), "kind", name(s->kind), "type", name(a->type), "prompt", name(a->prompt),
			      "answer", name(a->answer), "said", name(a->said), "right", a->own.right);

	json_object_update_new(o, json_pack("{s:o, s:o, s:o, s:o}", "confidence", real(a->own.confidence), "logprob", real(a->own.logprob), "blind_right",
		a->blind.done ? json_boolean(a->blind.right) : json_null(), "blind_logprob", a->blind.done ? real(a->blind.logprob) : json_null()));
	return o;
}

enum moe_err moe_tables_answers(FILE *f, const struct moe_evaluation *e, struct moe_diag *d)
{
	for (size_t i = 0; i < e->n_samples; i++)
		for (size_t k = 0; k < e->sample[i]->n; k++)
			if (e->sample[i]->asked[k].own.done && !moe_print_json(f, answer_json(e->sample[i], &e->sample[i]->asked[k])))
				return moe_fail(d, MOE_EIO, "cannot write the answers");
	return MOE_OK;
}
