#include "grad/router_grad.h"

#include <math.h>
#include <string.h>

void moe_router_scores(float *p, float *lse, const float *logit, size_t rows, const struct moe_router_settings *s)
{
	size_t n = (size_t)s->experts;

	for (size_t r = 0; r < rows; r++, p += n, logit += n) {
		float top = logit[0], sum = moe_exp_sum(p, logit, n);
		for (size_t e = 0; e < n; e++) {
			top = logit[e] > top ? logit[e] : top;
			p[e] /= sum;
		}
		lse[r] = (float)((double)top + moe_log((double)sum));
	}
}

/* Are weights divided by the sum of those that were chosen? What is added to the sum. */
static bool shares(const struct moe_router_settings *s, float *eps)
{
	*eps = s->renormalise ? (float)s->eps : 0;
	return s->renormalise || s->weight == MOE_WEIGHT_SOFTMAX_OF_CHOSEN;
}

void moe_router_weigh(float *weight, const float *p, const int32_t *expert_id, size_t rows, const struct moe_router_settings *s)
{
	size_t k = (size_t)s->top_k;

	for (size_t r = 0; r < rows; r++, weight += k, expert_id += k, p += s->experts) {
		float sum;
		bool shared = shares(s, &sum);
		for (size_t i = 0; i < k; i++)
			sum += expert_id[i] >= 0 ? p[expert_id[i]] : 0;
		for (size_t i = 0; i < k; i++)
			weight[i] = expert_id[i] >= 0 ? (float)s->scale * p[expert_id[i]] / (shared ? sum : 1) : 0;
	}
}

void moe_router_measure(struct moe_router_sums *sums, const float *p, const float *lse, const int32_t *expert_id, const uint8_t *modality, size_t rows,
			const struct moe_router_settings *s)
{
	size_t n = (size_t)s->experts, k = (size_t)s->top_k;

	for (size_t r = 0; r < rows; r++, p += n) {
		sums->z += (double)lse[r] * (double)lse[r];
		for (size_t e = 0; e < n; e++)
			sums->p[e] += (double)p[e];
		for (size_t i = 0; i < k; i++)
			if (expert_id[r * k + i] >= 0)
				sums->load[modality[r] * n + (size_t)expert_id[r * k + i]]++;
	}
}

/* Adds to dp [experts] what the weights' gradients dw [k] give; the chosen ones are id [k]. */
static void from_weights(float *dp, const float *dw, const float *p, const int32_t *id, const float *w, const struct moe_router_settings *s)
{
	float sum, mean = 0, scale = (float)s->scale;
	size_t k = (size_t)s->top_k;

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

void moe_router_backward(float *dlogit, const float *dweight, const float *p, const float *lse, const int32_t *expert_id, const float *weight, size_t rows,
			 const struct moe_router_settings *s, const struct moe_router_pull *pull)
{
	size_t n = (size_t)s->experts, k = (size_t)s->top_k;

	for (size_t r = 0; r < rows; r++, dlogit += n, p += n) {
		float mean = 0;
		memcpy(dlogit, pull->p, n * sizeof *dlogit);
		from_weights(dlogit, dweight + r * k, p, expert_id + r * k, weight + r * k, s);
		for (size_t e = 0; e < n; e++)
			mean += p[e] * dlogit[e];
		for (size_t e = 0; e < n; e++)
			dlogit[e] = p[e] * (dlogit[e] - mean + pull->z * 2 * lse[r]);
	}
}
