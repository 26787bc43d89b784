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
		const struct moe_packed_rows *s = &c->span[i];
		float *at = c->layer[0].x + (s->first + s->n_image) * hidden;
		for (size_t t = 0; t < p->n_text; t++)
			memcpy(at + t * hidden, n->weight + n->embed + (size_t)p->token[t] * hidden, hidden * sizeof *at);
	}
	return moe_net_pictures_forward(n, c, lane);
}

/* Turns queries and keys of a row, and scales the queries. */
static void turn_row(const struct moe_net *n, const struct chunk *c, float *row, size_t r)
{
	const struct moe_heads *h = &n->heads;
	const float *cosine = c->cosine + r * n->pairs, *sine = c->sine + r * n->pairs;
	float scale = 1.0f / sqrtf((float)h->dim);

	moe_rope_turn(row, h->heads + h->kv_heads, h->dim, n->pairs, cosine, sine, &n->spec->attention.rope);
	for (size_t i = 0; i < h->heads * h->dim; i++)
		row[i] *= scale;
}

static enum moe_err attend(struct moe_net *n, struct chunk *c, size_t layer, struct lane *lane)
{
	struct net_layer *w = &n->layer[layer];
	struct kept_layer *k = &c->layer[layer];
	size_t hidden = net_hidden(n), width = moe_heads_width(&n->heads), out = n->heads.heads * n->heads.dim;
	struct moe_arena_mark mark = moe_arena_mark(&lane->scratch);
	float *h = moe_arena_get(&lane->scratch, c->rows * hidden, sizeof *h), *qkv = moe_arena_get(&lane->scratch, c->rows * width, sizeof *qkv);
	enum moe_unit unit = n->o.unit;

	if (!h || !qkv)
		return moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
	moe_rms_norm_keep(h, k->attn_scale, k->x, n->weight + w->attn_norm, c->rows, hidden, (float)n->spec->norm_eps);
	moe_operand_rows(unit, k->h1, hidden, h, hidden, c->rows, hidden);
	moe_dense_forward(&w->qkv_dense, k->h1, hidden, c->rows, qkv, width, false);
	for (size_t r = 0; r < c->rows; r++)
		turn_row(n, c, qkv + r * width, r);
	moe_operand_rows(unit, k->qkv, width, qkv, width, c->rows, width);
	for (size_t i = 0; i < c->n; i++) {
		struct moe_packed_rows *s = &c->span[i];
		struct moe_arena_mark inner = moe_arena_mark(&lane->scratch);
		void *scratch = moe_arena_get(&lane->scratch, moe_attention_scratch(&n->heads, s), 1);
		if (!scratch)
			return moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
		moe_attention_keep(&n->heads, s, moe_unit_at(unit, k->out, s->first * out), moe_unit_at(unit, k->qkv, s->first * width), k->probability[i], scratch);
		moe_arena_release(&lane->scratch, inner);
	}
	memcpy(k->mid, k->x, c->rows * hidden * sizeof *k->mid);
	moe_dense_forward(&w->o_dense, k->out, out, c->rows, k->mid, hidden, true);
	moe_arena_release(&lane->scratch, mark);
	return MOE_OK;
}

/* Keeps the choices of a layer, or takes those that were kept, with weights that follow today's scores. */
static void replay(struct moe_net *n, const struct chunk *c, size_t layer, struct kept_layer *k)
{
	size_t width = net_k(n);
	int32_t *kept = n->choice + (layer * n->recorded + c->first_row) * width;

	if (n->replay == MOE_REPLAY_RECORD) {
		memcpy(kept, k->expert_id, c->rows * width * sizeof *kept);
		return;
	}
	memcpy(k->expert_id, kept, c->rows * width * sizeof *kept);
	moe_router_weigh(k->weight, k->p, k->expert_id, c->rows, &n->spec->router);
}

/* Every row to the one unit of a layer without experts. */
static void choose_all(const struct chunk *c, struct kept_layer *k)
{
	for (size_t r = 0; r < c->rows; r++) {
		k->expert_id[r] = 0;
		k->weight[r] = 1;
	}
}

static enum moe_err choose(struct moe_net *n, struct chunk *c, size_t layer, const float *h, struct lane *lane)
{
	struct net_layer *w = &n->layer[layer];
	struct kept_layer *k = &c->layer[layer];
	const struct moe_router_settings *s = &n->spec->router;
	float *logit = moe_arena_get(&lane->scratch, c->rows * w->experts, sizeof *logit);

	if (!logit)
		return moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
	moe_dense_forward(&w->router_dense, h, net_hidden(n), c->rows, logit, w->experts, false);
	MOE_TRY(moe_router_choose(&(struct moe_router_choice){k->expert_id, k->weight, NULL},
				  &(struct moe_router_rows){.rows = c->rows, .logit = logit, .choice_bias = w->choice_bias ? n->weight + w->choice_bias : NULL}, s,
				  &lane->scratch, &lane->d));
	moe_router_scores(k->p, k->lse, logit, c->rows, s);
	if (n->replay != MOE_REPLAY_OFF)
		replay(n, c, layer, k);
	moe_router_measure(&lane->sums[layer], k->p, k->lse, k->expert_id, c->modality, c->rows, s);
	return MOE_OK;
}

static enum moe_err route(struct moe_net *n, struct chunk *c, size_t layer, struct lane *lane)
{
	struct net_layer *w = &n->layer[layer];
	struct kept_layer *k = &c->layer[layer];
	size_t hidden = net_hidden(n);
	struct moe_arena_mark mark = moe_arena_mark(&lane->scratch);
	float *h = moe_arena_get(&lane->scratch, c->rows * hidden, sizeof *h);

	if (!h)
		return moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
	moe_rms_norm_keep(h, k->ffn_scale, k->mid, n->weight + w->ffn_norm, c->rows, hidden, (float)n->spec->norm_eps);
	moe_operand_rows(n->o.unit, k->h2, hidden, h, hidden, c->rows, hidden);
	if (w->dense)
		choose_all(c, k);
	else
		MOE_TRY(choose(n, c, layer, h, lane));
	moe_arena_release(&lane->scratch, mark);
	return moe_expert_pairs_make(&k->pairs, k->expert_id, c->rows, w->k, w->experts, c->memory, &lane->d);
}

static enum moe_err experts(struct moe_net *n, struct chunk *c, size_t layer, struct lane *lane)
{
	struct kept_layer *k = &c->layer[layer];
	size_t hidden = net_hidden(n), layers = (size_t)n->spec->n_layers;
	float *y = layer + 1 < layers ? c->layer[layer + 1].x : c->top;
	struct moe_arena_mark mark = moe_arena_mark(&lane->scratch);
	void *scratch = moe_arena_get(&lane->scratch, moe_experts_scratch(moe_expert_pairs_most(&k->pairs), hidden, n->layer[layer].width), 1);

	if (!scratch)
		return moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
	memcpy(y, k->mid, c->rows * hidden * sizeof *y);
	moe_experts_keep(n->layer[layer].expert, &k->pairs, y, k->h2, k->weight, k->gate_up, scratch);
	moe_arena_release(&lane->scratch, mark);
	return MOE_OK;
}

/* What was predicted for the text's rows, back to where the caller wants it. */
static void hand_out(struct moe_net *n, const struct chunk *c, const int32_t *best, const float *logprob)
{
	size_t at = 0;

	for (size_t i = 0; i < c->n; i++)
		for (size_t t = 0; t < c->packed[i].n_text; t++) {
			bool wanted = c->packed[i].target[t] >= 0;
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
