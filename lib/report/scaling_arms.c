#include <math.h>
#include <string.h>

#include "report/escape.h"
#include "report/routing_priv.h"
#include "report/scaling_priv.h"

enum { NAME = 16 };             /* columns of names */

static void print_name(FILE *f, const char *s, size_t width)
{
	size_t n = moe_print_escaped(f, s, strlen(s));

	fprintf(f, "%*s", (int)(n < width ? width - n : 1), "");
}

static size_t widest(const struct moe_runs *r)
{
	size_t most = NAME;

	for (size_t i = 0; i < r->n_arms; i++)
		most = strlen(r->arm[i]) + 2 > most ? strlen(r->arm[i]) + 2 : most;
	return most < 40 ? most : 40;
}

/* ---- savings ---- */

/* "1.31", "> 3.2": at its first measurement already, "< 0.4". */
static const char *eta_text(const struct moe_eta *e, char to[40])
{
	static const char *const signs[] = {"", "> ", "< "};
	char v[32];

	snprintf(to, 40, "%s%s", signs[e->bound], moe_figure(v, sizeof v, 3, e->value));
	return to;
}

static void print_saving(FILE *f, const struct moe_runs *r, const struct moe_saving *s, const struct moe_savings_options *o, size_t width)
{
	char eta[40], a[80], b[80], v[32];

	print_name(f, r->arm[s->arm], width);
	print_name(f, r->measure[s->measure], NAME);
	fprintf(f, "%5zu  %9s  %-15s", s->seeds, eta_text(&s->eta, eta), moe_scaling_interval(s->low, s->high, 3, a));
	fprintf(f, "  %-15s", moe_scaling_interval(s->t_low, s->t_high, 3, b));
	fprintf(f, "  %8s", moe_figure(v, sizeof v, 4, s->loss));
	fprintf(f, "  %8s", moe_figure(v, sizeof v, 4, s->baseline_loss));
	if (s->seeds && !s->eta.reached) {
		fputs("  at its own last loss: it did not come to that of ", f);
		moe_print_escaped(f, r->arm[o->baseline], strlen(r->arm[o->baseline]));
	}
	fputc('\n', f);
}

static void savings_text(FILE *f, const struct moe_runs *r, const struct moe_savings *s, const struct moe_savings_options *o)
{
	size_t width = widest(r);
	char a[80], v[32];

	fprintf(f, "eta: %s of ", moe_cost_name(o->cost));
	moe_print_escaped(f, r->arm[o->baseline], strlen(r->arm[o->baseline]));
	fprintf(f, " / %s of the arm at the same loss, with 95 %% intervals over seeds\n", moe_cost_name(o->cost));
	print_name(f, "arm", width);
	print_name(f, "measure", NAME);
	fprintf(f, "%5s  %9s  %-15s  %-15s  %8s  %8s\n", "seeds", "eta", "bootstrap", "Student's t", "last", "baseline");
	for (size_t i = 0; i < s->n_arms * s->n_measures; i++)
		print_saving(f, r, &s->saving[i], o, width);
	for (size_t i = 0; i < s->n_arms * s->n_measures; i++) {
		const struct moe_saving *own = &s->saving[i], *first = &s->saving[i - i % s->n_measures];
		if (own == first || !isfinite(s->ratio[i].value))
			continue;
		print_name(f, r->arm[own->arm], width);
		fprintf(f, "eta of %s / eta of %s: %s", r->measure[own->measure], r->measure[first->measure], moe_figure(v, sizeof v, 3, s->ratio[i].value));
		fprintf(f, " (%s)\n", moe_scaling_interval(s->ratio[i].low, s->ratio[i].high, 3, a));
	}
}

static const char *bound_name(const struct moe_saving *s)
{
	static const char *const names[] = {"is", "above", "below"};

	return s->seeds ? names[s->eta.bound] : "none";
}

static void saving_json(FILE *f, const struct moe_runs *r, const struct moe_savings *s, size_t i, const struct moe_savings_options *o)
{
	const struct moe_saving *own = &s->saving[i];
	json_t *e = json_object();

	moe_set_text(e, "what", "eta");
	moe_set_text(e, "arm", r->arm[own->arm]);
	moe_set_text(e, "baseline", r->arm[o->baseline]);
	moe_set_text(e, "measure", r->measure[own->measure]);
	moe_set_text(e, "cost", moe_cost_name(o->cost));
	moe_set_real(e, "eta", own->eta.value);
	moe_set_text(e, "bound", bound_name(own));
	json_object_set_new(e, "reached", json_boolean(own->eta.reached));
	moe_set_real(e, "low", own->low);
	moe_set_real(e, "high", own->high);
	moe_set_real(e, "t_low", own->t_low);
	moe_set_real(e, "t_high", own->t_high);
	moe_set_number(e, "seeds", own->seeds);
	moe_set_number(e, "baseline_seeds", own->baseline_seeds);
	moe_set_number(e, "pairs", own->pairs);
	moe_set_real(e, "last", own->loss);
	moe_set_real(e, "baseline_last", own->baseline_loss);
	moe_set_real(e, "spent", own->cost);
	moe_set_real(e, "baseline_spent", own->baseline_cost);
	if (i % s->n_measures) {
		moe_set_text(e, "against", r->measure[s->saving[i - i % s->n_measures].measure]);
		json_object_set_new(e, "ratio", moe_scaling_estimate(&(struct moe_law_estimate){s->ratio[i].value, s->ratio[i].low, s->ratio[i].high}));
	}
	moe_print_json(f, e);
}

static void saving_tsv(FILE *f, const struct moe_runs *r, const struct moe_saving *s, const struct moe_savings_options *o)
{
	moe_print_escaped(f, r->arm[s->arm], strlen(r->arm[s->arm]));
	fputc('\t', f);
	moe_print_escaped(f, r->measure[s->measure], strlen(r->measure[s->measure]));
	fprintf(f, "\t%s", moe_cost_name(o->cost));
	moe_tsv_real(f, s->eta.value);
	fprintf(f, "\t%s\t%d", bound_name(s), s->eta.reached);
	moe_tsv_real(f, s->low);
	moe_tsv_real(f, s->high);
	moe_tsv_real(f, s->t_low);
	moe_tsv_real(f, s->t_high);
	fprintf(f, "\t%zu\t%zu", s->seeds, s->pairs);
	moe_tsv_real(f, s->loss);
	moe_tsv_real(f, s->baseline_loss);
	fputc('\n', f);
}

enum moe_err moe_report_savings(FILE *f, const struct moe_runs *r, const struct moe_savings *s, const struct moe_savings_options *o,
				enum moe_load_format format, struct moe_diag *d)
{
	if (format == MOE_LOAD_TEXT)
		savings_text(f, r, s, o);
	if (format == MOE_LOAD_TSV)
		fputs("arm\tmeasure\tcost\teta\tbound\treached\tlow\thigh\tt_low\tt_high\tseeds\tpairs\tlast\tbaseline_last\n", f);
	for (size_t i = 0; i < s->n_arms * s->n_measures && format != MOE_LOAD_TEXT; i++)
		if (format == MOE_LOAD_JSON)
			saving_json(f, r, s, i, o);
		else
			saving_tsv(f, r, &s->saving[i], o);
	return ferror(f) ? moe_fail_errno(d, "cannot write") : MOE_OK;
}

/* ---- differences ---- */

/* What the interval says of the arm. */
static const char *verdict(const struct moe_student *t)
{
	return t->low > 0 ? "higher" : t->high < 0 ? "lower" : t->n < 2 ? "too few pairs" : "not distinguishable";
}

static void paired_text(FILE *f, const struct moe_runs *r, size_t baseline, const struct moe_paired *p, size_t n)
{
	size_t width = widest(r);
	char a[80], v[32];

	fputs("at the end of training, arm - ", f);
	moe_print_escaped(f, r->arm[baseline], strlen(r->arm[baseline]));
	fputs(" seed by seed, with Student's 95 % interval\n", f);
	print_name(f, "arm", width);
	print_name(f, "measure", NAME);
	fprintf(f, "%5s  %9s  %9s  %10s  %-20s  %s\n", "pairs", "baseline", "arm", "difference", "interval", "FLOPs");
	for (size_t i = 0; i < n; i++) {
		print_name(f, r->arm[p[i].arm], width);
		print_name(f, r->measure[p[i].measure], NAME);
		fprintf(f, "%5zu  %9s", p[i].difference.n, moe_figure(v, sizeof v, 4, p[i].baseline));
		fprintf(f, "  %9s", moe_figure(v, sizeof v, 4, p[i].mean));
		fprintf(f, "  %10s", moe_figure(v, sizeof v, 4, p[i].difference.mean));
		fprintf(f, "  %-20s", moe_scaling_interval(p[i].difference.low, p[i].difference.high, 4, a));
		fprintf(f, "  %5s  %s", moe_figure(v, sizeof v, 3, p[i].flops), verdict(&p[i].difference));
		if (p[i].alone)
			fprintf(f, " (%zu runs in no pair)", p[i].alone);
		fputc('\n', f);
	}
}

static void paired_json(FILE *f, const struct moe_runs *r, size_t baseline, const struct moe_paired *p)
{
	json_t *o = json_object();

	moe_set_text(o, "what", "difference");
	moe_set_text(o, "arm", r->arm[p->arm]);
	moe_set_text(o, "baseline", r->arm[baseline]);
	moe_set_text(o, "measure", r->measure[p->measure]);
	moe_set_number(o, "pairs", p->difference.n);
	moe_set_real(o, "difference", p->difference.mean);
	moe_set_real(o, "low", p->difference.low);
	moe_set_real(o, "high", p->difference.high);
	moe_set_real(o, "deviation", p->difference.deviation);
	moe_set_real(o, "value", p->mean);
	moe_set_real(o, "baseline_value", p->baseline);
	moe_set_real(o, "flops_ratio", p->flops);
	moe_set_text(o, "verdict", verdict(&p->difference));
	moe_set_number(o, "alone", p->alone);
	moe_print_json(f, o);
}

static void paired_tsv(FILE *f, const struct moe_runs *r, const struct moe_paired *p)
{
	moe_print_escaped(f, r->arm[p->arm], strlen(r->arm[p->arm]));
	fputc('\t', f);
	moe_print_escaped(f, r->measure[p->measure], strlen(r->measure[p->measure]));
	fprintf(f, "\t%zu", p->difference.n);
	moe_tsv_real(f, p->baseline);
	moe_tsv_real(f, p->mean);
	moe_tsv_real(f, p->difference.mean);
	moe_tsv_real(f, p->difference.low);
	moe_tsv_real(f, p->difference.high);
	moe_tsv_real(f, p->flops);
	fprintf(f, "\t%s\n", verdict(&p->difference));
}

enum moe_err moe_report_paired(FILE *f, const struct moe_runs *r, size_t baseline, const struct moe_paired *p, size_t n, enum moe_load_format format,
			       struct moe_diag *d)
{
	if (format == MOE_LOAD_TEXT)
		paired_text(f, r, baseline, p, n);
	if (format == MOE_LOAD_TSV)
		fputs("arm\tmeasure\tpairs\tbaseline\tvalue\tdifference\tlow\thigh\tflops_ratio\tverdict\n", f);
	for (size_t i = 0; i < n && format != MOE_LOAD_TEXT; i++)
		if (format == MOE_LOAD_JSON)
			paired_json(f, r, baseline, &p[i]);
		else
			paired_tsv(f, r, &p[i]);
	return ferror(f) ? moe_fail_errno(d, "cannot write") : MOE_OK;
}

/* ---- the measurements themselves ---- */

/* Columns that some measurement has. */
struct columns { bool n, s, flops, seconds, seed, arm; };

/* A tab and a name. */
static void print_field(FILE *f, const char *s)
{
	fputc('\t', f);
	moe_print_escaped(f, s, strlen(s));
}

static void print_run(FILE *f, const struct moe_runs *r, const struct moe_run_at *a, const struct columns *c)
{
	fprintf(f, "%zu", a->run + 1);
	if (c->arm)
		print_field(f, r->arm[a->arm]);
	if (c->seed && a->seeded)
		fprintf(f, "\t%lld", (long long)a->seed);
	else if (c->seed)
		fputc('\t', f);
	if (c->n)
		moe_tsv_real(f, a->n);
	moe_tsv_real(f, a->d);
	if (c->s)
		moe_tsv_real(f, a->s);
	if (c->flops)
		moe_tsv_real(f, a->flops);
	if (c->seconds)
		moe_tsv_real(f, a->seconds);
	for (size_t m = 0; m < r->n_measures; m++)
		moe_tsv_real(f, moe_run_measure(a, m));
	fputc('\n', f);
}

enum moe_err moe_report_runs(FILE *f, const struct moe_runs *r, struct moe_diag *d)
{
	struct columns c = {.flops = r->counted};

	for (size_t i = 0; i < r->n; i++) {
		c.n |= !isnan(r->at[i].n);
		c.s |= r->at[i].s > 0;
		c.seconds |= !isnan(r->at[i].seconds);
		c.seed |= r->at[i].seeded;
		c.arm |= *r->arm[r->at[i].arm] != 0;
	}
	fprintf(f, "run%s%s%s\tD%s%s%s", c.arm ? "\tarm" : "", c.seed ? "\tseed" : "", c.n ? "\tN" : "", c.s ? "\tS" : "", c.flops ? "\tflops" : "",
		c.seconds ? "\tseconds" : "");
	for (size_t m = 0; m < r->n_measures; m++)
		print_field(f, r->measure[m]);
	fputc('\n', f);
	for (size_t i = 0; i < r->n; i++)
		print_run(f, r, &r->at[i], &c);
	return ferror(f) ? moe_fail_errno(d, "cannot write") : MOE_OK;
}
