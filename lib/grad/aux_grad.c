#include "grad/aux_grad.h"

#include <math.h>

#include "base/check.h"

struct room { float *z, *act, *kept, *dlogit, *dact, *along; };

static size_t cut(struct room *r, char *scratch, const struct moe_aux_dense *w, size_t rows)
{
	size_t inner = w->fc1.out, out = w->fc2.out;
	struct { float **to; size_t n; } part[] = {
		{&r->z, rows * inner}, {&r->act, rows * inner}, {&r->kept, rows * inner}, {&r->dlogit, rows * out}, {&r->dact, rows * inner},
		{&r->along, (rows + 1) * (inner + moe_max(w->fc1.in, out))},
	};
	size_t used = 0;

	for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
		*part[i].to = scratch ? (float *)(void *)(scratch + used) : NULL;
		used += moe_round_up(part[i].n * sizeof(float), 64);
	}
	return used;
}

size_t moe_aux_scratch(const struct moe_aux_dense *w, size_t rows)
{
	struct room r;

	return cut(&r, NULL, w, rows);
}

static void forward(const struct moe_aux_dense *w, const struct room *r, const float *x, size_t rows, float *logit)
{
	size_t hidden = w->fc1.in, inner = w->fc1.out, out = w->fc2.out;

	moe_dense_forward(&w->fc1, x, hidden, rows, r->z, inner, false);
	moe_silu_keep(MOE_UNIT_F32, r->act, r->kept, r->z, rows * inner);
	moe_dense_forward(&w->fc2, r->act, inner, rows, logit, out, false);
}

void moe_aux_foretell(const struct moe_aux_dense *w, const float *x, size_t rows, float *logit, void *scratch)
{
	struct room r;

	if (!rows)
		return;
	cut(&r, scratch, w, rows);
	forward(w, &r, x, rows, logit);
}

double moe_aux_loss(const struct moe_aux_dense *w, const float *x, const uint8_t *target, size_t rows, float scale, float *dfc1, float *dfc2, float *logit,
		    void *scratch)
{
	size_t hidden = w->fc1.in, inner = w->fc1.out, out = w->fc2.out;
	struct room r;
	double loss = 0;

	if (!rows)
		return 0;
	cut(&r, scratch, w, rows);
	forward(w, &r, x, rows, logit);
	for (size_t i = 0; i < rows * out; i++) {
		float a = logit[i], e = moe_exp(-fabsf(a)), s = (a < 0 ? e : 1) / (1 + e);
		loss += (a > 0 && !target[i] ? (double)a : a < 0 && target[i] ? -(double)a : 0) + moe_log(1 + (double)e);
		r.dlogit[i] = scale * (s - (float)target[i]);
	}
	if (!dfc1)
		return loss;
	moe_dense_gradient(MOE_UNIT_F32, dfc2, r.dlogit, out, out, r.act, inner, inner, rows, r.along);
	moe_dense_backward(&w->fc2, r.dlogit, out, rows, r.dact, inner, false);
	moe_silu_backward(MOE_UNIT_F32, r.z, r.dact, r.kept, rows * inner);
	moe_dense_gradient(MOE_UNIT_F32, dfc1, r.z, inner, inner, x, hidden, hidden, rows, r.along);
	return loss;
}
