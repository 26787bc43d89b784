#include <math.h>
#include <string.h>

#include "report/amount.h"
#include "report/escape.h"
#include "report/routing_priv.h"
#include "report/scaling_priv.h"

static const double factors[] = {0.25, 0.5, 2, 4};      /* of the best N, for other sizes */
enum { N_FACTORS = sizeof factors / sizeof *factors, MOST_LAYERS = 256, STEP = 32 };

static double parameters_of(long layers, long hidden) { return 12.0 * (double)layers * (double)hidden * (double)hidden; }

struct moe_shape moe_shape_of(double n, double aspect)
{
	struct moe_shape best = {0};
	double least = INFINITY;

	for (long layers = 1; layers <= MOST_LAYERS; layers++) {
		long hidden = STEP * (long)fmax(1, round(sqrt(n / (12 * (double)layers)) / STEP));
		double off = fabs(log(parameters_of(layers, hidden) / n)) + fabs(log((double)hidden / (double)layers / aspect)) / 4;
		if (off < least) {
			least = off;
			best = (struct moe_shape){layers, hidden};
		}
	}
	return best;
}

/* What an estimate is made for. */
struct aim {
	double flops;
	const struct moe_law_cost *cost;
};

static struct moe_law_at best(const struct moe_law *l, const struct aim *a) { return moe_law_optimum(l, a->flops, a->cost->cost, a->cost->s); }

static double best_n(const struct moe_law *l, const void *aim) { return best(l, aim).n; }
static double best_d(const struct moe_law *l, const void *aim) { return best(l, aim).d; }
static double least_loss(const struct moe_law *l, const void *aim) { return moe_law_loss(l, best(l, aim)); }

/* A budget and what is to be said of it. */
struct budget {
	struct aim aim;
	double hours, beyond;           /* beyond: times the FLOPs of the largest run, 0 where there were no runs */
	struct moe_law_estimate n, d, loss;
	struct moe_shape shape;
	struct { struct moe_law_at at; double loss; } other[N_FACTORS];
};

static enum moe_err make_budget(struct budget *b, const struct moe_scaling_plan *p, double flops, struct moe_diag *d)
{
	const struct moe_law_fit *fit = p->law.fit;

	*b = (struct budget){.aim = {flops, p->law.cost}, .hours = flops / p->rate / 3600, .beyond = fit->points ? flops / p->law.cost->to : 0};
	MOE_TRY(moe_law_estimate(&b->n, fit, best_n, &b->aim, d));
	MOE_TRY(moe_law_estimate(&b->d, fit, best_d, &b->aim, d));
	MOE_TRY(moe_law_estimate(&b->loss, fit, least_loss, &b->aim, d));
	if (!isfinite(b->n.value))
		return moe_fail(d, MOE_EUSAGE, "this law has no best size for %g FLOPs: more parameters, or more tokens, always do better", flops);
	b->shape = moe_shape_of(b->n.value, p->aspect);
	for (size_t i = 0; i < N_FACTORS; i++) {
		b->other[i].at = (struct moe_law_at){b->n.value * factors[i], b->d.value / factors[i], p->law.cost->s};
		b->other[i].loss = moe_law_loss(&fit->law, b->other[i].at);
	}
	return MOE_OK;
}

static void print_row(FILE *f, const char *name, const struct moe_law_estimate *e, bool amounts)
{
	char v[32], a[32], b[32], text[80];

	if (amounts)
		fprintf(f, "%-6s%8s", name, moe_amount_text(e->value, 3, v));
	else
		fprintf(f, "%-6s%8.4g", name, e->value);
	if (!isnan(e->low) && amounts)
		fprintf(f, "   %s to %s", moe_amount_text(e->low, 3, a), moe_amount_text(e->high, 3, b));
	else if (!isnan(e->low))
		fprintf(f, "   %s", moe_scaling_interval(e->low, e->high, -4, text));
	fputc('\n', f);
}

static void print_text(FILE *f, const struct moe_scaling_plan *p, const struct budget *b)
{
	char n[32], d[32];

	moe_scaling_heading(f, &p->law);
	fprintf(f, ": %.3g FLOPs", b->aim.flops);
	if (isfinite(b->hours))
		fprintf(f, ", %.3g hours at %.3g FLOPs a second", b->hours, p->rate);
	if (b->beyond > 1.0001)
		fprintf(f, ", %.3g times the largest run", b->beyond);
	fprintf(f, "\n%14s%s\n", "best", p->law.fit->draws ? "   95 % interval" : "");
	print_row(f, "N", &b->n, true);
	print_row(f, "D", &b->d, true);
	print_row(f, "loss", &b->loss, false);
	fprintf(f, "D/N   %8.3g\nshape  %ld layers, hidden %ld: %s\n", b->d.value / b->n.value, b->shape.layers, b->shape.hidden,
		moe_amount_text(parameters_of(b->shape.layers, b->shape.hidden), 3, n));
	fprintf(f, "other sizes for the same: %6s %8s %8s %9s\n", "N", "D", "loss", "more");
	for (size_t i = 0; i < N_FACTORS; i++)
		fprintf(f, "%32s %8s %8.4g %+9.2g\n", moe_amount_text(b->other[i].at.n, 3, n), moe_amount_text(b->other[i].at.d, 3, d), b->other[i].loss,
			b->other[i].loss - b->loss.value);
}

static json_t *other_json(const struct budget *b)
{
	json_t *list = json_array();

	for (size_t i = 0; i < N_FACTORS; i++) {
		json_t *o = json_object();
		moe_set_real(o, "N", b->other[i].at.n);
		moe_set_real(o, "D", b->other[i].at.d);
		moe_set_real(o, "loss", b->other[i].loss);
		json_array_append_new(list, o);
	}
	return list;
}

static void print_json(FILE *f, const struct moe_scaling_plan *p, const struct budget *b)
{
	json_t *o = json_object();

	moe_set_text(o, "what", "plan");
	moe_set_text(o, "arm", p->law.arm);
	moe_set_text(o, "measure", p->law.loss);
	moe_set_real(o, "flops", b->aim.flops);
	moe_set_real(o, "hours", b->hours);
	moe_set_real(o, "times_largest", b->beyond > 0 ? b->beyond : NAN);
	json_object_set_new(o, "N", moe_scaling_estimate(&b->n));
	json_object_set_new(o, "D", moe_scaling_estimate(&b->d));
	json_object_set_new(o, "loss", moe_scaling_estimate(&b->loss));
	json_object_set_new(o, "shape", json_pack("{s:I, s:I, s:f}", "layers", (json_int_t)b->shape.layers, "hidden", (json_int_t)b->shape.hidden, "N",
						  parameters_of(b->shape.layers, b->shape.hidden)));
	json_object_set_new(o, "others", other_json(b));
	moe_print_json(f, o);
}

static void print_tsv(FILE *f, const struct moe_scaling_plan *p, const struct budget *b, bool header)
{
	if (header)
		fputs("arm\tmeasure\tflops\thours\tN\tN_low\tN_high\tD\tD_low\tD_high\tloss\tloss_low\tloss_high\tlayers\thidden\n", f);
	moe_print_escaped(f, p->law.arm, strlen(p->law.arm));
	fputc('\t', f);
	moe_print_escaped(f, p->law.loss, strlen(p->law.loss));
	moe_tsv_real(f, b->aim.flops);
	moe_tsv_real(f, b->hours);
	moe_scaling_tsv(f, &b->n);
	moe_scaling_tsv(f, &b->d);
	moe_scaling_tsv(f, &b->loss);
	fprintf(f, "\t%ld\t%ld\n", b->shape.layers, b->shape.hidden);
}

enum moe_err moe_report_plan(FILE *f, const struct moe_scaling_plan *p, enum moe_load_format format, bool header, struct moe_diag *d)
{
	for (size_t i = 0; i < p->n; i++) {
		struct budget b;
		MOE_TRY(make_budget(&b, p, p->flops[i], d));
		if (format == MOE_LOAD_JSON) {
			print_json(f, p, &b);
		} else if (format == MOE_LOAD_TSV) {
			print_tsv(f, p, &b, header && !i);
		} else {
			if (i)
				fputc('\n', f);
			print_text(f, p, &b);
		}
	}
	return ferror(f) ? moe_fail_errno(d, "cannot write") : MOE_OK;
}
