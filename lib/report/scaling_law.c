#include <math.h>
#include <string.h>

#include "report/amount.h"
#include "report/escape.h"
#include "report/routing_priv.h"
#include "report/scaling.h"
#include "report/scaling_priv.h"

const char *moe_scaling_interval(double low, double high, int digits, char to[80])
{
	char a[32], b[32];

	if (isnan(low) || isnan(high))
		return "-";
	snprintf(to, 80, "%s to %s", moe_figure(a, sizeof a, digits, low), moe_figure(b, sizeof b, digits, high));
	return to;
}

json_t *moe_scaling_estimate(const struct moe_law_estimate *e)
{
	json_t *o = json_object();

	moe_set_real(o, "value", e->value);
	moe_set_real(o, "low", e->low);
	moe_set_real(o, "high", e->high);
	return o;
}

void moe_scaling_tsv(FILE *f, const struct moe_law_estimate *e)
{
	moe_tsv_real(f, e->value);
	moe_tsv_real(f, e->low);
	moe_tsv_real(f, e->high);
}

/* A number of a law that is told: a parameter, or what follows from them. */
struct told {
	const char *name, *about;
	struct moe_law_estimate is;
};

enum { A, B, C, K, N_GROWTH, MOST_TOLD = MOE_LAW_MOST + N_GROWTH };

struct growth {
	const struct moe_law_cost *cost;
	int which;
};

static double parameter(const struct moe_law *l, const void *number) { return l->value[*(const size_t *)number]; }

static double growth(const struct moe_law *l, const void *self)
{
	const struct growth *q = self;
	struct moe_law_growth g = moe_law_grow(l, q->cost->from, q->cost->to, q->cost->cost, q->cost->s);

	return q->which == A ? g.a : q->which == B ? g.b : q->which == C ? g.c : g.k;
}

static enum moe_err tell(struct told *t, size_t *n, const struct moe_scaling_law *l, struct moe_diag *d)
{
	static const char *const names[N_GROWTH] = {"a", "b", "c", "K"};
	static const char *const abouts[N_GROWTH] = {"the best N grows with (FLOPs)^a", "the best D grows with (FLOPs)^b",
						     "the loss of the best sizes is K (FLOPs)^c", ""};
	struct growth g = {l->cost, 0};

	*n = 0;
	for (size_t i = 0; i < moe_law_parameters(l->fit->law.kind); i++) {
		t[*n].name = moe_law_name(i);
		t[*n].about = "";
		MOE_TRY(moe_law_estimate(&t[(*n)++].is, l->fit, parameter, &i, d));
	}
	for (; g.which < N_GROWTH; g.which++) {
		t[*n].name = names[g.which];
		t[*n].about = abouts[g.which];
		MOE_TRY(moe_law_estimate(&t[(*n)++].is, l->fit, growth, &g, d));
	}
	return MOE_OK;
}

void moe_scaling_heading(FILE *f, const struct moe_scaling_law *l)
{
	moe_print_escaped(f, l->arm, strlen(l->arm));
	fputs(*l->arm ? ", " : "", f);
	moe_print_escaped(f, l->loss, strlen(l->loss));
}

const char *moe_scaling_formula(enum moe_law_kind k)
{
	return k == MOE_LAW_DENSE ? "L = E + A/N^alpha + B/D^beta" : "L = E + A/N^alpha + B/D^beta + C/(1-S)^lambda + F/((1-S)^delta N^gamma)";
}

/* "275M to 3.35G" */
static const char *range(double from, double to, char text[80])
{
	char a[32], b[32];

	snprintf(text, 80, "%s to %s", moe_amount_text(from, 3, a), moe_amount_text(to, 3, b));
	return text;
}

static void print_text(FILE *f, const struct moe_scaling_law *l, const struct told *t, size_t n)
{
	const struct moe_law_fit *fit = l->fit;
	char text[80], v[32];

	moe_scaling_heading(f, l);
	fprintf(f, ": %s\n%zu runs: %zu sizes N, %s; ", moe_scaling_formula(fit->law.kind), fit->runs, fit->n_sizes, range(fit->least.n, fit->most.n, text));
	fprintf(f, "%zu numbers of tokens D, %s", fit->n_tokens, range(fit->least.d, fit->most.d, text));
	if (fit->law.kind == MOE_LAW_SPARSE)
		fprintf(f, "; %zu sparsities S, %.3g to %.3g", fit->n_sparsities, fit->least.s, fit->most.s);
	fprintf(f, "\n%.3g to %.3g FLOPs", l->cost->from, l->cost->to);
	if (!l->counted)
		fputs(" (6 N D)\n", f);
	else if (l->cost->most > l->cost->least * 1.01)
		fprintf(f, " (%.3g N D; %.3g to %.3g of single runs)\n", l->cost->cost, l->cost->least, l->cost->most);
	else
		fprintf(f, " (%.3g N D)\n", l->cost->cost);
	fprintf(f, "%14s%s\n", "value", fit->draws ? "   95 % interval" : "");
	for (size_t i = 0; i < n; i++) {
		fprintf(f, "%-6s%8s", t[i].name, moe_figure(v, sizeof v, -4, t[i].is.value));
		if (fit->draws)
			fprintf(f, "   %-*s", *t[i].about ? 24 : 0, moe_scaling_interval(t[i].is.low, t[i].is.high, -4, text));
		if (*t[i].about)
			fprintf(f, "%s%s", fit->draws ? "" : "   ", t[i].about);
		fputc('\n', f);
	}
	fprintf(f, "R2 %s; predicted within %.2g %% on average, %.2g %% at most\n", moe_figure(v, sizeof v, 5, fit->r2), 100 * fit->mean_error,
		100 * fit->largest_error);
}

static void print_json(FILE *f, const struct moe_scaling_law *l, const struct told *t, size_t n)
{
	const struct moe_law_fit *fit = l->fit;
	json_t *o = json_object();

	moe_set_text(o, "what", "law");
	moe_set_text(o, "arm", l->arm);
	moe_set_text(o, "loss", l->loss);
	moe_set_text(o, "law", moe_law_kind_name(fit->law.kind));
	moe_set_number(o, "runs", fit->runs);
	moe_set_number(o, "points", fit->points);
	moe_set_number(o, "sizes", fit->n_sizes);
	moe_set_number(o, "tokens", fit->n_tokens);
	moe_set_real(o, "flops_per_nd", l->cost->cost);
	moe_set_real(o, "flops_from", l->cost->from);
	moe_set_real(o, "flops_to", l->cost->to);
	moe_set_number(o, "resamples", fit->draws);
	for (size_t i = 0; i < n; i++)
		json_object_set_new(o, t[i].name, moe_scaling_estimate(&t[i].is));
	moe_set_real(o, "huber", fit->objective);
	moe_set_real(o, "r2", fit->r2);
	moe_set_real(o, "mean_error", fit->mean_error);
	moe_set_real(o, "largest_error", fit->largest_error);
	moe_print_json(f, o);
}

static void print_tsv(FILE *f, const struct moe_scaling_law *l, const struct told *t, size_t n, bool header)
{
	if (header)
		fputs("arm\tloss\tlaw\truns\tparameter\tvalue\tlow\thigh\n", f);
	for (size_t i = 0; i < n; i++) {
		moe_print_escaped(f, l->arm, strlen(l->arm));
		fputc('\t', f);
		moe_print_escaped(f, l->loss, strlen(l->loss));
		fprintf(f, "\t%s\t%zu\t%s", moe_law_kind_name(l->fit->law.kind), l->fit->runs, t[i].name);
		moe_scaling_tsv(f, &t[i].is);
		fputc('\n', f);
	}
}

enum moe_err moe_report_law(FILE *f, const struct moe_scaling_law *l, enum moe_load_format format, bool header, struct moe_diag *d)
{
	struct told t[MOST_TOLD];
	size_t n;

	MOE_TRY(tell(t, &n, l, d));
	if (format == MOE_LOAD_JSON)
		print_json(f, l, t, n);
	else if (format == MOE_LOAD_TSV)
		print_tsv(f, l, t, n, header);
	else
		print_text(f, l, t, n);
	return ferror(f) ? moe_fail_errno(d, "cannot write") : MOE_OK;
}
