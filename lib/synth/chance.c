#include "synth/chance.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"

uint64_t moe_draw_u64(struct moe_draw *r) { return moe_random_u64(r->seed, r->stream, r->index++); }

double moe_draw_unit(struct moe_draw *r) { return moe_random_unit(r->seed, r->stream, r->index++); }

double moe_draw_real(struct moe_draw *r, double low, double high) { return low + (high - low) * moe_draw_unit(r); }

double moe_draw_log(struct moe_draw *r, double low, double high) { return low * pow(high / low, moe_draw_unit(r)); }

/* The high half of a product: the bias is below n / 2^32. */
size_t moe_draw_below(struct moe_draw *r, size_t n) { return (size_t)((moe_draw_u64(r) >> 32) * (uint64_t)n >> 32); }

int moe_draw_between(struct moe_draw *r, int low, int high) { return low + (int)moe_draw_below(r, (size_t)(high - low) + 1); }

bool moe_draw_chance(struct moe_draw *r, double p) { return moe_draw_unit(r) < p; }

/* Box and Muller's transform. */
double moe_draw_normal(struct moe_draw *r)
{
	double u = 1 - moe_draw_unit(r), v = moe_draw_unit(r);

	return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

size_t moe_draw_weighted(struct moe_draw *r, const double *weight, size_t n)
{
	double all = 0, at;
	size_t last = 0;

	for (size_t i = 0; i < n; i++)
		all += weight[i];
	at = moe_draw_unit(r) * all;
	for (size_t i = 0; i < n; i++) {
		if (!(weight[i] > 0))
			continue;
		if (at < weight[i])
			return i;
		at -= weight[i];
		last = i;
	}
	return last;    /* by rounding */
}

/* Fisher and Yates. */
void moe_draw_shuffle(struct moe_draw *r, void *things, size_t n, size_t size)
{
	unsigned char *p = things, kept[64];

	for (; n > 1; n--) {
		size_t i = moe_draw_below(r, n);
		memcpy(kept, p + (n - 1) * size, size);
		memcpy(p + (n - 1) * size, p + i * size, size);
		memcpy(p + i * size, kept, size);
	}
}
