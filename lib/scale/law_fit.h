/* A law's parameters from runs: the least Huber loss of the logarithm of (predicted / measured), as Hoffmann et al. 2022 (approach 3) and Shukor et al. 2025
 * fit it, with intervals by resampling runs. */
#ifndef MOE_SCALE_LAW_FIT_H
#define MOE_SCALE_LAW_FIT_H

#include <stdint.h>

#include "scale/law.h"
#include "sys/pool.h"

/* A measurement. Those of one run are drawn together when runs are resampled; runs are small numbers, which may leave some out. */
struct moe_law_point {
	struct moe_law_at at;
	double loss;                    /* above 0 */
	size_t run;
};

struct moe_law_fit_options {
	enum moe_law_kind kind;
	double huber;                   /* residuals above it count by their size, not its square; 0: 1e-3 */
	size_t resamples;               /* of the runs; 0: no intervals */
	uint64_t seed;                  /* of the resamples */
	struct moe_pool *pool;
	void (*progress)(void *self, size_t resamples);         /* may be NULL; called between blocks of resamples */
	void *self;
};

struct moe_law_fit {
	struct moe_law law;
	size_t points, runs, n_sizes, n_tokens, n_sparsities;   /* how many, and of how many different values */
	struct moe_law_at least, most;  /* of the points */
	double objective;               /* mean Huber loss */
	double r2;                      /* of the losses */
	double mean_error, largest_error;               /* |predicted / measured - 1| */
	struct moe_law *draw;           /* [draws]: the law of each resample */
	size_t draws;
};

/* MOE_EUSAGE, with what is missing, for points that do not determine the law: fewer runs than it has parameters and one, fewer than three sizes or numbers of
 * tokens (sparsities, for the sparse law), or tokens that follow from the size. The same points give the same bytes with any number of threads. */
enum moe_err moe_law_fit(struct moe_law_fit *out, const struct moe_law_point *p, size_t n, const struct moe_law_fit_options *o,
			 struct moe_diag *d) MOE_CHECK_RESULT;
void moe_law_fit_free(struct moe_law_fit *f);

/* What a function makes of a law, with the middle 95 % of what it makes of the draws; those for which it is not finite may lie on either side
 * (moe_bootstrap_interval). Without draws both ends are NAN. */
typedef double moe_law_function(const struct moe_law *l, const void *self);
struct moe_law_estimate {
	double value, low, high;
};
enum moe_err moe_law_estimate(struct moe_law_estimate *out, const struct moe_law_fit *f, moe_law_function *fn, const void *self,
			      struct moe_diag *d) MOE_CHECK_RESULT;

#endif
