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
	float *dlogit = moe_arena_get(&lane->scratch, rows * w->experts, sizeof *dlogit), *h = k->mid;

	if (n->spec->block == MOE_BLOCK_PRE)
		h = moe_arena_get(&lane->scratch, rows * hidden, sizeof *h);
	if (!along || !dlogit || !h)
		return moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
	moe_router_backward(dlogit, dweight, &k->router, rows, w->k, &n->spec->router, &n->pull[layer]);
	if (n->spec->block == MOE_BLOCK_PRE)
		moe_rms_norm_keep(h, k->ffn_scale, k->mid, n->weight + w->ffn_norm, rows, hidden, (float)n->spec->norm_eps);
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
	moe_experts_backward(w->expert, &k->pairs, dh, dweight, gate_up, down, dyn, k->h2, k->router.weight, k->gate_up, scratch);
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
		moe_rms_norm_backward(dy, lane->gradient + at, dh, k->mid, k->ffn_scale, n->weight + at, rows, hidden);
	moe_arena_release(&lane->scratch, mark);
	return MOE_OK;
}

/* Turns the gradients of a row's queries and keys back. */
static void turn_row_back(const struct moe_net *n, const struct chunk *c, float *row, size_t r)
{
	const struct moe_heads *h = &n->heads;
	float scale = 1.0f / sqrtf((float)h->dim);

	moe_rope_turn(row, h->heads + h->kv_heads, h->dim, n->pairs, c->cosine + r * n->pairs, c->minus + r * n->pairs, &n->spec->attention.rope);
	for (size_t i = 0; i < h->heads * h->dim; i++)
		row[i] *= scale;
}

/* dy becomes the gradient of what the layer's rows bring. */
static enum moe_err attend(struct moe_net *n, struct chunk *c, size_t layer, float *dy, struct lane *lane)
{
	const struct net_layer *w = &n->layer[layer];
	struct kept_layer *k = &c->layer[layer];
	size_t hidden = net_hidden(n), width = moe_heads_width(&n->heads), out = n->heads.heads * n->heads.dim, rows = k->rows.n;
	enum moe_unit unit = n->o.unit;
	size_t number = moe_unit_number(unit);
	struct moe_arena *a = &lane->scratch;
	struct moe_arena_mark mark = moe_arena_mark(a);
	void *dyn = moe_arena_get(a, rows * hidden, number), *doutn = moe_arena_get(a, rows * out, number), *dqkvn = moe_arena_get(a, rows * width, number);
	void *along = moe_arena_get(a, (rows + 2) * (hidden + width + out), sizeof(float));
	float *dout = moe_arena_get(a, rows * out, sizeof *dout), *dqkv = moe_arena_get(a, rows * width, sizeof *dqkv);
	float *dh = moe_arena_get(a, rows * hidden, sizeof *dh);

	if (!dyn || !doutn || !dqkvn || !along || !dout || !dqkv || !dh)
		return moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
	moe_operand_rows(unit, dyn, hidden, dy, hidden, rows, hidden);
	moe_dense_gradient(unit, lane->gradient + w->o, dyn, hidden, hidden, k->out, out, out, rows, along);
	moe_dense_backward(&w->o_dense, dyn, hidden, rows, dout, out, false);
	moe_operand_rows(unit, doutn, out, dout, out, rows, out);
	for (size_t i = 0; i < c->n; i++) {
		const struct moe_packed_rows *s = &k->rows.span[i];
		struct moe_arena_mark inner = moe_arena_mark(a);
		void *scratch = moe_arena_get(a, moe_attention_scratch(&n->heads, s), 1);
		if (!scratch)
			return moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
		if (s->n_image + s->n_text)
			moe_attention_backward(&n->heads, s, dqkv + s->first * width, moe_unit_at(unit, doutn, s->first * out),
					       moe_unit_at(unit, k->qkv, s->first * width), k->probability[i], scratch);
		moe_arena_release(a, inner);
	}
	for (size_t r = 0; r < rows; r++)
		turn_row_back(n, c, dqkv + r * width, moe_net_row(&k->rows, r));
	moe_operand_rows(unit, dqkvn, width, dqkv, width, rows, width);
	moe_dense_gradient(unit, lane->gradient + w->qkv, dqkvn, width, width, k->h1, hidden, hidden, rows, along);
	moe_dense_backward(&w->qkv_dense, dqkvn, width, rows, dh, hidden, false);
	moe_rms_norm_backward(dy, lane->gradient + w->attn_norm, dh, k->in, k->attn_scale, n->weight + w->attn_norm, rows, hidden);
	moe_arena_release(a, mark);
	return MOE_OK;
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
	size_t hidden = net_hidden(n), patch = (size_t)n->spec->image.patch;
	float *g = lane->gradient, *conv[MOE_MAX_CONV];

	for (size_t i = 0; i < n->stem.n; i++)
		conv[i] = g + n->conv[i];
	for (size_t i = 0; i < c->n; i++) {
		const struct moe_packed *p = &c->packed[i];
		const struct moe_packed_rows *s = &c->all.span[i];
		const float *dx = c->dx + s->first * hidden;
		struct moe_arena_mark mark = moe_arena_mark(&lane->scratch);
		if (s->n_image && !p->code) {
			size_t height = p->rows * patch, width = p->columns * patch;
			void *scratch = moe_arena_get(&lane->scratch, moe_stem_scratch(&n->stem, height, width), 1);
			if (!scratch)
				return moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
			moe_stem_backward(&n->stem, conv, dx, hidden, NULL, height, width, &c->stem[i], scratch);
		}
		for (size_t r = 0; n->spec->tower.row_col && r < s->n_image && !p->code; r++) {
			moe_add(g + n->row_embed + r / p->columns * hidden, dx + r * hidden, hidden);
			moe_add(g + n->col_embed + r % p->columns * hidden, dx + r * hidden, hidden);
		}
		for (size_t t = 0; t < p->n_text; t++)
			moe_add(g + n->embed + (size_t)p->token[t] * hidden, dx + (s->n_image + t) * hidden, hidden);
		moe_net_tokens_backward(n, p, s, dx, g);
		moe_arena_release(&lane->scratch, mark);
	}
	return MOE_OK;
}

enum moe_err moe_net_chunk_backward(struct moe_net *n, struct chunk *c, struct lane *lane)
{
	size_t layers = (size_t)n->spec->n_layers, at = moe_net_patch_layer(n);

	for (size_t l = layers; l-- > 0;) {
		if (l + 1 == at && at < layers)
			moe_add(c->dx, c->dx_patch, c->rows * net_hidden(n));
		MOE_TRY(layer_backward(n, c, l, lane));
	}
	return embed(n, c, lane);
}
