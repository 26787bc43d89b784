#include "scale/law_solve.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { MOST_TERMS = 5, MOST_STEPS = 400, GRID_MOST = 12 };

/* Values that exponents begin with: each combination of them, with the best coefficients that go with it, is a start. */
static const double dense_grid[GRID_MOST] = {0.05, 0.1, 0.15, 0.22, 0.3, 0.4, 0.52, 0.68, 0.9, 1.2, 1.6, 2.4};
static const double sparse_grid[] = {0.1, 0.3, 0.6, 1.2};

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
static double residual(const struct moe_law_data *q, const moe_law_theta t, size_t i, double *by)
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

static double objective(const struct moe_law_data *q, const moe_law_theta t)
{
	double sum = 0;

	for (size_t i = 0; i < q->n; i++)
		sum += q->weight[i] * huber(residual(q, t, i, NULL), q->huber);
	return sum;
}

/* Normal equations of the squares that touch the Huber loss from above at t: weights 1, or delta / |r|. */
static void normal_equations(const struct moe_law_data *q, const moe_law_theta t, double a[][MOE_LAW_MOST], double *g)
{
	double by[MOE_LAW_MOST];

	memset(a, 0, sizeof(double[MOE_LAW_MOST][MOE_LAW_MOST]));
	memset(g, 0, sizeof(moe_law_theta));
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
static double refine(const struct moe_law_data *q, moe_law_theta t)
{
	double now = objective(q, t), damping = 1e-3, a[MOE_LAW_MOST][MOE_LAW_MOST], m[MOE_LAW_MOST][MOE_LAW_MOST];
	moe_law_theta g, step, next;

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
	moe_law_theta t;
	double squares;
};

static const double *power_of(const struct moe_law_powers *p, size_t axis, size_t at, size_t n) { return p->value + (axis * p->n_grid + at) * n; }

enum moe_err moe_law_powers_make(struct moe_law_powers *p, const struct moe_law_data *q, struct moe_diag *d)
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

static void start_of(struct start *s, const struct moe_law_data *q, const struct moe_law_powers *p, size_t number)
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
static void find_starts(struct start *best, size_t n, const struct moe_law_data *q, const struct moe_law_powers *p)
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

void moe_law_powers_free(struct moe_law_powers *p) { free(p->value); }

double moe_law_solve(const struct moe_law_data *q, const struct moe_law_powers *p, size_t n, const double *also, moe_law_theta best)
{
	struct start start[MOE_LAW_STARTS];
	double least = INFINITY;
	moe_law_theta t;

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
