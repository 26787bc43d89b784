/* From runs to what a law is fitted to. */
#ifndef MOE_SCALE_LAW_RUNS_H
#define MOE_SCALE_LAW_RUNS_H

#include "scale/law_fit.h"
#include "scale/runs.h"

/* What the runs with a measure have cost. */
struct moe_law_cost {
	double cost, least, most;       /* FLOPs / (N · D): geometric mean, and ends of its range */
	double from, to;                /* FLOPs of the smallest and of the largest run */
	double rate;                    /* FLOPs a second, median of the runs that tell seconds; NAN: none does */
	double s;                       /* mean sparsity */
};

/* The points of an arm's runs that have the measure, to be freed. MOE_EINPUT, with file and line, for losses that are not above 0 and runs without N;
 * MOE_EUSAGE where no run of the arm has the measure. */
enum moe_err moe_law_points(struct moe_law_point **out, size_t *n, struct moe_law_cost *cost, const struct moe_runs *r, size_t arm, size_t measure,
			    struct moe_diag *d) MOE_CHECK_RESULT;

#endif
