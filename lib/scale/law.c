#include "scale/law.h"

#include <math.h>
#include <string.h>

enum { LINE = 9, HALVINGS = 60 };       /* points of a straight line through logarithms; of the range of sizes */

static const struct moe_law_term terms[] = {
	{MOE_LAW_E, {-1, -1, -1}},
	{MOE_LAW_A, {MOE_LAW_ALPHA, -1, -1}},
	{MOE_LAW_B, {-1, MOE_LAW_BETA, -1}},
	{MOE_LAW_C, {-1, -1, MOE_LAW_LAMBDA}},
	{MOE_LAW_F, {MOE_LAW_GAMMA, -1, MOE_LAW_DELTA}},
};

static const char *const names[MOE_LAW_MOST] = {"E", "A", "alpha", "B", "beta", "C", "lambda", "F", "delta", "gamma"};
static const char *const kinds[MOE_N_LAWS] = {"dense", "sparse"};

size_t moe_law_parameters(enum moe_law_kind k) { return k == MOE_LAW_DENSE ? MOE_LAW_C : MOE_LAW_MOST; }

const struct moe_law_term *moe_law_terms(enum moe_law_kind k, size_t *n)
{
	*n = k == MOE_LAW_DENSE ? 3 : 5;
	return terms;
}

const char *moe_law_name(size_t parameter) { return names[parameter]; }

const char *moe_law_kind_name(enum moe_law_kind k) { return kinds[k]; }

int moe_law_find(const char *name)
{
	for (int k = 0; k < MOE_N_LAWS; k++)
		if (!strcmp(name, kinds[k]))
			return k;
	return -1;
}

static double power(const struct moe_law *l, int exponent, double x) { return exponent < 0 ? 1 : pow(x, -l->value[exponent]); }

static double term(const struct moe_law *l, const struct moe_law_term *t, struct moe_law_at at)
{
	return l->value[t->coefficient] * power(l, t->power[0], at.n) * power(l, t->power[1], at.d) * power(l, t->power[2], 1 - at.s);
}

double moe_law_loss(const struct moe_law *l, struct moe_law_at at)
{
	double loss = 0;
	size_t n;
	const struct moe_law_term *t = moe_law_terms(l->kind, &n);

	for (size_t i = 0; i < n; i++)
		loss += term(l, &t[i], at);
	return loss;
}

/* dL / d log N where N · D stays: each term times (its exponent of D - its exponent of N). */
static double slope(const struct moe_law *l, struct moe_law_at at)
{
	double sum = 0;
	size_t n;
	const struct moe_law_term *t = moe_law_terms(l->kind, &n);

	for (size_t i = 0; i < n; i++) {
		double by_n = t[i].power[0] < 0 ? 0 : l->value[t[i].power[0]], by_d = t[i].power[1] < 0 ? 0 : l->value[t[i].power[1]];
		sum += (by_d - by_n) * term(l, &t[i], at);
	}
	return sum;
}

static struct moe_law_at dense_optimum(const struct moe_law *l, double product, double s)
{
	double alpha = l->value[MOE_LAW_ALPHA], beta = l->value[MOE_LAW_BETA], n;

	if (!(alpha > 0) || !(beta > 0))
		return (struct moe_law_at){NAN, NAN, s};
	n = pow(alpha * l->value[MOE_LAW_A] / (beta * l->value[MOE_LAW_B]), 1 / (alpha + beta)) * pow(product, beta / (alpha + beta));
	return (struct moe_law_at){n, product / n, s};
}

struct moe_law_at moe_law_optimum(const struct moe_law *l, double flops, double cost, double s)
{
	double product = flops / cost, low = 0, high = log(product);

	if (l->kind == MOE_LAW_DENSE)
		return dense_optimum(l, product, s);
	if (!(slope(l, (struct moe_law_at){1, product, s}) < 0) || !(slope(l, (struct moe_law_at){product, 1, s}) > 0))
		return (struct moe_law_at){NAN, NAN, s};
	for (int i = 0; i < HALVINGS; i++) {
		double middle = (low + high) / 2, n = exp(middle);
		if (slope(l, (struct moe_law_at){n, product / n, s}) < 0)
			low = middle;
		else
			high = middle;
	}
	return (struct moe_law_at){exp(low), product / exp(low), s};
}

/* Slope and height at 0 of the straight line through n points. */
static void straight(const double *x, const double *y, size_t n, double *by, double *from)
{
	double mx = 0, my = 0, xx = 0, xy = 0;

	for (size_t i = 0; i < n; i++) {
		mx += x[i] / (double)n;
		my += y[i] / (double)n;
	}
	for (size_t i = 0; i < n; i++) {
		xx += (x[i] - mx) * (x[i] - mx);
		xy += (x[i] - mx) * (y[i] - my);
	}
	*by = xy / xx;
	*from = my - *by * mx;
}

struct moe_law_growth moe_law_grow(const struct moe_law *l, double flops_from, double flops_to, double cost, double s)
{
	double c[LINE], n[LINE], d[LINE], loss[LINE], alpha = l->value[MOE_LAW_ALPHA], beta = l->value[MOE_LAW_BETA], from;
	struct moe_law_growth g;

	if (!(flops_to > flops_from * 1.01))
		flops_to = flops_from * 10;     /* one amount of FLOPs: the decade above it */
	for (int i = 0; i < LINE; i++) {
		double flops = flops_from * pow(flops_to / flops_from, (double)i / (LINE - 1));
		struct moe_law_at at = moe_law_optimum(l, flops, cost, s);
		c[i] = log(flops);
		n[i] = log(at.n);
		d[i] = log(at.d);
		loss[i] = log(moe_law_loss(l, at));
	}
	straight(c, n, LINE, &g.a, &from);
	straight(c, d, LINE, &g.b, &from);
	straight(c, loss, LINE, &g.c, &from);
	g.k = exp(from);
	if (l->kind == MOE_LAW_DENSE) {
		g.a = beta / (alpha + beta);
		g.b = alpha / (alpha + beta);
	}
	return g;
}
