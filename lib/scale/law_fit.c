#include "scale/law_fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "stats/bootstrap.h"

enum { MOST_TERMS = 5, STARTS = 6, REFINED = 2, MOST_STEPS = 400, GRID_MOST = 12, BLOCK = 64 };

/* Values that exponents begin with: each combination of them, with the best coefficients that go with it, is a start. */
static const double dense_grid[GRID_MOST] = {0.05, 0.1, 0.15, 0.22, 0.3, 0.4, 0.52, 0.68, 0.9, 1.2, 1.6, 2.4};
static const double sparse_grid[] = {0.1, 0.3, 0.6, 1.2};

/* Points as the fit sees them: logarithms of N, D and 1-S about their means, where coefficients and exponents depend little on each other. */
struct data {
	const double *x[3];             /* [n]: log N, log D, log(1-S) */
	const double *log_loss;         /* [n] */
	const double *weight;           /* [n] */
	size_t n, parameters, n_terms;
	const struct moe_law_term *term;
	double huber;
};

/* theta: as the values of a law, but coefficients are logarithms, at the means. */
typedef double theta[MOE_LAW_MOST];

/* ---- small linear algebra ---- */

/* Solves a x = b for a symmetric positive definite a, n × n of rows of `stride`, in place; false where it is not. */
static bool solve(double *a, size_t stride, double *b, size_t n)
{
	for (size_t j = 0; j < n; j++) {
		double pivot = a[j * stride + j];
		for (size_t k = 0; k < j; k++)
			pivot -= a[j * stride + k] * a[j * stride + k];
		if (!(pivot > 0))
			return false;
		a[j * stride + j] = pivot = sqrt(pivot);
		for (size_t i = j + 1; i < n; i++) {
			double v = a[i * stride + j];
			for (size_t k = 0; k < j; k++)
				v -= a[i * stride + k] * a[j * stride + k];
			a[i * stride + j] = v / pivot;
		}
	}
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < i; k++)
			b[i] -= a[i * stride + k] * b[k];
		b[i] /= a[i * stride + i];
	}
	for (size_t i = n; i-- > 0;) {
		for (size_t k = i + 1; k < n; k++)
			b[i] -= a[k * stride + i] * b[k];
		b[i] /= a[i * stride + i];
	}
	return true;
}

/* ---- the fit from a start ---- */

static double huber(double r, double delta)
{
	r = fabs(r);
	return r <= delta ? r * r / 2 : delta * (r - delta / 2);
}

/* log(predicted / measured), and its derivatives by theta unless `by` is NULL. */
static double residual(const struct data *q, const theta t, size_t i, double *by)
{
	double part[MOST_TERMS], sum = 0;

	for (size_t k = 0; k < q->n_terms; k++) {
		double v = t[q->term[k].coefficient];
		for (int j = 0; j < 3; j++)
			if (q->term[k].power[j] >= 0)
				v -= t[q->term[k].power[j]] * q->x[j][i];
		part[k] = exp(v);
		sum += part[k];
	}
	for (size_t k = 0; by && k < q->n_terms; k++) {
		by[q->term[k].coefficient] = part[k] / sum;
		for (int j = 0; j < 3; j++)
			if (q->term[k].power[j] >= 0)
				by[q->term[k].power[j]] = -part[k] / sum * q->x[j][i];
	}
	return log(sum) - q->log_loss[i];
}

static double objective(const struct data *q, const theta t)
{
	double sum = 0;

	for (size_t i = 0; i < q->n; i++)
		sum += q->weight[i] * huber(residual(q, t, i, NULL), q->huber);
	return sum;
}

/* Normal equations of the squares that touch the Huber loss from above at t: weights 1, or delta / |r|. */
static void normal_equations(const struct data *q, const theta t, double a[][MOE_LAW_MOST], double *g)
{
	double by[MOE_LAW_MOST];

	memset(a, 0, sizeof(double[MOE_LAW_MOST][MOE_LAW_MOST]));
	memset(g, 0, sizeof(theta));
	for (size_t i = 0; i < q->n; i++) {
		double r = residual(q, t, i, by), w = q->weight[i] * (fabs(r) <= q->huber ? 1 : q->huber / fabs(r));
		for (size_t j = 0; j < q->parameters; j++) {
			g[j] -= w * r * by[j];
			for (size_t k = 0; k <= j; k++)
				a[j][k] += w * by[j] * by[k];
		}
	}
}

/* Levenberg and Marquardt's method on reweighted squares: every step makes the Huber loss smaller. */
static double refine(const struct data *q, theta t)
{
	double now = objective(q, t), damping = 1e-3, a[MOE_LAW_MOST][MOE_LAW_MOST], m[MOE_LAW_MOST][MOE_LAW_MOST];
	theta g, step, next;

	for (int n = 0, still = 0; n < MOST_STEPS && still < 4; n++) {
		double then = INFINITY;
		normal_equations(q, t, a, g);
		for (; damping < 1e12; damping *= 8) {
			memcpy(m, a, sizeof m);
			memcpy(step, g, sizeof step);
			for (size_t j = 0; j < q->parameters; j++)
				m[j][j] += damping * a[j][j] + 1e-15;
			if (!solve(*m, MOE_LAW_MOST, step, q->parameters))
				continue;
			for (size_t j = 0; j < q->parameters; j++)
				next[j] = t[j] + fmin(fmax(step[j], -3), 3);
			then = objective(q, next);
			if (then < now)
				break;
		}
		if (!(then < now))
			break;
		still = now - then < 1e-10 * now ? still + 1 : 0;
		now = then;
		memcpy(t, next, sizeof next);
		damping = fmax(damping / 20, 1e-12);
	}
	return now;
}

/* ---- starts ---- */

struct start {
	theta t;
	double squares;
};

/* Powers of the points for each value of the grid. */
struct powers {
	const double *grid;
	size_t n_grid, combinations;
	double *value;                  /* [3][n_grid][n] */
};

static const double *power_of(const struct powers *p, size_t axis, size_t at, size_t n) { return p->value + (axis * p->n_grid + at) * n; }

static enum moe_err make_powers(struct powers *p, const struct data *q, struct moe_diag *d)
{
	size_t exponents = q->parameters - q->n_terms;

	p->grid = exponents == 2 ? dense_grid : sparse_grid;
	p->n_grid = exponents == 2 ? GRID_MOST : sizeof sparse_grid / sizeof *sparse_grid;
	p->combinations = 1;
	for (size_t i = 0; i < exponents; i++)
		p->combinations *= p->n_grid;
	p->value = moe_calloc(3 * p->n_grid * q->n, sizeof *p->value);
	if (!p->value)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t j = 0; j < 3; j++)
		for (size_t v = 0; v < p->n_grid; v++)
			for (size_t i = 0; i < q->n; i++)
				p->value[(j * p->n_grid + v) * q->n + i] = exp(-p->grid[v] * q->x[j][i]);
	return MOE_OK;
}

/* The coefficients, not below 0, for which the squares of (predicted / measured - 1) are least: the best of all sets of terms that are there. Returns the
 * squares, less their number. */
static double best_coefficients(double gram[][MOST_TERMS], const double *sums, size_t n, double *best)
{
	double least = INFINITY, a[MOST_TERMS][MOST_TERMS], c[MOST_TERMS];

	for (unsigned set = 1; set < 1u << n; set++) {
		size_t which[MOST_TERMS], m = 0;
		double squares = 0;
		bool good = true;
		for (size_t k = 0; k < n; k++)
			if (set >> k & 1)
				which[m++] = k;
		for (size_t i = 0; i < m; i++) {
			c[i] = sums[which[i]];
			for (size_t j = 0; j <= i; j++)
				a[i][j] = gram[which[i]][which[j]] * (i == j ? 1 + 1e-12 : 1);
		}
		if (!solve(*a, MOST_TERMS, c, m))
			continue;
		for (size_t i = 0; i < m; i++) {
			good &= c[i] > 0;
			squares -= c[i] * sums[which[i]];       /* |1 - Tc|² = |1|² - c·T'1 at the least squares */
		}
		if (!good || squares >= least)
			continue;
		least = squares;
		memset(best, 0, n * sizeof *best);
		for (size_t i = 0; i < m; i++)
			best[which[i]] = c[i];
	}
	return least;
}

static void start_of(struct start *s, const struct data *q, const struct powers *p, size_t number)
{
	double gram[MOST_TERMS][MOST_TERMS] = {0}, sums[MOST_TERMS] = {0}, c[MOST_TERMS] = {0};
	const double *column[MOST_TERMS][3] = {{0}};

	memset(s, 0, sizeof *s);
	for (size_t k = 0; k < q->n_terms; k++)
		for (size_t j = 0; j < 3; j++)
			if (q->term[k].power[j] >= 0) {
				s->t[q->term[k].power[j]] = p->grid[number % p->n_grid];
				column[k][j] = power_of(p, j, number % p->n_grid, q->n);
				number /= p->n_grid;
			}
	for (size_t i = 0; i < q->n; i++) {
		double v[MOST_TERMS];
		for (size_t k = 0; k < q->n_terms; k++) {
			v[k] = exp(-q->log_loss[i]);
			for (size_t j = 0; j < 3; j++)
				v[k] *= column[k][j] ? column[k][j][i] : 1;
			sums[k] += q->weight[i] * v[k];
			for (size_t l = 0; l <= k; l++)
				gram[k][l] += q->weight[i] * v[k] * v[l];
		}
	}
	s->squares = best_coefficients(gram, sums, q->n_terms, c);
	for (size_t k = 0; k < q->n_terms; k++)
		s->t[q->term[k].coefficient] = log(fmax(c[k], 1e-4));
}

/* The best few starts, by falling merit. */
static void find_starts(struct start *best, size_t n, const struct data *q, const struct powers *p)
{
	struct start s;

	for (size_t i = 0; i < n; i++)
		best[i].squares = INFINITY;
	for (size_t c = 0; c < p->combinations; c++) {
		size_t at = n;
		start_of(&s, q, p, c);
		while (at && s.squares < best[at - 1].squares)
			at--;
		if (at == n)
			continue;
		memmove(best + at + 1, best + at, (n - 1 - at) * sizeof *best);
		best[at] = s;
	}
}

/* The best end of n starts and, unless it is NULL, of `also`. */
static double fit_from(const struct data *q, const struct powers *p, size_t n, const double *also, theta best)
{
	struct start start[STARTS];
	double least = INFINITY;
	theta t;

	find_starts(start, n, q, p);
	for (size_t i = 0; i < n + (also != NULL); i++) {
		double end;
		if (i < n && !isfinite(start[i].squares))
			continue;
		memcpy(t, i < n ? start[i].t : also, sizeof t);
		end = refine(q, t);
		if (end < least) {
			least = end;
			memcpy(best, t, sizeof t);
		}
	}
	return least;
}

/* ---- do the points determine the law? ---- */

static int by_value(const void *a, const void *b) { return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b); }

/* How many different values x has where weight is not 0; values within a thousandth are the same. `room`: [n]. */
static size_t different(const double *x, const double *weight, size_t n, double *room)
{
	size_t m = 0, found = 0;

	for (size_t i = 0; i < n; i++)
		if (weight[i] > 0)
			room[m++] = x[i];
	qsort(room, m, sizeof *room, by_value);
	for (size_t i = 0; i < m; i++)
		found += !i || room[i] - room[i - 1] > 1e-3;
	return found;
}

/* Does log D (x[1]) follow from log N, but for a hundredth of how much it varies? */
static bool follows(const struct data *q)
{
	double nn = 0, dd = 0, nd = 0;

	for (size_t i = 0; i < q->n; i++) {
		nn += q->weight[i] * q->x[0][i] * q->x[0][i];
		dd += q->weight[i] * q->x[1][i] * q->x[1][i];
		nd += q->weight[i] * q->x[0][i] * q->x[1][i];
	}
	return nn > 0 && 1 - nd * nd / (nn * dd) < 1e-4;
}

struct variety { size_t n[3]; };

static struct variety variety_of(const struct data *q, double *room)
{
	struct variety v;

	for (size_t j = 0; j < 3; j++)
		v.n[j] = different(q->x[j], q->weight, q->n, room);
	return v;
}

static bool varied(const struct data *q, const struct variety *v)
{
	return v->n[0] >= 3 && v->n[1] >= 3 && (q->parameters == MOE_LAW_C || v->n[2] >= 3) && !follows(q);
}

static enum moe_err check(const struct data *q, const struct variety *v, size_t runs, struct moe_diag *d)
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
	struct data data;
	struct powers powers;
	double *memory, *weight, mean[3];
	const size_t *run;              /* [n]: of each point, numbered from 0 */
	size_t runs, first;             /* first: number of the block's first resample */
	uint64_t seed;
	theta best;
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

static struct moe_law law_of(const struct work *w, const theta t)
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
static bool resample(const struct work *w, struct data *q, double *weight, double *room, size_t number)
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
	struct data q = w->data;
	double *weight = moe_calloc(2 * q.n + w->runs, sizeof *weight);
	size_t number = w->first + at;
	theta t;

	if (!weight) {
		__atomic_store_n(&w->failed, true, __ATOMIC_RELAXED);
		return;
	}
	q.weight = weight;
	w->draw[number] = (struct moe_law){.kind = w->kind};
	for (size_t i = 0; i < MOE_LAW_MOST; i++)
		w->draw[number].value[i] = NAN;
	if (resample(w, &q, weight, weight + q.n, number) && isfinite(fit_from(&q, &w->powers, REFINED, w->best, t)))
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
	MOE_TRY(make_powers(&w->powers, &w->data, d));
	out->objective = fit_from(&w->data, &w->powers, STARTS, NULL, w->best) / (double)n;
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
	free(w.powers.value);
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
