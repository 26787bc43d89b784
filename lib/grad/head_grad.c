#include "grad/head_grad.h"

#include <string.h>

#include "base/check.h"

/* Buffers for MOE_HEAD_ROWS rows. */
struct room {
	float *x, *norm, *scale, *logit, *dnorm, *dx;
	void *h, *dlogit, *along;
};

static size_t cut(struct room *r, const struct moe_head *h, char *scratch)
{
	size_t m = MOE_HEAD_ROWS, d = h->dense->in, v = h->dense->out + 1, used = 0;
	struct { void **to; size_t n; } part[] = {
		{(void **)&r->x, m * d}, {(void **)&r->norm, m * d}, {(void **)&r->scale, m}, {(void **)&r->logit, m * v}, {(void **)&r->dnorm, m * d},
		{(void **)&r->dx, m * d}, {&r->h, m * (d + 1)}, {&r->dlogit, m * v}, {&r->along, (m + 2) * (d + v)},
	};

	for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
		*part[i].to = scratch ? scratch + used : NULL;
		used += moe_round_up(part[i].n * 4, 64);
	}
	return used;
}

size_t moe_head_scratch(const struct moe_head *h)
{
	struct room r;

	return cut(&r, h, NULL);
}

/* Backward from dlogit of m rows. */
static void backward(const struct moe_head *h, const struct room *r, const uint32_t *row, size_t m, float *dx, float *dnorm, float *ddense)
{
	enum moe_unit unit = h->dense->unit;
	size_t d = h->dense->in, v = h->dense->out, ld = moe_unit_stride(unit, v);

	moe_dense_gradient(unit, ddense, r->dlogit, ld, v, r->h, moe_unit_stride(unit, d), d, m, r->along);
	moe_dense_backward(h->dense, r->dlogit, ld, m, r->dnorm, d, false);
	memset(r->dx, 0, m * d * sizeof *r->dx);
	moe_rms_norm_backward(r->dx, dnorm, r->dnorm, r->x, r->scale, h->norm, m, d);
	for (size_t i = 0; i < m; i++)
		moe_add(dx + row[i] * d, r->dx + i * d, d);
}

double moe_head_loss(const struct moe_head *h, const float *x, const struct moe_targets_of *t, float scale, float *dx, float *dnorm, float *ddense,
		     const struct moe_predicted *out, void *scratch)
{
	enum moe_unit unit = h->dense->unit;
	size_t d = h->dense->in, v = h->dense->out, ld = moe_unit_stride(unit, v);
	double loss = 0;
	struct room r;

	cut(&r, h, scratch);
	for (size_t first = 0, m; first < t->n; first += m) {
		m = moe_min(MOE_HEAD_ROWS, t->n - first);
		moe_gather_rows(r.x, d, x, d, t->row + first, m, d, sizeof *x);
		moe_rms_norm_keep(r.norm, r.scale, r.x, h->norm, m, d, h->eps);
		moe_operand_rows(unit, r.h, moe_unit_stride(unit, d), r.norm, d, m, d);
		moe_dense_forward(h->dense, r.h, moe_unit_stride(unit, d), m, r.logit, v, false);
		for (size_t i = 0; i < m; i++) {
			size_t at = first + i;
			float logprob = moe_cross_entropy(unit, dx ? moe_unit_at(unit, r.dlogit, i * ld) : NULL, out && out->best ? &out->best[at] : NULL, r.logit + i * v, v,
							  ld, (size_t)t->token[at], t->weight[at] * scale);
			loss -= (double)t->weight[at] * (double)logprob;
			if (out && out->logprob)
				out->logprob[at] = logprob;
		}
		if (dx)
			backward(h, &r, t->row + first, m, dx, dnorm, ddense);
	}
	return loss;
}
