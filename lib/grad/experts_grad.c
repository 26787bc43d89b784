#include "grad/experts_grad.h"

#include <string.h>

#include "base/check.h"

enum moe_err moe_expert_pairs_make(struct moe_expert_pairs *p, const int32_t *expert_id, size_t rows, size_t k, size_t experts, struct moe_arena *a,
				   struct moe_diag *d)
{
	uint32_t *next = moe_arena_zero(a, experts + 1, sizeof *next);

	*p = (struct moe_expert_pairs){.experts = experts, .k = k};
	p->first = moe_arena_zero(a, experts + 1, sizeof *p->first);
	p->row = moe_arena_get(a, rows * k, sizeof *p->row);
	p->slot = moe_arena_get(a, rows * k, sizeof *p->slot);
	if (!next || !p->first || !p->row || !p->slot)
		return moe_fail(d, MOE_ENOMEM, "out of memory for the experts of %zu rows", rows);
	for (size_t i = 0; i < rows * k; i++)
		if (expert_id[i] >= 0)
			p->first[expert_id[i] + 1]++;
	for (size_t e = 0; e < experts; e++) {
		p->first[e + 1] += p->first[e];
		next[e] = p->first[e];
	}
	p->n = p->first[experts];
	for (size_t i = 0; i < rows * k; i++)
		if (expert_id[i] >= 0) {
			uint32_t at = next[expert_id[i]]++;
			p->row[at] = (uint32_t)(i / k);
			p->slot[at] = (uint32_t)(i % k);
		}
	return MOE_OK;
}

size_t moe_expert_pairs_most(const struct moe_expert_pairs *p)
{
	size_t most = 0;

	for (size_t e = 0; e < p->experts; e++)
		most = moe_max(most, p->first[e + 1] - p->first[e]);
	return most;
}

/* What one expert's products read and write. */
struct room {
	void *h, *act, *dgate_up, *along;       /* [m][hidden], [m][width], [m][2 · width] numbers; operands of gradients */
	float *wide, *narrow, *weight, *dweight;        /* [m][2 · width], [m][hidden], [m] */
};

/* Cuts the scratch for m pairs; returns the bytes. With scratch NULL it only counts. */
static size_t cut(struct room *r, char *scratch, size_t m, size_t hidden, size_t width)
{
	struct { void **to; size_t n; } part[] = {
		{&r->h, (m + 1) * hidden}, {&r->act, (m + 1) * width}, {&r->dgate_up, (m + 1) * 2 * width}, {&r->along, (m + 2) * (hidden + 2 * width)},
		{(void **)&r->wide, m * 2 * width}, {(void **)&r->narrow, m * hidden}, {(void **)&r->weight, m}, {(void **)&r->dweight, m},
	};
	size_t used = 0;

	for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
		*part[i].to = scratch ? scratch + used : NULL;
		used += moe_round_up(part[i].n * 4, 64);
	}
	return used;
}

size_t moe_experts_scratch(size_t pairs, size_t hidden, size_t width)
{
	struct room r;

	return cut(&r, NULL, pairs, hidden, width);
}

void moe_experts_keep(const struct moe_expert_dense *w, const struct moe_expert_pairs *p, float *y, const void *h, const float *weight, void *kept,
		      void *scratch)
{
	enum moe_unit unit = w->gate_up.unit;
	size_t hidden = w->gate_up.in, width = w->down.in;
	struct room r;

	for (size_t e = 0; e < p->experts; e++) {
		size_t first = p->first[e], m = p->first[e + 1] - first;
		if (!m)
			continue;
		cut(&r, scratch, m, hidden, width);
		moe_gather_rows(r.h, hidden, h, hidden, p->row + first, m, hidden, moe_unit_number(unit));
		moe_dense_forward(&w[e].gate_up, r.h, hidden, m, r.wide, 2 * width, false);
		moe_swiglu_keep(unit, r.act, width, moe_unit_at(unit, kept, first * 2 * width), r.wide, m, width);
		moe_dense_forward(&w[e].down, r.act, width, m, r.narrow, hidden, false);
		for (size_t i = 0; i < m; i++) {
			size_t row = p->row[first + i];
			moe_axpy(y + row * hidden, weight[row * p->k + p->slot[first + i]], r.narrow + i * hidden, hidden);
		}
	}
}

/* The pairs of one expert. */
static void backward_one(const struct moe_expert_dense *w, const struct moe_expert_pairs *p, size_t e, float *dh, float *dweight, float *gate_up, float *down,
			 const void *dyn, const void *h, const float *weight, const void *kept, void *scratch)
{
	enum moe_unit unit = w->gate_up.unit;
	size_t hidden = w->gate_up.in, width = w->down.in, first = p->first[e], m = p->first[e + 1] - first;
	const uint32_t *row = p->row + first, *slot = p->slot + first;
	struct room r;

	cut(&r, scratch, m, hidden, width);
	for (size_t i = 0; i < m; i++)
		r.weight[i] = weight[row[i] * p->k + slot[i]];
	moe_gather_rows(r.h, hidden, dyn, hidden, row, m, hidden, moe_unit_number(unit));
	moe_dense_backward(&w->down, r.h, hidden, m, r.wide, width, false);
	moe_swiglu_backward(unit, r.dgate_up, r.act, width, r.dweight, r.wide, moe_unit_at(unit, kept, first * 2 * width), r.weight, m, width);
	moe_dense_gradient(unit, down, r.h, hidden, hidden, r.act, width, width, m, r.along);
	moe_dense_backward(&w->gate_up, r.dgate_up, 2 * width, m, r.narrow, hidden, false);
	moe_gather_rows(r.h, hidden, h, hidden, row, m, hidden, moe_unit_number(unit));
	moe_dense_gradient(unit, gate_up, r.dgate_up, 2 * width, 2 * width, r.h, hidden, hidden, m, r.along);
	for (size_t i = 0; i < m; i++) {
		moe_add(dh + row[i] * hidden, r.narrow + i * hidden, hidden);
		dweight[row[i] * p->k + slot[i]] = r.dweight[i];
	}
}

void moe_experts_backward(const struct moe_expert_dense *w, const struct moe_expert_pairs *p, float *dh, float *dweight, float *const *gate_up,
			  float *const *down, const void *dyn, const void *h, const float *weight, const void *kept, void *scratch)
{
	for (size_t e = 0; e < p->experts; e++)
		if (p->first[e + 1] > p->first[e])
			backward_one(&w[e], p, e, dh, dweight, gate_up[e], down[e], dyn, h, weight, kept, scratch);
}
