#include "train/gradcheck.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A step is so large a share of the weights' norm, or changes the loss so much, whichever is less: smaller ones drown in rounding, larger ones in curvature. */
#define MOST_SHARE 0.03
#define MOST_CHANGE 0.004
#define ROUNDING 2e-7           /* of a loss in f32, relative */
#define TOLERANCE 1e-3
enum { TRIES = 2 };             /* a wrong gradient is wrong at every step, a curved loss only at the longer one */

struct checker {
	struct moe_net *net;
	const struct moe_packed *batch;
	size_t count;
	const struct moe_loss_settings *losses;
	float *gradient, *weights;      /* [total]: of the base */
	double loss;
};

static double norm(const float *x, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double)x[i] * (double)x[i];
	return sqrt(sum);
}

/* The loss at weights + step · direction, of one tensor. */
static enum moe_err measure(struct checker *c, const struct moe_param *p, double step, double *loss, struct moe_diag *d)
{
	float *w = moe_net_weights(c->net) + p->offset;
	struct moe_step_result r;

	for (size_t i = 0; i < p->count; i++)
		w[i] = (float)((double)c->weights[p->offset + i] + step * (double)c->gradient[p->offset + i]);
	moe_net_changed(c->net);
	MOE_TRY(moe_net_step(c->net, c->batch, c->count, c->losses, false, &r, d));
	*loss = r.total;
	return MOE_OK;
}

/* (L(w + h g) - L(w - h g)) / 2h. */
static enum moe_err quotient(struct checker *c, const struct moe_param *p, double h, double *out, struct moe_diag *d)
{
	double up, down;

	MOE_TRY(measure(c, p, h, &up, d));
	MOE_TRY(measure(c, p, -h, &down, d));
	*out = (up - down) / (2 * h);
	return MOE_OK;
}

/* The ratio of the difference to the gradient's own square, with steps of h and h / 2, and how far rounding may have moved it. */
static enum moe_err compare(struct checker *c, struct moe_gradcheck *out, double h, struct moe_diag *d)
{
	double wide, narrow, square = out->norm * out->norm;

	MOE_TRY(quotient(c, out->param, h, &wide, d));
	MOE_TRY(quotient(c, out->param, h / 2, &narrow, d));
	out->ratio = (4 * narrow - wide) / 3 / square;         /* Richardson: without the term in h² */
	out->tolerance = TOLERANCE + ROUNDING * fmax(fabs(c->loss), 1) * 3 / (h * square);
	out->right = fabs(out->ratio - 1) <= out->tolerance;
	return MOE_OK;
}

static enum moe_err check(struct checker *c, const struct moe_param *p, struct moe_gradcheck *out, struct moe_diag *d)
{
	double weights = norm(c->weights + p->offset, p->count), g = norm(c->gradient + p->offset, p->count), h;

	*out = (struct moe_gradcheck){.param = p, .norm = g, .ratio = 1, .tolerance = TOLERANCE, .right = true};
	if (!(g > 0))
		return MOE_OK;
	h = MOST_CHANGE / (g * g);      /* times g is the step's length */
	if (weights > 0)
		h = fmin(h, MOST_SHARE * weights / g);
	out->right = false;
	for (int i = 0; i < TRIES && !out->right; i++, h /= 3)
		MOE_TRY(compare(c, out, h, d));
	memcpy(moe_net_weights(c->net) + p->offset, c->weights + p->offset, p->count * sizeof *c->weights);
	return MOE_OK;
}

static enum moe_err run(struct checker *c, void (*fn)(void *arg, const struct moe_gradcheck *c), void *arg, struct moe_diag *d)
{
	const struct moe_params *params = moe_net_params(c->net);
	struct moe_step_result r;

	memcpy(c->weights, moe_net_weights(c->net), params->total * sizeof *c->weights);
	moe_net_replay(c->net, MOE_REPLAY_RECORD);
	MOE_TRY(moe_net_step(c->net, c->batch, c->count, c->losses, true, &r, d));
	memcpy(c->gradient, moe_net_gradient(c->net), params->total * sizeof *c->gradient);
	c->loss = r.total;
	moe_net_replay(c->net, MOE_REPLAY_PLAY);
	for (size_t i = 0; i < params->n; i++) {
		struct moe_gradcheck out;
		MOE_TRY(check(c, &params->p[i], &out, d));
		fn(arg, &out);
	}
	return MOE_OK;
}

enum moe_err moe_gradcheck(struct moe_net *net, const struct moe_packed *batch, size_t count, const struct moe_loss_settings *s,
			   void (*fn)(void *arg, const struct moe_gradcheck *c), void *arg, struct moe_diag *d)
{
	size_t total = moe_net_params(net)->total;
	struct checker c = {net, batch, count, s, malloc(total * sizeof(float)), malloc(total * sizeof(float)), 0};
	enum moe_err err = c.gradient && c.weights ? run(&c, fn, arg, d) : moe_fail(d, MOE_ENOMEM, "out of memory");

	if (c.weights) {
		memcpy(moe_net_weights(net), c.weights, total * sizeof(float));
		moe_net_changed(net);
	}
	moe_net_replay(net, MOE_REPLAY_OFF);
	free(c.gradient);
	free(c.weights);
	return err;
}
