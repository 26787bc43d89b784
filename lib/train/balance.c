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

static void update(float *bias, const uint64_t *text, const uint64_t *image, size_t experts, float rate)
{
	uint64_t all = 0;

	for (size_t e = 0; e < experts; e++)
		all += text[e] + image[e];
	for (size_t e = 0; e < experts; e++) {
		uint64_t load = (text[e] + image[e]) * experts;
		bias[e] += load < all ? rate : load > all ? -rate : 0;
	}
}

void moe_balance_update(const struct moe_params *params, float *weights, const uint64_t *load, size_t experts, double rate, const bool *frozen)
{
	for (size_t i = 0; i < params->n; i++) {
		const struct moe_param *p = &params->p[i];
		const uint64_t *l = load + (size_t)p->layer * 2 * experts;
		if (is_bias(p) && p->layer >= 0 && p->count == experts && !(frozen && frozen[i]))
			update(weights + p->offset, l, l + experts, experts, (float)rate);
	}
}
