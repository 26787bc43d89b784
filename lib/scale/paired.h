/* Differences between arms at the end of training, seed by seed: the mean with Student's 95 % interval. */
#ifndef MOE_SCALE_PAIRED_H
#define MOE_SCALE_PAIRED_H

#include "scale/runs.h"
#include "stats/student.h"

/* An arm beside the baseline. The end of a run is its measurement with the most tokens that has the measure. */
struct moe_paired {
	size_t arm, measure;
	struct moe_student difference;          /* arm - baseline, of seeds that both have */
	double baseline, mean;                  /* of those seeds */
	double flops;                           /* of the arm / of the baseline, mean of those seeds */
	size_t alone;                           /* seeds of either that the other lacks, and runs without a seed */
};

/* out: [n_arms - 1][n_measures], to be freed. */
enum moe_err moe_paired_make(struct moe_paired **out, const struct moe_runs *r, size_t baseline, const size_t *measure, size_t n_measures,
			     struct moe_diag *d) MOE_CHECK_RESULT;

#endif
