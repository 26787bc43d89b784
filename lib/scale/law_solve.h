/* The solver behind moe_law_fit: the least Huber loss from the best of many starts. */
#ifndef MOE_SCALE_LAW_SOLVE_H
#define MOE_SCALE_LAW_SOLVE_H

#include "scale/law.h"

enum { MOE_LAW_STARTS = 6 };    /* the most that are refined */

/* Points as the solver sees them: logarithms of N, D and 1-S about their means, where coefficients and exponents depend little on each other. */
struct moe_law_data {
	const double *x[3];             /* [n]: log N, log D, log(1-S) */
	const double *log_loss;         /* [n] */
	const double *weight;           /* [n] */
	size_t n, parameters, n_terms;
	const struct moe_law_term *term;
	double huber;
};

/* As the values of a law, but coefficients are logarithms, at the means. */
typedef double moe_law_theta[MOE_LAW_MOST];

/* Powers of the points for each value of a grid of exponents, whatever their weights. */
struct moe_law_powers {
	const double *grid;
	size_t n_grid, combinations;
	double *value;                  /* [3][n_grid][n] */
};
enum moe_err moe_law_powers_make(struct moe_law_powers *p, const struct moe_law_data *q, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_law_powers_free(struct moe_law_powers *p);

/* Each combination of the grid, with the coefficients that go with it best, is a start; the best n of them (at most MOE_LAW_STARTS), and `also` unless it is
 * NULL, are refined by Levenberg and Marquardt's method on reweighted squares. `best` is the best end; returns the sum of the Huber losses, INFINITY where
 * nothing is found. */
double moe_law_solve(const struct moe_law_data *q, const struct moe_law_powers *p, size_t n, const double *also, moe_law_theta best);

#endif
