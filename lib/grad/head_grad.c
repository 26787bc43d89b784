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

/* Logits of m rows of x. */
static void forward(const struct moe_head *h, const struct room *r, const float *x, const uint32_t *row, size_t m)
{
	enum moe_unit unit = h->dense->unit;
	size_t d = h->dense->in, ld = moe_unit_stride(unit, d);

	moe_gather_rows(r->x, d, x, d, row, m, d, sizeof *x);
	moe_rms_norm_keep(r->norm, r->scale, r->x, h->norm, m, d, h->eps);
	moe_operand_rows(unit, r->h, ld, r->norm, d, m, d);
	moe_dense_forward(h->dense, r->h, ld, m, r->logit, h->dense->out, false);
}

/* Target number `at`, and what the other head says, `theirs`: the slopes of both are added in `slope` [v] before they become numbers. */
static float soft_row(enum moe_unit unit, void *dlogit, size_t ld, int32_t *best, const float *logit, const float *theirs, size_t v,
		      const struct moe_targets_of *t, size_t at, float scale, float *slope)
{
	struct moe_soft *soft = t->soft;
	float logprob = moe_cross_entropy(MOE_UNIT_F32, dlogit ? slope : NULL, best, logit, v, v, (size_t)t->token[at], t->weight[at] * scale);

	soft->loss += (double)t->weight[at] * (double)moe_soft_targets(dlogit ? slope : NULL, logit, theirs, v, soft->tau, t->weight[at] * soft->scale);
	if (dlogit)
		moe_operand_rows(unit, dlogit, ld, slope, v, 1, v);
	return logprob;
}

double moe_head_loss(const struct moe_head *h, const float *x, const struct moe_targets_of *t, float scale, float *dx, float *dnorm, float *ddense,
		     const struct moe_predicted *out, void *scratch)
{
	enum moe_unit unit = h->dense->unit;
	size_t v = h->dense->out, ld = moe_unit_stride(unit, v);
	double loss = 0;
	struct room r, theirs;

	cut(&r, h, scratch);
	if (t->soft)
		cut(&theirs, t->soft->head, t->soft->scratch);
	for (size_t first = 0, m; first < t->n; first += m) {
		m = moe_min(MOE_HEAD_ROWS, t->n - first);
		forward(h, &r, x, t->row + first, m);
		if (t->soft)
			forward(t->soft->head, &theirs, t->soft->x, t->row + first, m);
		for (size_t i = 0; i < m; i++) {
			size_t at = first + i;
			void *dlogit = dx ? moe_unit_at(unit, r.dlogit, i * ld) : NULL;
			int32_t *best = out && out->best ? &out->best[at] : NULL;
			float logprob = t->soft ? soft_row(unit, dlogit, ld, best, r.logit + i * v, theirs.logit + i * v, v, t, at, scale, theirs.dlogit)
						: moe_cross_entropy(unit, dlogit, best, r.logit + i * v, v, ld, (size_t)t->token[at], t->weight[at] * scale);
			loss -= (double)t->weight[at] * (double)logprob;
			if (out && out->logprob)
				out->logprob[at] = logprob;
		}
		if (dx)
			backward(h, &r, t->row + first, m, dx, dnorm, ddense);
	}
	return loss;
}
