#include "scale/savings.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/sort.h"
#include "stats/bootstrap.h"
#include "stats/student.h"

/* The curves of an arm's seeds on one grid of costs: where all seeds have been. */
struct curves {
	double *x;                      /* [n]: logarithms of costs, rising */
	double *y;                      /* [seeds][n]: losses */
	int64_t *seed;
	bool *seeded;
	size_t n, seeds;
};

/* One measurement on its way into a curve. */
struct spot {
	double x, y;
	size_t group;                   /* of a seed */
};

static const char *const costs[MOE_N_COSTS] = {"flops", "tokens", "seconds"};

const char *moe_cost_name(enum moe_cost c) { return costs[c]; }

int moe_cost_find(const char *name)
{
	for (int c = 0; c < MOE_N_COSTS; c++)
		if (!strcmp(name, costs[c]))
			return c;
	return -1;
}

static double cost_of(const struct moe_run_at *a, enum moe_cost c) { return c == MOE_COST_FLOPS ? a->flops : c == MOE_COST_TOKENS ? a->d : a->seconds; }

/* ---- curves ---- */

static int by_group(const void *a, const void *b)
{
	const struct spot *p = a, *q = b;

	if (p->group != q->group)
		return p->group > q->group ? 1 : -1;
	if (p->x != q->x)
		return p->x > q->x ? 1 : -1;
	return (p->y > q->y) - (p->y < q->y);
}

/* The spots of an arm, sorted; `first`: [seeds + 1], where each seed's begin; `one`: a measurement of each seed. Both have room for all measurements and
 * one. */
static enum moe_err gather(struct spot *spot, size_t *first, size_t *one, struct curves *c, const struct moe_runs *r, size_t arm, size_t measure,
			   enum moe_cost cost, struct moe_diag *d)
{
	size_t n = 0, m = 0;

	for (size_t i = 0; i < r->n; i++) {
		const struct moe_run_at *a = &r->at[i];
		double x = cost_of(a, cost), y = moe_run_measure(a, measure);
		size_t g = 0;
		if (a->arm != arm || !isfinite(y) || !(x > 0) || !isfinite(x))
			continue;
		while (g < c->seeds && !moe_runs_together(&r->at[one[g]], a))
			g++;
		if (g == c->seeds) {
			one[g] = i;
			c->seed[g] = a->seed;
			c->seeded[g] = a->seeded;
			c->seeds++;
		}
		MOE_TRY(moe_runs_alike(r, one[g], i, d));
		spot[n++] = (struct spot){log(x), y, g};
	}
	qsort(spot, n, sizeof *spot, by_group);
	for (size_t i = 0; i < n; i++)
		if (!i || spot[i].group != spot[i - 1].group)
			first[m++] = i;
	first[m] = n;
	return MOE_OK;
}

/* The loss at x, between the first and the last of n spots. */
static double at_cost(const struct spot *s, size_t n, double x)
{
	size_t i = 1;

	while (i + 1 < n && s[i].x < x)
		i++;
	if (n == 1 || !(s[i].x > s[i - 1].x))
		return s[n == 1 ? 0 : i].y;
	return s[i - 1].y + (s[i].y - s[i - 1].y) * (x - s[i - 1].x) / (s[i].x - s[i - 1].x);
}

/* Costs of all seeds' spots between the latest beginning and the earliest end. */
static void make_grid(struct curves *c, const struct spot *spot, const size_t *first)
{
	double from = -INFINITY, to = INFINITY;
	size_t n = first[c->seeds], m = 0;

	for (size_t g = 0; g < c->seeds; g++) {
		from = fmax(from, spot[first[g]].x);
		to = fmin(to, spot[first[g + 1] - 1].x);
	}
	for (size_t i = 0; i < n; i++)
		if (spot[i].x >= from && spot[i].x <= to)
			c->x[m++] = spot[i].x;
	moe_sort_doubles(c->x, m);
	for (size_t i = 0; i < m; i++)
		if (!i || c->x[i] > c->x[c->n - 1] + 1e-9)
			c->x[c->n++] = c->x[i];
}

static void free_curves(struct curves *c)
{
	free(c->x);
	free(c->y);
	free(c->seed);
	free(c->seeded);
	*c = (struct curves){0};
}

static enum moe_err fill_curves(struct curves *c, struct spot *spot, size_t *first, const struct moe_runs *r, size_t arm, size_t measure, enum moe_cost cost,
				struct moe_diag *d)
{
	MOE_TRY(gather(spot, first, first + r->n + 1, c, r, arm, measure, cost, d));
	make_grid(c, spot, first);
	if (c->seeds && !c->n)
		return moe_fail(d, MOE_EUSAGE, "arm \"%.60s\": its seeds have no %s in common between their first and last measurements", r->arm[arm],
				costs[cost]);
	c->y = moe_calloc(c->n + 1, (c->seeds + 1) * sizeof *c->y);
	if (!c->y)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t g = 0; g < c->seeds; g++)
		for (size_t i = 0; i < c->n; i++)
			c->y[g * c->n + i] = at_cost(spot + first[g], first[g + 1] - first[g], c->x[i]);
	return MOE_OK;
}

/* An arm without measurements has no seeds. */
static enum moe_err make_curves(struct curves *c, const struct moe_runs *r, size_t arm, size_t measure, enum moe_cost cost, struct moe_diag *d)
{
	struct spot *spot = moe_calloc(r->n + 1, sizeof *spot);
	size_t *first = moe_calloc(2 * r->n + 2, sizeof *first);
	enum moe_err err;

	*c = (struct curves){.x = moe_calloc(r->n + 1, sizeof *c->x), .seed = moe_calloc(r->n + 1, sizeof *c->seed),
			     .seeded = moe_calloc(r->n + 1, sizeof *c->seeded)};
	if (spot && first && c->x && c->seed && c->seeded)
		err = fill_curves(c, spot, first, r, arm, measure, cost, d);
	else
		err = moe_fail(d, MOE_ENOMEM, "out of memory");
	free(spot);
	free(first);
	return err;
}

/* The mean over seeds with these weights, whose sum is above 0. */
static void mean_curve(const struct curves *c, const double *weight, double *y)
{
	double sum = 0;

	for (size_t g = 0; g < c->seeds; g++)
		sum += weight[g];
	for (size_t i = 0; i < c->n; i++) {
		y[i] = 0;
		for (size_t g = 0; g < c->seeds; g++)
			y[i] += weight[g] * c->y[g * c->n + i];
		y[i] /= sum;
	}
}

size_t moe_savings_curve(const struct moe_runs *r, size_t arm, size_t measure, enum moe_cost cost, double *x, double *y, size_t room)
{
	struct curves c;
	struct moe_diag d = {0};
	double *weight = NULL, *mean = NULL;
	size_t n = 0;

	if (!make_curves(&c, r, arm, measure, cost, &d) && c.seeds) {
		weight = moe_calloc(c.seeds, sizeof *weight);
		mean = moe_calloc(c.n, sizeof *mean);
	}
	for (size_t g = 0; weight && g < c.seeds; g++)
		weight[g] = 1;
	if (weight && mean) {
		mean_curve(&c, weight, mean);
		for (size_t i = 0; i < c.n; i++)
			if (i + 1 == c.n || i * room >= n * c.n) {      /* evenly, where there are too many */
				x[n < room ? n : room - 1] = exp(c.x[i]);
				y[n < room ? n : room - 1] = mean[i];
				n += n < room;
			}
	}
	free(weight);
	free(mean);
	free_curves(&c);
	return n;
}

/* ---- eta ---- */

/* The logarithm of the cost at which a curve first has a loss that it has somewhere; *early: at its first point already. */
static double first_cost(const double *x, const double *y, size_t n, double loss, bool *early)
{
	size_t i = 0;

	while (i + 1 < n && y[i] > loss)
		i++;
	*early = !i && y[0] < loss;
	return i ? x[i - 1] + (x[i] - x[i - 1]) * (y[i - 1] - loss) / (y[i - 1] - y[i]) : x[0];
}

static struct moe_eta eta_of(const struct curves *base, const double *base_y, const struct curves *arm, const double *arm_y)
{
	double wanted = base_y[base->n - 1], least = INFINITY;
	struct moe_eta e = {0};
	bool early;

	for (size_t i = 0; i < arm->n; i++)
		least = fmin(least, arm_y[i]);
	e.reached = least <= wanted;
	if (e.reached) {
		e.value = exp(base->x[base->n - 1] - first_cost(arm->x, arm_y, arm->n, wanted, &early));
		e.bound = early ? MOE_ETA_ABOVE : MOE_ETA_IS;
	} else {
		e.value = exp(first_cost(base->x, base_y, base->n, arm_y[arm->n - 1], &early) - arm->x[arm->n - 1]);
		e.bound = early ? MOE_ETA_BELOW : MOE_ETA_IS;
	}
	return e;
}

/* Two arms whose seeds are drawn. */
struct pairing {
	const struct curves *base, *arm;
	size_t pairs;
	size_t *in_base, *in_arm;       /* [pairs]: numbers of the seeds that both have */
	double *base_weight, *arm_weight, *base_y, *arm_y;
};

static enum moe_err make_pairing(struct pairing *p, const struct curves *base, const struct curves *arm, struct moe_diag *d)
{
	*p = (struct pairing){.base = base, .arm = arm, .in_base = moe_calloc(base->seeds, sizeof *p->in_base), .in_arm = moe_calloc(base->seeds, sizeof *p->in_arm),
			      .base_weight = moe_calloc(base->seeds + arm->seeds + base->n + arm->n, sizeof *p->base_weight)};
	if (!p->in_base || !p->in_arm || !p->base_weight)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	p->arm_weight = p->base_weight + base->seeds;
	p->base_y = p->arm_weight + arm->seeds;
	p->arm_y = p->base_y + base->n;
	for (size_t i = 0; i < base->seeds; i++)
		for (size_t j = 0; j < arm->seeds; j++)
			if (base->seeded[i] && arm->seeded[j] && base->seed[i] == arm->seed[j]) {
				p->in_base[p->pairs] = i;
				p->in_arm[p->pairs++] = j;
			}
	return MOE_OK;
}

static void free_pairing(struct pairing *p)
{
	free(p->in_base);
	free(p->in_arm);
	free(p->base_weight);
}

static bool is_paired(const size_t *in, size_t pairs, size_t seed)
{
	for (size_t i = 0; i < pairs; i++)
		if (in[i] == seed)
			return true;
	return false;
}

/* Draws, with replacement, among the seeds that are in no pair. */
static void draw_alone(double *weight, size_t seeds, const size_t *in, size_t pairs, uint64_t seed, uint64_t stream)
{
	for (size_t i = 0; i < seeds - pairs; i++) {
		size_t wanted = (size_t)(moe_random_unit(seed, stream, i) * (double)(seeds - pairs)), at = 0;
		while (is_paired(in, pairs, at) || wanted--)
			at++;
		weight[at]++;
	}
}

static void draw_seeds(struct pairing *p, uint64_t seed, size_t number)
{
	memset(p->base_weight, 0, (p->base->seeds + p->arm->seeds) * sizeof *p->base_weight);
	for (size_t i = 0; i < p->pairs; i++) {
		size_t k = (size_t)(moe_random_unit(seed, 3 * number, i) * (double)p->pairs);
		p->base_weight[p->in_base[k]]++;
		p->arm_weight[p->in_arm[k]]++;
	}
	draw_alone(p->base_weight, p->base->seeds, p->in_base, p->pairs, seed, 3 * number + 1);
	draw_alone(p->arm_weight, p->arm->seeds, p->in_arm, p->pairs, seed, 3 * number + 2);
}

static struct moe_eta weighted_eta(struct pairing *p)
{
	mean_curve(p->base, p->base_weight, p->base_y);
	mean_curve(p->arm, p->arm_weight, p->arm_y);
	return eta_of(p->base, p->base_y, p->arm, p->arm_y);
}

static enum moe_err pair_interval(const struct pairing *p, struct moe_saving *s, struct moe_diag *d)
{
	const struct curves *base = p->base, *arm = p->arm;
	double *value = moe_calloc(p->pairs ? p->pairs : 1, sizeof *value);
	struct moe_student t;
	bool known = true;

	if (!value)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < p->pairs; i++) {
		struct moe_eta e = eta_of(base, base->y + p->in_base[i] * base->n, arm, arm->y + p->in_arm[i] * arm->n);
		known &= e.bound == MOE_ETA_IS;
		value[i] = log(e.value);
	}
	t = moe_student_of(value, known ? p->pairs : 0);
	s->t_low = exp(t.low);
	s->t_high = exp(t.high);
	free(value);
	return MOE_OK;
}

static void describe(struct pairing *p, struct moe_saving *s)
{
	for (size_t i = 0; i < p->base->seeds + p->arm->seeds; i++)
		p->base_weight[i] = 1;
	s->eta = weighted_eta(p);
	s->baseline_loss = p->base_y[p->base->n - 1];
	s->loss = p->arm_y[p->arm->n - 1];
	s->baseline_cost = exp(p->base->x[p->base->n - 1]);
	s->cost = exp(p->arm->x[p->arm->n - 1]);
	s->pairs = p->pairs;
}

/* A saving, and the eta of each resample. */
static enum moe_err save(struct moe_saving *s, double *draw, const struct curves *base, const struct curves *arm, const struct moe_savings_options *o,
			 struct moe_diag *d)
{
	size_t resamples = base->seeds > 1 && arm->seeds > 1 ? o->resamples : 0;
	struct pairing p;
	enum moe_err err = make_pairing(&p, base, arm, d);

	for (size_t b = 0; b < o->resamples; b++)
		draw[b] = NAN;
	if (!err) {
		describe(&p, s);
		err = pair_interval(&p, s, d);
	}
	for (size_t b = 0; b < resamples && !err; b++) {
		draw_seeds(&p, o->seed, b);
		draw[b] = weighted_eta(&p).value;
	}
	free_pairing(&p);
	return err;
}

/* The interval of draw, or of draw / by; draws that are not numbers make none. `room`: [n]. */
static void interval(const double *draw, const double *by, size_t n, double *room, double *low, double *high)
{
	bool known = n > 0;

	for (size_t b = 0; b < n; b++) {
		room[b] = by ? draw[b] / by[b] : draw[b];
		known &= isfinite(room[b]) != 0;
	}
	moe_bootstrap_interval(room, known ? n : 0, 0, low, high);
}

/* The savings of an arm; draw: [measures + 1][resamples]. */
static enum moe_err save_all(struct moe_saving *s, struct moe_saving_ratio *ratio, const struct curves *base, const struct moe_runs *r, size_t arm,
			     double *draw, const struct moe_savings_options *o, struct moe_diag *d)
{
	double *room = draw + o->n_measures * o->resamples;

	for (size_t m = 0; m < o->n_measures; m++) {
		struct curves c;
		enum moe_err err = make_curves(&c, r, arm, o->measure[m], o->cost, d);
		s[m] = (struct moe_saving){.arm = arm, .measure = o->measure[m], .eta = {.value = NAN}, .baseline_loss = NAN, .loss = NAN, .baseline_cost = NAN,
					   .cost = NAN,
					   .low = NAN, .high = NAN, .t_low = NAN, .t_high = NAN, .seeds = c.seeds, .baseline_seeds = base[m].seeds};
		for (size_t b = 0; b < o->resamples; b++)
			draw[m * o->resamples + b] = NAN;
		if (!err && c.seeds)
			err = save(&s[m], draw + m * o->resamples, &base[m], &c, o, d);
		free_curves(&c);
		MOE_TRY(err);
		interval(draw + m * o->resamples, NULL, o->resamples, room, &s[m].low, &s[m].high);
		ratio[m].value = s[m].eta.value / s[0].eta.value;
		interval(draw + m * o->resamples, draw, o->resamples, room, &ratio[m].low, &ratio[m].high);
	}
	return MOE_OK;
}

static enum moe_err make_baseline(struct curves *base, const struct moe_runs *r, const struct moe_savings_options *o, struct moe_diag *d)
{
	for (size_t m = 0; m < o->n_measures; m++) {
		MOE_TRY(make_curves(&base[m], r, o->baseline, o->measure[m], o->cost, d));
		if (!base[m].seeds)
			return moe_fail(d, MOE_EUSAGE, "the baseline \"%.60s\" has no %.60s with %s", r->arm[o->baseline], r->measure[o->measure[m]],
					costs[o->cost]);
	}
	return MOE_OK;
}

enum moe_err moe_savings_make(struct moe_savings *out, const struct moe_runs *r, const struct moe_savings_options *o, struct moe_diag *d)
{
	size_t n = r->n_arms * o->n_measures;
	struct curves *base = moe_calloc(o->n_measures, sizeof *base);
	double *draw = moe_calloc((o->n_measures + 1) * o->resamples + 1, sizeof *draw);
	enum moe_err err;

	*out = (struct moe_savings){.saving = moe_calloc(n, sizeof *out->saving), .ratio = moe_calloc(n, sizeof *out->ratio), .n_measures = o->n_measures};
	err = base && draw && out->saving && out->ratio ? make_baseline(base, r, o, d) : moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t arm = 0; arm < r->n_arms && !err; arm++) {
		size_t at = out->n_arms * o->n_measures;
		if (arm == o->baseline)
			continue;
		err = save_all(out->saving + at, out->ratio + at, base, r, arm, draw, o, d);
		out->n_arms++;
	}
	for (size_t m = 0; base && m < o->n_measures; m++)
		free_curves(&base[m]);
	free(base);
	free(draw);
	if (err)
		moe_savings_free(out);
	return err;
}

void moe_savings_free(struct moe_savings *s)
{
	free(s->saving);
	free(s->ratio);
	*s = (struct moe_savings){0};
}
