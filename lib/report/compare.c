#include "report/compare.h"

#include <math.h>
#include <string.h>

#include "report/view.h"

bool moe_tensor_compare(const struct moe_tensor *a, const struct moe_tensor *b, const struct moe_tolerance *t, struct moe_difference *out)
{
	double squares = 0, reference = 0;

	*out = (struct moe_difference){0};
	if (a->type != b->type || a->rank != b->rank || memcmp(a->shape, b->shape, a->rank * sizeof *a->shape))
		return false;
	out->compared = moe_tensor_count(a);
	for (uint64_t i = 0; i < out->compared; i++) {
		double x = moe_tensor_value(a, i), y = moe_tensor_value(b, i), gap = fabs(x - y);
		if (x == y || (isnan(x) && isnan(y)))
			gap = 0;
		else if (!isfinite(gap))
			gap = INFINITY;
		if (gap > t->atol + t->rtol * fabs(y))
			out->differing++;
		if (gap > out->largest || !i) {
			out->largest = gap;
			out->at = i;
			out->a = x;
			out->b = y;
		}
		squares += gap * gap;
		reference += isfinite(y) ? y * y : 0;
	}
	out->relative = squares > 0 ? sqrt(squares / (reference > 0 ? reference : 1)) : 0;
	return true;
}

static bool has(const struct moe_tensor *ids, uint64_t row, uint64_t k, double id)
{
	for (uint64_t i = 0; i < k; i++)
		if (moe_tensor_value(ids, row * k + i) == id)
			return true;
	return false;
}

/* Widens [*lo, *hi] by the logits of the experts that `a` has in this row and `b` has not. */
static bool span_of(const struct moe_tensor *a, const struct moe_tensor *b, const struct moe_tensor *logit, uint64_t row, uint64_t k, double *lo, double *hi)
{
	bool any = false;

	for (uint64_t i = 0; i < k; i++) {
		double id = moe_tensor_value(a, row * k + i);
		if (has(b, row, k, id))
			continue;
		any = true;
		if (id < 0 || id >= (double)logit->shape[1]) {
			*hi = INFINITY;
			continue;
		}
		double z = moe_tensor_value(logit, row * logit->shape[1] + (uint64_t)id);
		*lo = z < *lo ? z : *lo;
		*hi = z > *hi ? z : *hi;
	}
	return any;
}

bool moe_routing_compare(const struct moe_frame *a, const struct moe_frame *b, double tie, uint64_t *rows, uint64_t *differing, uint64_t *ties)
{
	const struct moe_tensor *ia = moe_frame_find(a, "expert_id"), *ib = moe_frame_find(b, "expert_id"), *logit = moe_frame_find(b, "router_logit");

	*rows = *differing = *ties = 0;
	if (!ia || !ib || !logit || ia->rank != 2 || ib->rank != 2 || logit->rank != 2 || memcmp(ia->shape, ib->shape, 2 * sizeof *ia->shape) ||
	    logit->shape[0] != ia->shape[0])
		return false;
	*rows = ia->shape[0];
	for (uint64_t r = 0; r < *rows; r++) {
		double lo = INFINITY, hi = -INFINITY;
		bool one = span_of(ia, ib, logit, r, ia->shape[1], &lo, &hi), other = span_of(ib, ia, logit, r, ia->shape[1], &lo, &hi);
		if (one || other) {
			++*differing;
			*ties += hi - lo <= tie;
		}
	}
	return true;
}
