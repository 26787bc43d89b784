#include "train/balance.h"

#include <string.h>

static bool is_bias(const struct moe_param *p) { return p->logical && !strcmp(p->logical, "choice_bias"); }

bool moe_balance_possible(const struct moe_params *params)
{
	for (size_t i = 0; i < params->n; i++)
		if (is_bias(&params->p[i]))
			return true;
	return false;
}

/* Choices of an expert by `n` modalities from load on. */
static uint64_t load_of(const uint64_t *load, size_t n, size_t experts, size_t e)
{
	uint64_t sum = 0;

	for (size_t m = 0; m < n; m++)
		sum += load[m * experts + e];
	return sum;
}

/* Moves the bias of the experts of one pool. */
static void update_pool(float *bias, const uint64_t *load, size_t n, const struct moe_router_settings *s, size_t pool, float rate)
{
	size_t experts = (size_t)s->experts;
	uint64_t all = 0, of_pool = 0;

	for (size_t e = 0; e < experts; e++)
		if (!s->pools.n || s->pools.of[e] == pool) {
			all += load_of(load, n, experts, e);
			of_pool++;
		}
	for (size_t e = 0; e < experts; e++)
		if (!s->pools.n || s->pools.of[e] == pool) {
			uint64_t own = load_of(load, n, experts, e) * of_pool;
			bias[e] += own < all ? rate : own > all ? -rate : 0;
		}
}

void moe_balance_step(float *bias, const uint64_t *load, size_t n, const struct moe_router_settings *s, double rate)
{
	for (size_t m = 0; m < (s->pools.n ? s->pools.n : 1); m++)
		update_pool(bias, load, n, s, m, (float)rate);
}

void moe_balance_update(const struct moe_params *params, float *weights, const uint64_t *load, const struct moe_router_settings *s, double rate, const bool *frozen)
{
	size_t experts = (size_t)s->experts;

	for (size_t i = 0; i < params->n; i++) {
		const struct moe_param *p = &params->p[i];
		const uint64_t *l = load + (size_t)p->layer * MOE_N_MODALITIES * experts;
		if (!is_bias(p) || p->layer < 0 || (frozen && frozen[i]))
			continue;
		if (p->count == experts)
			moe_balance_step(weights + p->offset, l, MOE_N_MODALITIES, s, rate);
		for (size_t m = 0; p->count > experts && m < p->count / experts; m++)
			moe_balance_step(weights + p->offset + m * experts, l + m * experts, 1, s, rate);
	}
}
