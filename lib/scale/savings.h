/* FLOP savings at matched loss (Lin et al. 2024, "MoMa", section 4.2): eta = (FLOPs that the baseline spent to come to its final loss) / (FLOPs at which
 * another arm first has that loss).
 *
 * The curves of an arm are those of its seeds: measurements by rising cost, between which the logarithm of the cost is linear in the loss. They are averaged
 * over seeds where all of them have been. The baseline's final loss is that of its mean curve. An arm that does not come that far is told of by the baseline's
 * curve instead, at the arm's own final loss: eta = (FLOPs at which the baseline first had it) / (FLOPs that the arm spent), which is below 1 where both spent
 * as much.
 *
 * Intervals: percentile bootstrap over seeds, and, where each seed of both arms is a pair with an eta of its own, Student's t of the logarithms: the bootstrap
 * of few seeds is too narrow. */
#ifndef MOE_SCALE_SAVINGS_H
#define MOE_SCALE_SAVINGS_H

#include "scale/runs.h"

/* What a saving is counted in. */
enum moe_cost { MOE_COST_FLOPS, MOE_COST_TOKENS, MOE_COST_SECONDS, MOE_N_COSTS };
const char *moe_cost_name(enum moe_cost c);
int moe_cost_find(const char *name);

/* What is known of an eta. */
enum moe_eta_bound {
	MOE_ETA_IS,             /* it is the value */
	MOE_ETA_ABOVE,          /* the arm was there at its first measurement already: it is the value or more */
	MOE_ETA_BELOW,          /* the arm did not come to the loss, and ended worse than the baseline's first measurement: it is the value or less */
};

struct moe_eta {
	double value;
	enum moe_eta_bound bound;
	bool reached;                   /* the arm came to the baseline's final loss; else the value is from the baseline's crossing */
};

struct moe_saving {
	size_t arm, measure;
	struct moe_eta eta;             /* of the mean curves */
	double baseline_loss, loss;     /* final ones, of the mean curves */
	double baseline_cost, cost;     /* at their ends */
	double low, high;               /* bootstrap over seeds; NAN with fewer than two seeds of either */
	double t_low, t_high;           /* of paired seeds; NAN with fewer than two pairs, or an eta that is only a bound */
	size_t seeds, baseline_seeds, pairs;
};

struct moe_savings_options {
	size_t baseline;                /* an arm */
	const size_t *measure;          /* [n_measures] */
	size_t n_measures, resamples;   /* resamples of the seeds; seeds that both arms have are drawn together */
	enum moe_cost cost;
	uint64_t seed;                  /* of the resamples */
};

/* Of each arm but the baseline, in their order, and each measure. An arm that has no such measure has no seeds, and NAN everywhere. */
struct moe_savings {
	struct moe_saving *saving;      /* [n_arms][n_measures] */
	struct moe_saving_ratio { double value, low, high; } *ratio;    /* [n_arms][n_measures]: eta of the measure / eta of the first one */
	size_t n_arms, n_measures;
};

/* MOE_EUSAGE where the baseline has no measurements, or an arm's seeds have no costs in common. */
enum moe_err moe_savings_make(struct moe_savings *out, const struct moe_runs *r, const struct moe_savings_options *o, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_savings_free(struct moe_savings *s);

/* The mean curve of an arm, for pictures: at most `room` points (cost, loss) by rising cost. */
size_t moe_savings_curve(const struct moe_runs *r, size_t arm, size_t measure, enum moe_cost cost, double *x, double *y, size_t room);

#endif
