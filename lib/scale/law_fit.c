#include "scale/law_fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/sort.h"
#include "scale/law_solve.h"
#include "stats/bootstrap.h"

enum { REFINED = 2, BLOCK = 64 };       /* starts of a resample, beside the fit itself; resamples between two looks at the clock */

/* ---- do the points determine the law? ---- */

/* How many different values x has where weight is not 0; values within a thousandth are the same. `room`: [n]. */
static size_t different(const double *x, const double *weight, size_t n, double *room)
{
	size_t m = 0, found = 0;

	for (size_t i = 0; i < n; i++)
		if (weight[i] > 0)
			room[m++] = x[i];
	moe_sort_doubles(room, m);
	for (size_t i = 0; i < m; i++)
		found += !i || room[i] - room[i - 1] > 1e-3;
	return found;
}

/* Does log D (x[1]) follow from log N, but for a hundredth of how much it varies? */
static bool follows(const struct moe_law_data *q)
{
	double all = 0, mean[2] = {0}, nn = 0, dd = 0, nd = 0;

	for (size_t i = 0; i < q->n; i++) {
		all += q->weight[i];
		mean[0] += q->weight[i] * q->x[0][i];
		mean[1] += q->weight[i] * q->x[1][i];
	}
	for (size_t i = 0; i < q->n; i++) {
		double n = q->x[0][i] - mean[0] / all, tokens = q->x[1][i] - mean[1] / all;
		nn += q->weight[i] * n * n;
		dd += q->weight[i] * tokens * tokens;
		nd += q->weight[i] * n * tokens;
	}
	return nn > 0 && 1 - nd * nd / (nn * dd) < 1e-4;
}

struct variety { size_t n[3]; };

static struct variety variety_of(const struct moe_law_data *q, double *room)
{
	struct variety v;

	for (size_t j = 0; j < 3; j++)
		v.n[j] = different(q->x[j], q->weight, q->n, room);
	return v;
}

static bool varied(const struct moe_law_data *q, const struct variety *v)
{
	return v->n[0] >= 3 && v->n[1] >= 3 && (q->parameters == MOE_LAW_C || v->n[2] >= 3) && !follows(q);
}

static enum moe_err check(const struct moe_law_data *q, const struct variety *v, size_t runs, struct moe_diag *d)
{
	static const char *const what[] = {"different sizes (N)", "different numbers of tokens (D)", "different sparsities (S)"};
	static const char *const one[] = {"size (N)", "number of tokens (D)", "sparsity (S)"};

	if (runs < q->parameters + 1)
		return moe_fail(d, MOE_EUSAGE, "%zu run%s: the law has %zu parameters, and needs %zu runs or more (each size with several numbers of tokens)",
				runs, runs == 1 ? "" : "s", q->parameters, q->parameters + 1);
	for (size_t j = 0; j < (q->parameters == MOE_LAW_C ? 2 : 3); j++)
		if (v->n[j] < 3)
			return moe_fail(d, MOE_EUSAGE, "the runs have %zu %s: the law needs 3 or more", v->n[j], v->n[j] == 1 ? one[j] : what[j]);
	if (follows(q))
		return moe_fail(d, MOE_EUSAGE,
				"the tokens of each run follow from its size: the law needs sizes that were trained on several numbers of tokens");
	return MOE_OK;
}

/* ---- the whole fit ---- */

struct work {
	struct moe_law_data data;
	struct moe_law_powers powers;
	double *memory, *weight, mean[3];
	const size_t *run;              /* [n]: of each point, numbered from 0 */
	size_t runs, first;             /* first: number of the block's first resample */
	uint64_t seed;
	moe_law_theta best;
	struct moe_law *draw;
	enum moe_law_kind kind;
	bool failed;
};

/* Logarithms about their means. */
static enum moe_err prepare(struct work *w, const struct moe_law_point *p, size_t n, struct moe_diag *d)
{
	double *x[3], *log_loss;

	w->memory = moe_calloc(n ? n : 1, 5 * sizeof *w->memory);
	if (!w->memory)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t j = 0; j < 3; j++)
		w->data.x[j] = x[j] = w->memory + j * n;
	w->data.log_loss = log_loss = w->memory + 3 * n;
	w->data.weight = w->weight = w->memory + 4 * n;
	for (size_t i = 0; i < n; i++) {
		x[0][i] = log(p[i].at.n);
		x[1][i] = log(p[i].at.d);
		x[2][i] = log(1 - p[i].at.s);
		log_loss[i] = log(p[i].loss);
		w->weight[i] = 1;
		for (size_t j = 0; j < 3; j++)
			w->mean[j] += x[j][i] / (double)n;
	}
	for (size_t j = 0; j < 3; j++)
		for (size_t i = 0; i < n; i++)
			x[j][i] -= w->mean[j];
	return MOE_OK;
}

/* Numbers the runs that there are from 0. */
static enum moe_err number_runs(size_t **out, size_t *runs, const struct moe_law_point *p, size_t n, struct moe_diag *d)
{
	size_t most = 0, *number, *known;

	for (size_t i = 0; i < n; i++)
		most = p[i].run > most ? p[i].run : most;
	number = *out = moe_calloc(n ? n : 1, sizeof *number);
	known = moe_calloc(most + 1, sizeof *known);
	*runs = 0;
	for (size_t i = 0; number && known && i < n; i++) {
		if (!known[p[i].run])
			known[p[i].run] = ++*runs;
		number[i] = known[p[i].run] - 1;
	}
	free(known);
	return number && known ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");
}

static struct moe_law law_of(const struct work *w, const moe_law_theta t)
{
	struct moe_law l = {w->kind, {0}};

	memcpy(l.value, t, w->data.parameters * sizeof *t);
	for (size_t k = 0; k < w->data.n_terms; k++) {
		const struct moe_law_term *term = &w->data.term[k];
		double v = t[term->coefficient];
		for (int j = 0; j < 3; j++)
			if (term->power[j] >= 0)
				v += t[term->power[j]] * w->mean[j];
		l.value[term->coefficient] = exp(v);
	}
	return l;
}

/* A resample that determines the law, if one of the first hundred does. `room`: [n + runs]. */
static bool resample(const struct work *w, struct moe_law_data *q, double *weight, double *room, size_t number)
{
	double *count = room + q->n;

	for (uint64_t try = 0; try < 100; try++) {
		struct variety v;
		memset(count, 0, w->runs * sizeof *count);
		for (size_t i = 0; i < w->runs; i++)
			count[(size_t)(moe_random_unit(w->seed, number, try * w->runs + i) * (double)w->runs)]++;
		for (size_t i = 0; i < q->n; i++)
			weight[i] = count[w->run[i]];
		v = variety_of(q, room);
		if (varied(q, &v))
			return true;
	}
	return false;
}

static void fit_resample(void *self, size_t at)
{
	struct work *w = self;
	struct moe_law_data q = w->data;
	double *weight = moe_calloc(2 * q.n + w->runs, sizeof *weight);
	size_t number = w->first + at;
	moe_law_theta t;

	if (!weight) {
		__atomic_store_n(&w->failed, true, __ATOMIC_RELAXED);
		return;
	}
	q.weight = weight;
	w->draw[number] = (struct moe_law){.kind = w->kind};
	for (size_t i = 0; i < MOE_LAW_MOST; i++)
		w->draw[number].value[i] = NAN;
	if (resample(w, &q, weight, weight + q.n, number) && isfinite(moe_law_solve(&q, &w->powers, REFINED, w->best, t)))
		w->draw[number] = law_of(w, t);
	free(weight);
}

static enum moe_err draw_all(struct work *w, struct moe_law_fit *out, const struct moe_law_fit_options *o, struct moe_diag *d)
{
	double work = 3e4 * (double)(w->data.n * w->data.parameters);

	if (!o->resamples)
		return MOE_OK;
	w->draw = out->draw = moe_calloc(o->resamples, sizeof *out->draw);
	if (!out->draw)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	out->draws = o->resamples;
	for (w->first = 0; w->first < o->resamples; w->first += BLOCK) {
		size_t n = o->resamples - w->first < BLOCK ? o->resamples - w->first : BLOCK;
		moe_pool_run(o->pool, work * (double)n, n, fit_resample, w);
		if (o->progress)
			o->progress(o->self, w->first + n);
	}
	return w->failed ? moe_fail(d, MOE_ENOMEM, "out of memory") : MOE_OK;
}

static void describe(struct moe_law_fit *out, const struct moe_law_point *p, size_t n)
{
	double mean = 0, squares = 0, errors = 0;

	out->points = n;
	out->least = out->most = p[0].at;
	for (size_t i = 0; i < n; i++) {
		mean += p[i].loss / (double)n;
		out->least = (struct moe_law_at){fmin(out->least.n, p[i].at.n), fmin(out->least.d, p[i].at.d), fmin(out->least.s, p[i].at.s)};
		out->most = (struct moe_law_at){fmax(out->most.n, p[i].at.n), fmax(out->most.d, p[i].at.d), fmax(out->most.s, p[i].at.s)};
	}
	for (size_t i = 0; i < n; i++) {
		double predicted = moe_law_loss(&out->law, p[i].at), error = fabs(predicted / p[i].loss - 1);
		squares += (p[i].loss - mean) * (p[i].loss - mean);
		errors += (p[i].loss - predicted) * (p[i].loss - predicted);
		out->mean_error += error / (double)n;
		out->largest_error = fmax(out->largest_error, error);
	}
	out->r2 = 1 - errors / squares;
}

static enum moe_err fit(struct work *w, struct moe_law_fit *out, const struct moe_law_point *p, size_t n, const struct moe_law_fit_options *o,
			struct moe_diag *d)
{
	double *room = moe_calloc(n ? n : 1, sizeof *room);
	struct variety v;

	if (!room)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	v = variety_of(&w->data, room);
	free(room);
	MOE_TRY(check(&w->data, &v, w->runs, d));
	MOE_TRY(moe_law_powers_make(&w->powers, &w->data, d));
	out->objective = moe_law_solve(&w->data, &w->powers, MOE_LAW_STARTS, NULL, w->best) / (double)n;
	if (!isfinite(out->objective))
		return moe_fail(d, MOE_EINPUT, "no law fits these losses: numbers are too large or too small");
	out->law = law_of(w, w->best);
	out->runs = w->runs;
	out->n_sizes = v.n[0];
	out->n_tokens = v.n[1];
	out->n_sparsities = v.n[2];
	describe(out, p, n);
	return draw_all(w, out, o, d);
}

enum moe_err moe_law_fit(struct moe_law_fit *out, const struct moe_law_point *p, size_t n, const struct moe_law_fit_options *o, struct moe_diag *d)
{
	struct work w = {.data = {.n = n, .parameters = moe_law_parameters(o->kind), .huber = o->huber > 0 ? o->huber : 1e-3}, .seed = o->seed,
			 .kind = o->kind};
	size_t *run = NULL;
	enum moe_err err;

	memset(out, 0, sizeof *out);
	w.data.term = moe_law_terms(o->kind, &w.data.n_terms);
	err = prepare(&w, p, n, d);
	if (!err)
		err = number_runs(&run, &w.runs, p, n, d);
	w.run = run;
	if (!err)
		err = fit(&w, out, p, n, o, d);
	if (err)
		moe_law_fit_free(out);
	free(run);
	free(w.memory);
	moe_law_powers_free(&w.powers);
	return err;
}

void moe_law_fit_free(struct moe_law_fit *f)
{
	free(f->draw);
	memset(f, 0, sizeof *f);
}

enum moe_err moe_law_estimate(struct moe_law_estimate *out, const struct moe_law_fit *f, moe_law_function *fn, const void *self, struct moe_diag *d)
{
	double *value = moe_calloc(f->draws ? f->draws : 1, sizeof *value);
	size_t n = 0;

	if (!value)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	*out = (struct moe_law_estimate){fn(&f->law, self), NAN, NAN};
	for (size_t i = 0; i < f->draws; i++) {
		value[n] = fn(&f->draw[i], self);
		n += isfinite(value[n]) != 0;
	}
	moe_bootstrap_interval(value, n, f->draws - n, &out->low, &out->high);
	free(value);
	return MOE_OK;
}
