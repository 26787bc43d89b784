/* The backward pass of a chunk: dx is the gradient of what a layer gives, and becomes that of what it takes. */
#include <math.h>
#include <string.h>

#include "train/net_priv.h"

/* Adds to dh [n][hidden] what comes back through the router. */
static enum moe_err route(struct moe_net *n, const struct chunk *c, size_t layer, struct lane *lane, const float *dweight, float *dh)
{
	const struct net_layer *w = &n->layer[layer];
	const struct kept_layer *k = &c->layer[layer];
	size_t hidden = net_hidden(n), rows = k->rows.n;
	void *along = moe_arena_get(&lane->scratch, (rows + 1) * (hidden + w->experts), sizeof(float));
	float *dlogit = moe_arena_get(&lane->scratch, rows * w->experts, sizeof *dlogit), *h = k->attend.mid;

	if (n->spec->block == MOE_BLOCK_PRE)
		h = moe_arena_get(&lane->scratch, rows * hidden, sizeof *h);
	if (!along || !dlogit || !h)
		return moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
	moe_router_backward(dlogit, dweight, &k->router, rows, w->k, &n->spec->router, &n->pull[layer]);
	if (n->spec->block == MOE_BLOCK_PRE)
		moe_rms_norm_keep(h, k->ffn_scale, k->attend.mid, n->weight + w->ffn_norm, rows, hidden, (float)n->spec->norm_eps);
	moe_dense_gradient(MOE_UNIT_F32, lane->gradient + w->router, dlogit, w->experts, w->experts, h, hidden, hidden, rows, along);
	moe_dense_backward(&w->router_dense, dlogit, w->experts, rows, dh, hidden, true);
	return MOE_OK;
}

/* dh [n][hidden] += what the units' and the router's inputs get, of de, the gradient of the units' sum. */
static enum moe_err units(struct moe_net *n, const struct chunk *c, size_t layer, struct lane *lane, const float *de, float *dh)
{
	const struct net_layer *w = &n->layer[layer];
	const struct kept_layer *k = &c->layer[layer];
	size_t hidden = net_hidden(n), rows = k->rows.n;
	struct moe_arena *a = &lane->scratch;
	void *dyn = moe_arena_get(a, rows * hidden, moe_unit_number(n->o.unit));
	void *scratch = moe_arena_get(a, moe_experts_scratch(moe_expert_pairs_most(&k->pairs), hidden, w->width), 1);
	float *dweight = moe_arena_zero(a, rows * w->k, sizeof *dweight);
	float **gate_up = moe_arena_get(a, w->experts, sizeof *gate_up), **down = moe_arena_get(a, w->experts, sizeof *down);

	if (!dyn || !scratch || !dweight || !gate_up || !down)
		return moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
	for (size_t e = 0; e < w->experts; e++) {
		gate_up[e] = lane->gradient + w->gate_up[e];
		down[e] = lane->gradient + w->down[e];
	}
	moe_operand_rows(n->o.unit, dyn, hidden, de, hidden, rows, hidden);
	moe_experts_backward(w->expert, &k->pairs, dh, dweight, gate_up, down, dyn, k->h, k->router.weight, k->gate_up, scratch);
	return w->dense ? MOE_OK : route(n, c, layer, lane, dweight, dh);
}

/* dy [n][hidden], the gradient of what the layer makes, becomes that of what its attention does. */
static enum moe_err experts(struct moe_net *n, struct chunk *c, size_t layer, float *dy, struct lane *lane)
{
	struct kept_layer *k = &c->layer[layer];
	size_t hidden = net_hidden(n), rows = k->rows.n, at = n->layer[layer].ffn_norm;
	bool post = n->spec->block == MOE_BLOCK_POST;
	struct moe_arena_mark mark = moe_arena_mark(&lane->scratch);
	float *dh = moe_arena_zero(&lane->scratch, rows * hidden, sizeof *dh), *de = dy;

	if (post)
		de = moe_arena_zero(&lane->scratch, rows * hidden, sizeof *de);
	if (!dh || !de)
		return moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
	if (post)
		moe_rms_norm_backward(de, lane->gradient + at, dy, k->ffn, k->ffn_scale, n->weight + at, rows, hidden);
	MOE_TRY(units(n, c, layer, lane, de, dh));
	if (post)
		moe_add(dy, dh, rows * hidden);
	else
		moe_rms_norm_backward(dy, lane->gradient + at, dh, k->attend.mid, k->ffn_scale, n->weight + at, rows, hidden);
	moe_arena_release(&lane->scratch, mark);
	return MOE_OK;
}

/* dy becomes the gradient of what the layer's rows bring. */
static enum moe_err attend(struct moe_net *n, struct chunk *c, size_t layer, float *dy, struct lane *lane)
{
	const struct net_layer *w = &n->layer[layer];
	struct kept_layer *k = &c->layer[layer];
	const struct moe_attend_gradient g = {lane->gradient + w->attn_norm, lane->gradient + w->qkv, lane->gradient + w->o};
	struct moe_rotation rotation = moe_net_rotation(n, c, &k->rows);
	struct moe_attend attend = moe_net_attend(n, layer, &rotation);
	struct moe_spans spans = {k->rows.span, c->n, k->rows.n};

	return moe_attend_backward(&attend, &k->attend, &spans, dy, &g, &lane->scratch, &lane->d);
}

/* A layer: through dx, or by way of a copy of the rows that pass. */
static enum moe_err layer_backward(struct moe_net *n, struct chunk *c, size_t layer, struct lane *lane)
{
	struct kept_layer *k = &c->layer[layer];
	size_t hidden = net_hidden(n), at = n->layer[layer].depth;
	struct moe_arena_mark mark = moe_arena_mark(&lane->scratch);
	float *dy = c->dx, *dlogit;

	if (k->depth_logit) {
		dy = moe_arena_get(&lane->scratch, k->rows.n * hidden, sizeof *dy);
		dlogit = moe_arena_get(&lane->scratch, k->rows.n, sizeof *dlogit);
		if (!dy || !dlogit)
			return moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
		moe_depth_backward(c->dx, dy, lane->gradient + at, dlogit, k->x, k->made, k->depth_logit, n->weight + at, k->rows.row, k->rows.n, hidden);
	}
	MOE_TRY(experts(n, c, layer, dy, lane));
	MOE_TRY(attend(n, c, layer, dy, lane));
	for (size_t i = 0; k->depth_logit && i < k->rows.n; i++)
		moe_add(c->dx + k->rows.row[i] * hidden, dy + i * hidden, hidden);
	moe_arena_release(&lane->scratch, mark);
	return MOE_OK;
}

static enum moe_err embed(struct moe_net *n, struct chunk *c, struct lane *lane)
{
	size_t hidden = net_hidden(n);

	for (size_t i = 0; i < c->n; i++) {
		const struct moe_packed *p = &c->packed[i];
		const struct moe_packed_rows *s = &c->all.span[i];
		const float *dx = c->dx + (s->first + s->n_image) * hidden;
		for (size_t t = 0; t < p->n_text; t++)
			moe_add(lane->gradient + n->embed + (size_t)p->token[t] * hidden, dx + t * hidden, hidden);
	}
	return moe_net_pictures_backward(n, c, lane);
}

enum moe_err moe_net_chunk_backward(struct moe_net *n, struct chunk *c, struct lane *lane)
{
	size_t layers = (size_t)n->spec->n_layers, at = moe_net_patch_layer(n);

	for (size_t l = layers; l-- > 0;) {
		if (l + 1 == at && at < layers)
			moe_add(c->dx, c->dx_patch, c->rows * net_hidden(n));
		if (l + 1 < layers)
			moe_net_match_backward(n, c, l + 1);
		MOE_TRY(layer_backward(n, c, l, lane));
	}
	moe_net_match_backward(n, c, 0);
	return embed(n, c, lane);
}
