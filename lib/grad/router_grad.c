#include "grad/router_grad.h"

#include <math.h>
#include <string.h>

void moe_router_measure(struct moe_router_sums *sums, float *p, float *lse, const float *logit, const int32_t *expert_id, const uint8_t *modality, size_t rows,
			const struct moe_router_settings *s)
{
	size_t n = (size_t)s->experts, k = (size_t)s->top_k;

	for (size_t r = 0; r < rows; r++, p += n, logit += n) {
		float top = logit[0], sum;
		for (size_t e = 1; e < n; e++)
			top = logit[e] > top ? logit[e] : top;
		sum = moe_exp_sum(p, logit, n);
		lse[r] = (float)((double)top + moe_log((double)sum));
		sums->z += (double)lse[r] * (double)lse[r];
		for (size_t e = 0; e < n; e++) {
			p[e] /= sum;
			sums->p[e] += (double)p[e];
		}
		for (size_t i = 0; i < k; i++)
			if (expert_id[r * k + i] >= 0)
				sums->load[modality[r] * n + (size_t)expert_id[r * k + i]]++;
	}
}

/* Adds to dp [experts] what the weights' gradients dw [k] give; the chosen ones are id [k]. */
static void from_weights(float *dp, const float *dw, const float *p, const int32_t *id, const float *w, const struct moe_router_settings *s)
{
	float sum = 1, mean = 0, scale = (float)s->scale;
	size_t k = (size_t)s->top_k;

	if (s->renormalise || s->weight == MOE_WEIGHT_SOFTMAX_OF_CHOSEN) {
		sum = s->renormalise ? (float)s->eps : 0;
		for (size_t i = 0; i < k; i++)
			if (id[i] >= 0) {
				sum += p[id[i]];
				mean += w[i] / scale * dw[i];
			}
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
