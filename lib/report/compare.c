#include "report/compare.h"

#include <math.h>
#include <string.h>

#include "report/view.h"

/* Types without numbers, and values that are the same as doubles though not as integers: bytes decide. */
static void compare_bytes(const struct moe_tensor *a, const struct moe_tensor *b, struct moe_difference *out)
{
	for (uint64_t i = 0; i < a->nbytes; i++)
		if (a->data[i] != b->data[i] && !out->differing++) {
			out->at = i * 8 / moe_dtype_nbits(a->type);
			out->a = a->data[i];
			out->b = b->data[i];
			out->largest = out->relative = INFINITY;
		}
}

bool moe_tensor_compare(const struct moe_tensor *a, const struct moe_tensor *b, const struct moe_tolerance *t, struct moe_difference *out)
{
	double squares = 0, reference = 0;

	*out = (struct moe_difference){0};
	if (a->type != b->type || a->rank != b->rank || memcmp(a->shape, b->shape, a->rank * sizeof *a->shape))
		return false;
	out->compared = moe_tensor_count(a);
	if (!memcmp(a->data, b->data, a->nbytes))
		return true;
	for (uint64_t i = 0; i < out->compared && moe_tensor_has_numbers(a); i++) {
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
	if (!moe_tensor_has_numbers(a) || (squares == 0 && (a->type == MOE_I64 || a->type == MOE_U64)))
		compare_bytes(a, b, out);
	return true;
}

/* Widens [*lo, *hi] by the logit of an expert; one that there is none of is never within a tie. */
static void widen(const struct moe_tensor *logit, uint64_t row, double id, double *lo, double *hi)
{
	double z = id < 0 || id >= (double)logit->shape[1] ? NAN : moe_tensor_value(logit, row * logit->shape[1] + (uint64_t)id);

	z = isnan(z) ? INFINITY : z;
	*lo = z < *lo ? z : *lo;
	*hi = z > *hi ? z : *hi;
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
		for (uint64_t i = r * ia->shape[1]; i < (r + 1) * ia->shape[1]; i++) {
			double x = moe_tensor_value(ia, i), y = moe_tensor_value(ib, i);
			if (x == y)
				continue;
			widen(logit, r, x, &lo, &hi);
			widen(logit, r, y, &lo, &hi);
		}
		*differing += hi >= lo;
		*ties += hi >= lo && hi - lo <= tie;    /* infinity less infinity is no number, and no tie */
	}
	return true;
}
