#include "train/schedule.h"

double moe_schedule_factor(const struct moe_schedule *s, uint64_t at, uint64_t rows)
{
	double middle = (double)at + 0.5 * (double)rows, left = (double)s->tokens - middle, factor = 1;

	if (middle < (double)s->warmup)
		factor = middle / (double)s->warmup;
	if (left < (double)s->decay) {
		double fall = left > 0 ? left / (double)s->decay : 0, down = s->floor + (1 - s->floor) * fall;
		factor = factor < down ? factor : down;
	}
	return factor;
}
