/* Intervals by resampling: the percentile bootstrap (Efron 1979), with a fixed seed. */
#ifndef MOE_STATS_BOOTSTRAP_H
#define MOE_STATS_BOOTSTRAP_H

#include <stddef.h>

#include "base/err.h"

enum { MOE_BOOTSTRAP_RESAMPLES = 2000 };

/* Ends of the middle 95 % of what n resamples gave, which are sorted. `unknown` more gave no number, and may lie on either side: NAN where there are so many that an
 * end is one of them, or where there are none. */
void moe_bootstrap_interval(double *estimate, size_t n, size_t unknown, double *low, double *high);

/* 95 % interval of (the sum of part) / (the sum of whole), both [n], of things that are drawn together: samples whose questions belong together, each with a
 * whole above 0. Paired: part is a difference within each. The same n draws the same samples, so that intervals of several parts go together. n 0: both ends
 * are 0. */
enum moe_err moe_bootstrap_ratio(const double *part, const double *whole, size_t n, double *low, double *high, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
