#include "scale/law_runs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/sort.h"

static void add_cost(struct moe_law_cost *c, const struct moe_run_at *a, size_t before, double *rate, size_t *rates)
{
	double cost = a->flops / (a->n * a->d);

	c->cost += (log(cost) - c->cost) / (double)(before + 1);
	c->s += (a->s - c->s) / (double)(before + 1);
	c->least = before ? fmin(c->least, cost) : cost;
	c->most = before ? fmax(c->most, cost) : cost;
	c->from = before ? fmin(c->from, a->flops) : a->flops;
	c->to = before ? fmax(c->to, a->flops) : a->flops;
	if (a->seconds > 0)
		rate[(*rates)++] = a->flops / a->seconds;
}

static enum moe_err collect(struct moe_law_point *p, size_t *n, struct moe_law_cost *c, double *rate, const struct moe_runs *r, size_t arm, size_t measure,
			     struct moe_diag *d)
{
	char place[300];
	size_t rates = 0;

	for (size_t i = 0; i < r->n; i++) {
		const struct moe_run_at *a = &r->at[i];
		double loss = moe_run_measure(a, measure);
		if (a->arm != arm || isnan(loss))
			continue;
		if (isnan(a->n))
			return moe_fail(d, MOE_EINPUT, "%.280s: no N, the parameters that a token passes", moe_run_place(r, a, place));
		if (!(loss > 0))
			return moe_fail(d, MOE_EINPUT, "%.280s: %.60s is %g: a law is fitted to the logarithms of losses above 0", moe_run_place(r, a, place),
					r->measure[measure], loss);
		add_cost(c, a, *n, rate, &rates);
		p[(*n)++] = (struct moe_law_point){{a->n, a->d, a->s}, loss, a->run};
	}
	c->cost = exp(c->cost);
	moe_sort_doubles(rate, rates);
	c->rate = rates ? rate[rates / 2] : NAN;
	return *n ? MOE_OK : moe_fail(d, MOE_EUSAGE, "no run of arm \"%.60s\" has %.60s", r->arm[arm], r->measure[measure]);
}

enum moe_err moe_law_points(struct moe_law_point **out, size_t *n, struct moe_law_cost *cost, const struct moe_runs *r, size_t arm, size_t measure,
			    struct moe_diag *d)
{
	double *rate = moe_calloc(r->n + 1, sizeof *rate);
	enum moe_err err;

	memset(cost, 0, sizeof *cost);
	*n = 0;
	*out = moe_calloc(r->n + 1, sizeof **out);
	err = rate && *out ? collect(*out, n, cost, rate, r, arm, measure, d) : moe_fail(d, MOE_ENOMEM, "out of memory");
	free(rate);
	if (err) {
		free(*out);
		*out = NULL;
	}
	return err;
}
