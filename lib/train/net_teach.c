/* Learning from another network: its forward pass over the same rows, and the loss that draws rows of one to those of the other. */
#include <math.h>
#include <string.h>

#include "base/check.h"
#include "kernel/normal.h"
#include "train/net_priv.h"

enum { ROWS = 128, STREAM_PROJECTION = 64 };

bool moe_net_is_taught(const struct moe_net *n) { return n->o.teacher && !n->best && (n->loss->soft > 0 || n->loss->match > 0); }

/* ---- projections ---- */

size_t moe_net_projections(struct moe_param_extra extra[MOE_NET_MATCHES], const struct moe_spec *own, const struct moe_net_teacher *t)
{
	size_t its = t ? (size_t)t->net->spec->hidden : 0, n = 0;

	if (!t || its == (size_t)own->hidden)
		return 0;
	for (; n < t->n_matches; n++)
		extra[n] = (struct moe_param_extra){.logical = "projection", .rows = its, .cols = (size_t)own->hidden};
	return n;
}

bool moe_net_match_plan(struct moe_net *n)
{
	const struct moe_net_teacher *t = n->o.teacher;
	size_t hidden = net_hidden(n), its = t ? net_hidden(t->net) : 0;

	n->n_matches = t ? t->n_matches : 0;
	n->ones = moe_arena_get(&n->memory, moe_max(hidden, its), sizeof *n->ones);
	for (size_t i = 0; n->ones && i < moe_max(hidden, its); i++)
		n->ones[i] = 1;
	for (size_t i = 0; i < n->n_matches; i++) {
		struct net_match *m = &n->match[i];
		*m = (struct net_match){.own = (size_t)t->match[i].own, .its = (size_t)t->match[i].its, .projected = its != hidden};
		if (!m->projected)
			continue;
		m->projection = n->params.p[n->params.n - n->n_matches + i].offset;
		for (size_t j = 0; j < its * hidden; j++)
			n->weight[m->projection + j] = (float)(moe_random_normal(t->seed, STREAM_PROJECTION + i, j) / sqrt((double)hidden));
		if (!moe_dense_plan(&m->dense, MOE_UNIT_F32, n->weight + m->projection, its, hidden, &n->memory))
			return false;
	}
	return n->ones;
}

void moe_net_match_pack(struct moe_net *n, void *scratch)
{
	for (size_t i = 0; i < n->n_matches; i++)
		if (n->match[i].projected)
			moe_dense_pack(&n->match[i].dense, scratch);
}

/* ---- a chunk ---- */

void moe_net_teach_begin(struct moe_net *n)
{
	static const struct moe_loss_settings none = {0};

	if (moe_net_is_taught(n))
		n->o.teacher->net->loss = &none;
}

enum moe_err moe_net_teach(struct moe_net *n, const struct chunk *c, struct chunk *taught, struct lane *lane)
{
	size_t i = (size_t)(lane - n->lane);
	struct moe_net *t = n->o.teacher->net;
	struct lane *its = &t->lane[i];
	enum moe_err err;

	*taught = (struct chunk){.memory = &t->kept[i], .packed = c->packed, .first = c->first, .n = c->n, .first_row = c->first_row};
	moe_arena_reset(&its->scratch);
	err = moe_net_chunk_pass(t, taught, its);
	if (err) {
		lane->d = its->d;
		moe_diag_clear(&its->d);
	}
	return err;
}

/* Rows behind so many layers. */
static const float *rows_behind(const struct moe_net *n, const struct chunk *c, size_t layers)
{
	return layers < (size_t)n->spec->n_layers ? c->layer[layers].x : c->top;
}

/* Buffers for ROWS rows. */
struct room {
	float *own, *own_scale, *its, *its_scale, *made, *down, *along;
};

static bool make_room(struct room *r, size_t hidden, size_t its, struct moe_arena *a)
{
	r->own = moe_arena_get(a, ROWS * hidden, sizeof *r->own);
	r->own_scale = moe_arena_get(a, ROWS, sizeof *r->own_scale);
	r->its = moe_arena_get(a, ROWS * its, sizeof *r->its);
	r->its_scale = moe_arena_get(a, ROWS, sizeof *r->its_scale);
	r->made = moe_arena_get(a, ROWS * its, sizeof *r->made);
	r->down = moe_arena_get(a, ROWS * hidden + hidden, sizeof *r->down);    /* and the gradient of a norm's weights, which are ones */
	r->along = moe_arena_get(a, (ROWS + 1) * (hidden + its), sizeof *r->along);
	return r->own && r->own_scale && r->its && r->its_scale && r->made && r->down && r->along;
}

/* made = made - its, times `slope` afterwards; returns the sum of the squares before. */
static double take_gap(float *made, const float *its, size_t n, float slope)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++) {
		float gap = made[i] - its[i];
		sum += (double)gap * (double)gap;
		made[i] = slope * gap;
	}
	return sum;
}

/* m rows x of the network and those of its teacher: the sum of the squares, and with dx the gradient of slope / 2 times that. */
static double match_rows(const struct moe_net *n, const struct net_match *match, const struct room *r, const float *x, const float *teacher, size_t m, float slope,
			 float *dx, float *gradient)
{
	const struct moe_net *t = n->o.teacher->net;
	size_t hidden = net_hidden(n), its = net_hidden(t);
	const float *dy = r->made;
	double sum;

	moe_rms_norm_keep(r->own, r->own_scale, x, n->ones, m, hidden, (float)n->spec->norm_eps);
	moe_rms_norm_keep(r->its, r->its_scale, teacher, n->ones, m, its, (float)t->spec->norm_eps);
	if (match->projected)
		moe_dense_forward(&match->dense, r->own, hidden, m, r->made, its, false);
	else
		memcpy(r->made, r->own, m * hidden * sizeof *r->made);
	sum = take_gap(r->made, r->its, m * its, slope);
	if (!dx)
		return sum;
	if (match->projected) {
		moe_dense_gradient(MOE_UNIT_F32, gradient + match->projection, r->made, its, its, r->own, hidden, hidden, m, r->along);
		moe_dense_backward(&match->dense, r->made, its, m, r->down, hidden, false);
		dy = r->down;
	}
	moe_rms_norm_backward(dx, r->down + ROWS * hidden, dy, x, r->own_scale, n->ones, m, hidden);
	return sum;
}

enum moe_err moe_net_match(struct moe_net *n, struct chunk *c, const struct chunk *taught, struct lane *lane)
{
	const struct moe_net *t = n->o.teacher->net;
	size_t hidden = net_hidden(n), its = net_hidden(t);
	struct moe_arena_mark mark = moe_arena_mark(&lane->scratch);
	float slope = (float)(2 * n->loss->match / ((double)n->n_matches * (double)n->rows * (double)its));
	struct room r;

	if (!make_room(&r, hidden, its, &lane->scratch))
		return moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
	memset(r.down + ROWS * hidden, 0, hidden * sizeof *r.down);
	for (size_t i = 0; i < n->n_matches; i++) {
		const struct net_match *m = &n->match[i];
		const float *x = rows_behind(n, c, m->own), *teacher = rows_behind(t, taught, m->its);
		float *dx = !n->backward ? NULL : m->own < (size_t)n->spec->n_layers ? c->dx_match[i] : c->dx;
		double sum = 0;
		for (size_t row = 0; row < c->rows; row += ROWS)
			sum += match_rows(n, m, &r, x + row * hidden, teacher + row * its, moe_min(ROWS, c->rows - row), slope, dx ? dx + row * hidden : NULL,
					  n->backward ? lane->gradient : NULL);
		lane->match += sum / (double)its;
	}
	moe_arena_release(&lane->scratch, mark);
	return MOE_OK;
}

void moe_net_match_backward(const struct moe_net *n, struct chunk *c, size_t layers)
{
	for (size_t i = 0; c->dx_match && i < n->n_matches; i++)
		if (n->match[i].own == layers && c->dx_match[i])
			moe_add(c->dx, c->dx_match[i], c->rows * net_hidden(n));
}

bool moe_net_match_chunk(const struct moe_net *n, struct chunk *c)
{
	size_t layers = (size_t)n->spec->n_layers;

	if (!n->backward || !moe_net_is_taught(n) || !(n->loss->match > 0) || !n->n_matches)
		return true;
	c->dx_match = moe_arena_zero(c->memory, n->n_matches, sizeof *c->dx_match);
	for (size_t i = 0; c->dx_match && i < n->n_matches; i++) {
		if (n->match[i].own == layers)
			continue;
		c->dx_match[i] = moe_arena_zero(c->memory, c->rows * net_hidden(n), sizeof **c->dx_match);
		if (!c->dx_match[i])
			return false;
	}
	return c->dx_match;
}
