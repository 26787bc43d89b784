#include "report/compare.h"

#include <math.h>
#include <string.h>

#include "report/view.h"

/* |x - y| of element i; a type without numbers, and what doubles cannot tell apart, is compared by its bytes. */
static double gap_of(const struct moe_tensor *a, const struct moe_tensor *b, uint64_t i, double *x, double *y)
{
	bool blocks = a->type >= MOE_N_DTYPES || b->type >= MOE_N_DTYPES;
	uint64_t size = blocks ? 0 : moe_dtype_nbits(a->type) / 8, at = blocks ? 0 : i * moe_dtype_nbits(a->type) / 8;
	bool same = !blocks && !memcmp(a->data + at, b->data + at, size ? size : 1);
	bool is_float = blocks || a->type == MOE_F16 || a->type == MOE_BF16 || a->type == MOE_F32 || a->type == MOE_F64;
	double gap;

	*x = moe_tensor_value(a, i);
	*y = moe_tensor_value(b, i);
	gap = fabs(*x - *y);
	if (same || (is_float && (*x == *y || (isnan(*x) && isnan(*y)))))
		return 0;
	return !isfinite(gap) ? INFINITY : gap > 0 ? gap : 1;
}

bool moe_tensor_compare(const struct moe_tensor *a, const struct moe_tensor *b, const struct moe_tolerance *t, const bool *skip, struct moe_difference *out)
{
	double squares = 0, reference = 0;
	uint64_t count = moe_tensor_count(a), width = a->rank && a->shape[0] ? count / a->shape[0] : 1;

	*out = (struct moe_difference){0};
	if ((a->type != b->type && a->type < MOE_N_DTYPES && b->type < MOE_N_DTYPES) || a->rank != b->rank || memcmp(a->shape, b->shape, a->rank * sizeof *a->shape))
		return false;
	if (!skip && a->type == b->type && !memcmp(a->data, b->data, a->nbytes)) {
		out->compared = count;
		return true;
	}
	for (uint64_t i = 0; i < count; i++) {
		double x, y, gap;
		if (skip && skip[i / width])
			continue;
		gap = gap_of(a, b, i, &x, &y);
		out->compared++;
		if (isinf(gap) || gap > t->atol + t->rtol * fabs(y))
			out->differing++;
		if (gap > out->largest || out->compared == 1) {
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

/* Is what stands in a slot of both rows the same up to a tie? */
static bool tied(const struct moe_tensor *logit, uint64_t row, double one, double other, double tie)
{
	uint64_t n = logit->shape[1];

	if (one < 0 || other < 0 || one >= (double)n || other >= (double)n)
		return false;
	return fabs(moe_tensor_value(logit, row * n + (uint64_t)one) - moe_tensor_value(logit, row * n + (uint64_t)other)) <= tie;
}

bool moe_routing_compare(const struct moe_frame *a, const struct moe_frame *b, double tie, bool *is_tie, uint64_t *differing, uint64_t *ties)
{
	const struct moe_tensor *ia = moe_frame_find(a, "expert_id"), *ib = moe_frame_find(b, "expert_id"), *logit = moe_frame_find(b, "router_logit");

	*differing = *ties = 0;
	if (!ia || !ib || !logit || ia->rank != 2 || ib->rank != 2 || logit->rank != 2 || memcmp(ia->shape, ib->shape, 2 * sizeof *ia->shape) ||
	    logit->shape[0] != ia->shape[0])
		return false;
	for (uint64_t r = 0, k = ia->shape[1]; r < ia->shape[0]; r++) {
		bool differs = false, all = true;
		for (uint64_t i = r * k; i < (r + 1) * k; i++) {
			double one = moe_tensor_value(ia, i), other = moe_tensor_value(ib, i);
			if (one == other)
				continue;
			differs = true;
			all &= tied(logit, r, one, other, tie);
		}
		*differing += differs;
		is_tie[r] = differs && all;
		*ties += is_tie[r];
	}
	return true;
}
