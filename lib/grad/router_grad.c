#include "grad/router_grad.h"

#include <math.h>
#include <string.h>

/* log sum exp of a row; p gets softmax(z). */
static float soften(float *p, const float *z, size_t n)
{
	float top = z[0], sum = moe_exp_sum(p, z, n);

	for (size_t e = 0; e < n; e++) {
		top = z[e] > top ? z[e] : top;
		p[e] /= sum;
	}
	return (float)((double)top + moe_log((double)sum));
}

float moe_router_noise(double u)
{
	static const double least = 0x1p-54;    /* draws are multiples of 2^-53: u and 1 - u are at least that, but for 0 */

	u = u > 0 ? u : least;
	return (float)(moe_log(u) - moe_log(1 - u));
}

void moe_router_scores(const struct moe_router_kept *r, const float *noise, size_t rows, const struct moe_router_settings *s)
{
	size_t n = (size_t)s->experts;

	for (size_t i = 0; i < rows; i++) {
		float *p = r->p + i * n;
		const float *z = r->logit + i * n;
		r->lse[i] = soften(p, z, n);
		for (size_t e = 0; s->score == MOE_SCORE_SIGMOID && e < n; e++)
			p[e] = z[e] == -INFINITY ? 0 : 1.0f / (1.0f + moe_exp(-(noise ? z[e] + noise[i * n + e] : z[e])));
	}
}

/* Are weights divided by the sum of those that were chosen? What is added to the sum. */
static bool shares(const struct moe_router_settings *s, float *eps)
{
	*eps = s->renormalise ? (float)s->eps : 0;
	return s->renormalise || s->weight == MOE_WEIGHT_SOFTMAX_OF_CHOSEN;
}

void moe_router_weigh(const struct moe_router_kept *r, size_t rows, size_t k, const struct moe_router_settings *s)
{
	const float *p = r->p;
	const int32_t *id = r->expert_id;
	float *weight = r->weight;

	for (size_t row = 0; row < rows; row++, weight += k, id += k, p += s->experts) {
		float sum;
		bool shared = shares(s, &sum);
		for (size_t i = 0; i < k; i++)
			sum += id[i] >= 0 ? p[id[i]] : 0;
		for (size_t i = 0; i < k; i++)
			weight[i] = id[i] >= 0 ? (float)s->scale * p[id[i]] / (shared ? sum : 1) : 0;
	}
}

/* What q is divided by: softmax sums to one. */
static float whole(const float *p, const struct moe_router_settings *s)
{
	float sum = 0;

	if (s->score == MOE_SCORE_SOFTMAX)
		return 1;
	for (size_t e = 0; e < (size_t)s->experts; e++)
		sum += p[e];
	return sum;
}

void moe_router_measure(struct moe_router_sums *sums, const struct moe_router_kept *r, const uint8_t *modality, size_t rows, size_t k,
			const struct moe_router_settings *s)
{
	size_t n = (size_t)s->experts;

	for (size_t row = 0; row < rows; row++) {
		const float *p = r->p + row * n;
		enum moe_modality m = moe_modality_of(modality[row]);
		float sum = whole(p, s);
		sums->rows[m]++;
		sums->unserved += r->expert_id[row * k] < 0;
		sums->z += (double)r->lse[row] * (double)r->lse[row];
		for (size_t e = 0; e < n; e++)
			sums->q[e] += (double)(p[e] / sum);
		for (size_t i = 0; i < k; i++)
			if (r->expert_id[row * k + i] >= 0)
				sums->load[m * n + (size_t)r->expert_id[row * k + i]]++;
	}
}

static bool in_pool(const struct moe_router_settings *s, size_t pool, size_t e) { return !s->pools.n || s->pools.of[e] == pool; }

static double load_of(const struct moe_router_sums *sums, size_t experts, size_t e)
{
	uint64_t load = 0;

	for (size_t m = 0; m < MOE_N_MODALITIES; m++)
		load += sums->load[m * experts + e];
	return (double)load;
}

/* f and P of the next `members` experts of a pool from expert e on; returns the one behind them. */
static size_t sum_group(double *f, double *p, const struct moe_router_sums *sums, const double *share, double rows, const struct moe_router_settings *s, size_t pool,
			size_t e, size_t members)
{
	*f = *p = 0;
	for (; members; e++)
		if (in_pool(s, pool, e)) {
			*f += share[e];
			*p += sums->q[e] / rows;
			members--;
		}
	return e;
}

/* One pool's part of moe_router_balance; of a layer without pools, all of it. */
static double balance_pool(float *pull, double *share, const struct moe_router_sums *sums, const struct moe_router_settings *s, size_t pool, size_t groups, double factor)
{
	size_t n = (size_t)s->experts, size = s->pools.n ? (size_t)s->pools.size[pool] : n, units = groups ? groups : size;
	double all = 0, rows = 0, loss = 0, f, p;

	for (size_t m = 0; m < MOE_N_MODALITIES; m++)
		rows += s->pools.n && m != pool ? 0 : (double)sums->rows[m];
	for (size_t e = 0; e < n; e++)
		all += in_pool(s, pool, e) ? load_of(sums, n, e) : 0;
	for (size_t e = 0; e < n; e++)
		if (in_pool(s, pool, e))
			share[e] = all > 0 ? load_of(sums, n, e) / all : 0;
	for (size_t g = 0, e = 0, end; g < units && all > 0; g++, e = end) {
		end = sum_group(&f, &p, sums, share, rows, s, pool, e, size / units);
		loss += (double)units * f * p;
		for (; e < end; e++)
			if (in_pool(s, pool, e))
				pull[e] = (float)(factor * (double)units * f / rows);
	}
	return loss;
}

double moe_router_balance(float *pull, double *share, const struct moe_router_sums *sums, const struct moe_router_settings *s, size_t groups, double factor)
{
	bool even = s->chooses == MOE_CHOICE_EXPERT;
	double loss = 0;

	memset(pull, 0, (size_t)s->experts * sizeof *pull);
	for (size_t m = 0; m < (s->pools.n ? s->pools.n : 1); m++)
		loss += balance_pool(pull, share, sums, s, m, groups, even ? 0 : factor);
	return even ? 0 : loss;
}

/* Adds to dp [experts] what the weights' gradients dw [k] give; the chosen ones are id [k]. */
static void from_weights(float *dp, const float *dw, const float *p, const int32_t *id, const float *w, size_t k, const struct moe_router_settings *s)
{
	float sum, mean = 0, scale = (float)s->scale;

	if (shares(s, &sum)) {
		for (size_t i = 0; i < k; i++)
			if (id[i] >= 0) {
				sum += p[id[i]];
				mean += w[i] / scale * dw[i];
			}
	} else {
		sum = 1;
	}
	for (size_t i = 0; i < k; i++)
		if (id[i] >= 0)
			dp[id[i]] += scale * (dw[i] - mean) / sum;
}

/* p is softmax(z): dlogit holds the gradient of p, to which pull adds its own. */
static void through_softmax(float *dlogit, const float *p, float lse, size_t n, const struct moe_router_pull *pull)
{
	float mean = 0;

	for (size_t e = 0; e < n; e++)
		mean += p[e] * dlogit[e];
	for (size_t e = 0; e < n; e++)
		dlogit[e] = p[e] * (dlogit[e] - mean + pull->z * 2 * lse);
}

/* p is sigmoid(z), q = p / sum of p. */
static void through_sigmoid(float *dlogit, const float *z, const float *p, float lse, size_t n, const struct moe_router_pull *pull, float sum)
{
	float mean = 0;

	for (size_t e = 0; e < n; e++)
		mean += p[e] / sum * pull->q[e];
	for (size_t e = 0; e < n; e++)
		if (z[e] != -INFINITY)
			dlogit[e] = p[e] * (1 - p[e]) * (dlogit[e] + (pull->q[e] - mean) / sum) + pull->z * 2 * lse * moe_exp(z[e] - lse);
		else
			dlogit[e] = 0;
}

void moe_router_backward(float *dlogit, const float *dweight, const struct moe_router_kept *r, size_t rows, size_t k, const struct moe_router_settings *s,
			 const struct moe_router_pull *pull)
{
	size_t n = (size_t)s->experts;
	bool softmax = s->score == MOE_SCORE_SOFTMAX;

	for (size_t row = 0; row < rows; row++, dlogit += n) {
		const float *p = r->p + row * n;
		if (softmax)
			memcpy(dlogit, pull->q, n * sizeof *dlogit);
		else
			memset(dlogit, 0, n * sizeof *dlogit);
		from_weights(dlogit, dweight + row * k, p, r->expert_id + row * k, r->weight + row * k, k, s);
		if (softmax)
			through_softmax(dlogit, p, r->lse[row], n, pull);
		else
			through_sigmoid(dlogit, r->logit + row * n, p, r->lse[row], n, pull, whole(p, s));
	}
}
