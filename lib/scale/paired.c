#include "scale/paired.h"

#include <math.h>
#include <stdlib.h>

/* The ends of an arm's runs: numbers of measurements, one for each seed. */
static enum moe_err find_ends(size_t *end, size_t *n, const struct moe_runs *r, size_t arm, size_t measure, struct moe_diag *d)
{
	*n = 0;
	for (size_t i = 0; i < r->n; i++) {
		size_t g = 0;
		if (r->at[i].arm != arm || !isfinite(moe_run_measure(&r->at[i], measure)))
			continue;
		while (g < *n && !moe_runs_together(&r->at[end[g]], &r->at[i]))
			g++;
		if (g == *n)
			end[(*n)++] = i;
		MOE_TRY(moe_runs_alike(r, end[g], i, d));
		if (r->at[i].d > r->at[end[g]].d)
			end[g] = i;
	}
	return MOE_OK;
}

/* value: room for one number of each seed. */
static void compare(struct moe_paired *p, const struct moe_runs *r, const size_t *base, size_t n_base, const size_t *arm, size_t n_arm, double *value)
{
	size_t n = 0;

	for (size_t i = 0; i < n_base; i++)
		for (size_t j = 0; j < n_arm; j++) {
			const struct moe_run_at *a = &r->at[base[i]], *b = &r->at[arm[j]];
			if (!a->seeded || !b->seeded || a->seed != b->seed)
				continue;
			p->baseline += moe_run_measure(a, p->measure);
			p->mean += moe_run_measure(b, p->measure);
			p->flops += b->flops / a->flops;
			value[n++] = moe_run_measure(b, p->measure) - moe_run_measure(a, p->measure);
		}
	p->difference = moe_student_of(value, n);
	p->alone = n_base + n_arm - 2 * n;
	p->baseline /= (double)n;
	p->mean /= (double)n;
	p->flops /= (double)n;
}

static enum moe_err fill(struct moe_paired *p, const struct moe_runs *r, size_t baseline, const size_t *measure, size_t n_measures, size_t *end, double *value,
			 struct moe_diag *d)
{
	size_t n_base, n_arm;

	for (size_t m = 0; m < n_measures; m++) {
		size_t at = m;
		MOE_TRY(find_ends(end, &n_base, r, baseline, measure[m], d));
		if (!n_base)
			return moe_fail(d, MOE_EUSAGE, "the baseline \"%.60s\" has no %.60s", r->arm[baseline], r->measure[measure[m]]);
		for (size_t arm = 0; arm < r->n_arms; arm++) {
			if (arm == baseline)
				continue;
			p[at] = (struct moe_paired){.arm = arm, .measure = measure[m]};
			MOE_TRY(find_ends(end + r->n, &n_arm, r, arm, measure[m], d));
			compare(&p[at], r, end, n_base, end + r->n, n_arm, value);
			at += n_measures;
		}
	}
	return MOE_OK;
}

enum moe_err moe_paired_make(struct moe_paired **out, const struct moe_runs *r, size_t baseline, const size_t *measure, size_t n_measures, struct moe_diag *d)
{
	size_t *end = moe_calloc(2 * r->n + 1, sizeof *end);
	double *value = moe_calloc(r->n + 1, sizeof *value);
	enum moe_err err;

	*out = moe_calloc(r->n_arms * n_measures, sizeof **out);
	err = end && value && *out ? fill(*out, r, baseline, measure, n_measures, end, value, d) : moe_fail(d, MOE_ENOMEM, "out of memory");
	free(end);
	free(value);
	if (err) {
		free(*out);
		*out = NULL;
	}
	return err;
}
