/* The forward pass of a chunk. */
#include <math.h>
#include <string.h>

#include "train/net_priv.h"

/* Vectors of the pictures' patches and of the text's tokens, into the first layer's x. */
static enum moe_err embed(struct moe_net *n, struct chunk *c, struct lane *lane)
{
	size_t hidden = net_hidden(n);

	for (size_t i = 0; i < c->n; i++) {
		const struct moe_packed *p = &c->packed[i];
		const struct moe_packed_rows *s = &c->all.span[i];
		float *at = c->layer[0].x + (s->first + s->n_image) * hidden;
		for (size_t t = 0; t < p->n_text; t++)
			memcpy(at + t * hidden, n->weight + n->embed + (size_t)p->token[t] * hidden, hidden * sizeof *at);
	}
	return moe_net_pictures_forward(n, c, lane);
}

struct moe_rotation moe_net_rotation(const struct moe_net *n, const struct chunk *c, const struct layer_rows *rows)
{
	return (struct moe_rotation){&n->spec->attention.rope, n->pairs, c->cosine, c->sine, c->minus, rows->row};
}

struct moe_attend moe_net_attend(const struct moe_net *n, size_t layer, const struct moe_rotation *rotation)
{
	const struct net_layer *w = &n->layer[layer];

	return (struct moe_attend){n->heads, (float)n->spec->norm_eps, n->weight + w->attn_norm, &w->qkv_dense, &w->o_dense, rotation};
}

static enum moe_err attend(struct moe_net *n, struct chunk *c, size_t layer, struct lane *lane)
{
	struct kept_layer *k = &c->layer[layer];
	struct moe_rotation rotation = moe_net_rotation(n, c, &k->rows);
	struct moe_attend attend = moe_net_attend(n, layer, &rotation);
	struct moe_spans spans = {k->rows.span, c->n, k->rows.n};

	return moe_attend_keep(&attend, &k->attend, &spans, &lane->scratch, &lane->d);
}

/* What the router and the experts read: the normed rows, or the rows as they are where the norm is behind the experts. */
static void experts_input(struct moe_net *n, struct kept_layer *k, const struct net_layer *w, float *h)
{
	size_t hidden = net_hidden(n), rows = k->rows.n;

	if (n->spec->block == MOE_BLOCK_PRE)
		moe_rms_norm_keep(h, k->ffn_scale, k->attend.mid, n->weight + w->ffn_norm, rows, hidden, (float)n->spec->norm_eps);
	else
		memcpy(h, k->attend.mid, rows * hidden * sizeof *h);
	moe_operand_rows(n->o.unit, k->h, hidden, h, hidden, rows, hidden);
}

/* Every row to the one unit of a layer without experts. */
static void choose_all(struct kept_layer *k)
{
	for (size_t r = 0; r < k->rows.n; r++) {
		k->router.expert_id[r] = 0;
		k->router.weight[r] = 1;
	}
}

static enum moe_err route(struct moe_net *n, struct chunk *c, size_t layer, struct lane *lane)
{
	struct kept_layer *k = &c->layer[layer];
	const struct net_layer *w = &n->layer[layer];
	struct moe_arena_mark mark = moe_arena_mark(&lane->scratch);
	float *h = moe_arena_get(&lane->scratch, k->rows.n * net_hidden(n), sizeof *h);

	if (!h)
		return moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
	experts_input(n, k, w, h);
	if (w->dense)
		choose_all(k);
	else
		MOE_TRY(moe_net_route(n, c, layer, h, lane));
	moe_arena_release(&lane->scratch, mark);
	MOE_TRY(moe_expert_pairs_make(&k->pairs, k->router.expert_id, k->rows.n, w->k, w->experts, c->memory, &lane->d));
	k->gate_up = moe_arena_get(c->memory, k->pairs.n * 2 * w->width, moe_unit_number(n->o.unit));
	return k->gate_up ? MOE_OK : moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
}

static enum moe_err experts(struct moe_net *n, struct chunk *c, size_t layer, struct lane *lane)
{
	struct kept_layer *k = &c->layer[layer];
	size_t hidden = net_hidden(n), rows = k->rows.n;
	float *next = layer + 1 < (size_t)n->spec->n_layers ? c->layer[layer + 1].x : c->top;
	bool post = n->spec->block == MOE_BLOCK_POST;
	struct moe_arena_mark mark = moe_arena_mark(&lane->scratch);
	void *scratch = moe_arena_get(&lane->scratch, moe_experts_scratch(moe_expert_pairs_most(&k->pairs), hidden, n->layer[layer].width), 1);

	if (!scratch)
		return moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
	if (post)
		memset(k->ffn, 0, rows * hidden * sizeof *k->ffn);
	else
		memcpy(k->made, k->attend.mid, rows * hidden * sizeof *k->made);
	moe_experts_keep(n->layer[layer].expert, &k->pairs, post ? k->ffn : k->made, k->h, k->router.weight, k->gate_up, scratch);
	if (post) {
		moe_rms_norm_keep(k->made, k->ffn_scale, k->ffn, n->weight + n->layer[layer].ffn_norm, rows, hidden, (float)n->spec->norm_eps);
		moe_add(k->made, k->attend.mid, rows * hidden);
	}
	if (k->depth_logit)
		moe_depth_merge(next, k->x, k->made, k->depth_logit, k->rows.row, rows, c->rows, hidden);
	moe_arena_release(&lane->scratch, mark);
	return MOE_OK;
}

/* What was predicted for the text's rows, back to where the caller wants it. */
static void hand_out(struct moe_net *n, const struct chunk *c, const int32_t *best, const float *logprob)
{
	size_t at = 0;

	for (size_t i = 0; i < c->n; i++)
		for (size_t t = 0; t < c->packed[i].n_text; t++) {
			int32_t target = c->packed[i].target[t];
			bool wanted = target >= 0 && !moe_net_is_image(n, target);
			n->best[c->first + i][t] = wanted ? best[at] : -1;
			n->logprob[c->first + i][t] = wanted ? logprob[at] : 0;
			at += wanted;
		}
}

static struct moe_head head_of(const struct moe_net *n)
{
	return (struct moe_head){.norm = n->weight + n->final_norm, .eps = (float)n->spec->norm_eps, .dense = &n->head_dense};
}

/* What the teacher says of the text's rows. */
static enum moe_err soft_targets(const struct moe_net *n, const struct chunk *taught, struct moe_soft *soft, const struct moe_head *its, struct lane *lane)
{
	*soft = (struct moe_soft){.head = its, .x = taught->top, .tau = (float)n->o.teacher->temperature,
				  .scale = n->text_weight > 0 ? (float)(n->loss->soft / n->text_weight) : 0, .scratch = moe_arena_get(&lane->scratch, moe_head_scratch(its), 1)};
	return soft->scratch ? MOE_OK : moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
}

static enum moe_err text_loss(struct moe_net *n, struct chunk *c, const struct moe_head *head, const struct chunk *taught, float *gradient, struct lane *lane,
			      void *scratch)
{
	struct moe_head its = head_of(taught ? n->o.teacher->net : n);
	struct moe_targets_of targets = c->text.of;
	struct moe_soft soft = {0};
	float scale = n->text_weight > 0 ? (float)(n->loss->text / n->text_weight) : 0;
	struct moe_predicted out = {0};

	if (taught && n->loss->soft > 0) {
		MOE_TRY(soft_targets(n, taught, &soft, &its, lane));
		targets.soft = &soft;
	}
	if (n->best) {
		out.best = moe_arena_get(&lane->scratch, c->text.of.n, sizeof *out.best);
		out.logprob = moe_arena_get(&lane->scratch, c->text.of.n, sizeof *out.logprob);
		if (!out.best || !out.logprob)
			return moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
	}
	lane->text += moe_head_loss(head, c->top, &targets, scale, gradient ? c->dx : NULL, gradient ? gradient + n->final_norm : NULL,
				    gradient ? gradient + n->head : NULL, &out, scratch);
	lane->soft += soft.loss;
	if (n->best)
		hand_out(n, c, out.best, out.logprob);
	return MOE_OK;
}

static enum moe_err losses(struct moe_net *n, struct chunk *c, const struct chunk *taught, struct lane *lane)
{
	struct moe_head head = head_of(n);
	size_t at = moe_net_patch_layer(n);
	bool top = at == (size_t)n->spec->n_layers;
	float scale = n->patch_weight > 0 ? (float)(n->loss->patch / n->patch_weight) : 0, *gradient = n->backward ? lane->gradient : NULL;
	struct moe_arena_mark mark = moe_arena_mark(&lane->scratch);
	void *scratch = moe_arena_get(&lane->scratch, moe_head_scratch(&head), 1);

	if (!scratch)
		return moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
	MOE_TRY(text_loss(n, c, &head, taught, gradient, lane, scratch));
	lane->image += moe_head_loss(&head, c->top, &c->image.of, n->image_weight > 0 ? (float)(n->loss->image / n->image_weight) : 0, gradient ? c->dx : NULL,
				     gradient ? gradient + n->final_norm : NULL, gradient ? gradient + n->head : NULL, NULL, scratch);
	lane->patch += moe_head_loss(&head, top ? c->top : c->layer[at].x, &c->patch.of, scale, gradient ? (top ? c->dx : c->dx_patch) : NULL,
				     gradient ? gradient + n->final_norm : NULL, gradient ? gradient + n->head : NULL, NULL, scratch);
	moe_arena_release(&lane->scratch, mark);
	return MOE_OK;
}

enum moe_err moe_net_chunk_pass(struct moe_net *n, struct chunk *c, struct lane *lane)
{
	MOE_TRY(moe_net_chunk_plan(n, c, &lane->d));
	MOE_TRY(embed(n, c, lane));
	for (size_t l = 0; l < (size_t)n->spec->n_layers; l++) {
		MOE_TRY(moe_net_take(n, c, l, lane));
		MOE_TRY(attend(n, c, l, lane));
		MOE_TRY(route(n, c, l, lane));
		MOE_TRY(experts(n, c, l, lane));
	}
	return MOE_OK;
}

enum moe_err moe_net_chunk_forward(struct moe_net *n, struct chunk *c, struct lane *lane)
{
	struct chunk taught;

	MOE_TRY(moe_net_chunk_pass(n, c, lane));
	if (!moe_net_is_taught(n))
		return losses(n, c, NULL, lane);
	MOE_TRY(moe_net_teach(n, c, &taught, lane));
	MOE_TRY(losses(n, c, &taught, lane));
	return n->loss->match > 0 && n->n_matches ? moe_net_match(n, c, &taught, lane) : MOE_OK;
}
