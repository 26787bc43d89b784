/* Which rows pass a layer, and which experts they pass: by each row for itself, or among the rows of a group. */
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "nn/depth.h"
#include "train/net_priv.h"

enum { FLIPS = 1 };             /* the seed of decisions that are turned round: evaluations are the same each time */

/* Is a decision turned round: over expert `which` and a row of the chunk, or over the row, where `which` is the number of experts? */
static bool flips(const struct moe_net *n, const struct chunk *c, size_t layer, size_t row, size_t which)
{
	return moe_random_unit(FLIPS, layer, (uint64_t)(c->first_row + row) * (net_experts(n) + 1) + which) < n->loss->flips;
}

/* ---- depth ---- */

/* taken [rows]: 1 for those that pass the layer. */
static enum moe_err take(struct moe_net *n, struct chunk *c, size_t layer, uint8_t *taken, struct lane *lane)
{
	const float *logit = c->layer[layer].depth_logit;

	if (n->loss->choice != MOE_NET_BATCH)
		return moe_net_aux_take(n, c, layer, taken, lane);
	for (size_t g = 0; g < c->n_groups; g++) {
		size_t first = c->all.group[g], rows = c->all.group[g + 1] - first;
		MOE_TRY(moe_depth_choose(taken + first, logit + first, rows, n->spec->depth.capacity, &lane->scratch, &lane->d));
	}
	for (size_t r = 0; n->loss->flips > 0 && r < c->rows; r++)
		taken[r] ^= flips(n, c, layer, r, net_experts(n));
	return MOE_OK;
}

enum moe_err moe_net_take(struct moe_net *n, struct chunk *c, size_t layer, struct lane *lane)
{
	struct kept_layer *k = &c->layer[layer];
	struct moe_arena_mark mark = moe_arena_mark(&lane->scratch);
	uint8_t *kept = n->replay != MOE_REPLAY_OFF ? n->taken + layer * n->recorded + c->first_row : NULL, *taken;

	if (!moe_spec_has_depth(n->spec, layer))
		return moe_net_layer_plan(n, c, layer, NULL, &lane->d);
	taken = moe_arena_get(&lane->scratch, c->rows, 1);
	k->depth_logit = moe_arena_get(c->memory, c->rows, sizeof *k->depth_logit);
	if (!taken || !k->depth_logit)
		return moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
	moe_depth_scores(k->depth_logit, k->x, n->weight + n->layer[layer].depth, c->rows, net_hidden(n));
	MOE_TRY(take(n, c, layer, taken, lane));
	if (n->replay == MOE_REPLAY_RECORD)
		memcpy(kept, taken, c->rows);
	if (n->replay == MOE_REPLAY_PLAY)
		memcpy(taken, kept, c->rows);
	if (n->loss->aux > 0)
		MOE_TRY(moe_net_aux_depth(n, c, layer, taken, lane));
	MOE_TRY(moe_net_layer_plan(n, c, layer, taken, &lane->d));
	moe_gather_rows(k->attend.x, net_hidden(n), k->x, net_hidden(n), k->rows.row, k->rows.n, net_hidden(n), sizeof(float));
	moe_arena_release(&lane->scratch, mark);
	return MOE_OK;
}

/* ---- experts ---- */

/* Noise of the step for the rows of a layer (moe_router_noise), a function of the layer and of their numbers in the batch. NULL: there is none. */
static enum moe_err make_noise(float **out, const struct moe_net *n, const struct chunk *c, size_t layer, struct lane *lane)
{
	const struct layer_rows *rows = &c->layer[layer].rows;
	size_t experts = net_experts(n);

	*out = NULL;
	if (!(n->loss->noise > 0))
		return MOE_OK;
	*out = moe_arena_get(&lane->scratch, rows->n * experts, sizeof **out);
	if (!*out)
		return moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
	for (size_t r = 0; r < rows->n; r++)
		for (size_t e = 0; e < experts; e++) {
			uint64_t index = (uint64_t)(c->first_row + moe_net_row(rows, r)) * experts + e;
			(*out)[r * experts + e] = (float)n->loss->noise * moe_router_noise(moe_random_unit(n->loss->noise_seed, layer, index));
		}
	return MOE_OK;
}

/* Rows [first, first + rows) of a layer. */
static enum moe_err choose(struct moe_net *n, struct kept_layer *k, const struct net_layer *w, const float *noise, size_t first, size_t rows, struct lane *lane)
{
	const struct moe_router_settings *s = &n->spec->router;
	size_t experts = net_experts(n), width = net_k(n);
	struct moe_router_rows in = {
		.rows = rows, .logit = k->router.logit + first * experts, .choice_bias = w->choice_bias ? n->weight + w->choice_bias : NULL,
		.noise = noise ? noise + first * experts : NULL, .modality = k->rows.modality + first,
	};
	struct moe_router_choice out = {k->router.expert_id + first * width, k->router.weight + first * width, NULL};

	if (s->chooses == MOE_CHOICE_EXPERT)
		return moe_router_choose_rows(&out, &in, s, &lane->scratch, &lane->d);
	return moe_router_choose(&out, &in, s, &lane->scratch, &lane->d);
}

/* Turns some of the experts' decisions round; who is chosen then has the router's weight. */
static enum moe_err flip_experts(const struct moe_net *n, const struct chunk *c, size_t layer, struct lane *lane)
{
	const struct kept_layer *k = &c->layer[layer];
	size_t experts = net_experts(n), width = net_k(n), rows = k->rows.n;
	float *chosen = moe_arena_get(&lane->scratch, rows * experts, sizeof *chosen);
	struct moe_router_rows in = {.rows = rows, .logit = k->router.logit, .modality = k->rows.modality};
	struct moe_router_choice out = {k->router.expert_id, k->router.weight, NULL};

	if (!chosen)
		return moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < rows * experts; i++)
		chosen[i] = k->router.logit[i] == -INFINITY ? -INFINITY : -1;
	for (size_t i = 0; i < rows * width; i++)
		if (k->router.expert_id[i] >= 0)
			chosen[i / width * experts + (size_t)k->router.expert_id[i]] = 1;
	for (size_t i = 0; i < rows * experts; i++)
		if (isfinite(chosen[i]) && flips(n, c, layer, moe_net_row(&k->rows, i / experts), i % experts))
			chosen[i] = -chosen[i];
	return moe_router_choose_predicted(&out, &in, chosen, NULL, &n->spec->router, &lane->scratch, &lane->d);
}

/* Keeps the choices of a layer, or takes those that were kept, with weights that follow today's scores. */
static void replay(struct moe_net *n, const struct chunk *c, size_t layer, struct kept_layer *k)
{
	size_t width = net_k(n), nbytes = k->rows.n * width * sizeof *n->choice;
	int32_t *kept = n->choice + (layer * n->recorded + c->first_row) * width;

	if (n->replay == MOE_REPLAY_RECORD) {
		memcpy(kept, k->router.expert_id, nbytes);
		return;
	}
	memcpy(k->router.expert_id, kept, nbytes);
	moe_router_weigh(&k->router, k->rows.n, width, &n->spec->router);
}

enum moe_err moe_net_route(struct moe_net *n, struct chunk *c, size_t layer, const float *h, struct lane *lane)
{
	struct net_layer *w = &n->layer[layer];
	struct kept_layer *k = &c->layer[layer];
	const struct moe_router_settings *s = &n->spec->router;
	size_t experts = net_experts(n), rows = k->rows.n;
	float *noise;

	moe_dense_forward(&w->router_dense, h, net_hidden(n), rows, k->router.logit, experts, false);
	MOE_TRY(moe_router_mask(k->router.logit, rows, s, k->rows.modality, NULL, &lane->d));
	MOE_TRY(make_noise(&noise, n, c, layer, lane));
	if (s->chooses != MOE_CHOICE_EXPERT)
		MOE_TRY(choose(n, k, w, noise, 0, rows, lane));
	else if (n->loss->choice != MOE_NET_BATCH)
		MOE_TRY(moe_net_aux_choose(n, c, layer, h, lane));
	else
		for (size_t g = 0; g < c->n_groups; g++)
			MOE_TRY(choose(n, k, w, noise, k->rows.group[g], k->rows.group[g + 1] - k->rows.group[g], lane));
	if (n->loss->flips > 0 && s->chooses == MOE_CHOICE_EXPERT)
		MOE_TRY(flip_experts(n, c, layer, lane));
	moe_router_scores(&k->router, noise, rows, s);
	if (n->replay != MOE_REPLAY_OFF)
		replay(n, c, layer, k);
	if (n->loss->aux > 0)
		MOE_TRY(moe_net_aux_experts(n, c, layer, h, lane));
	moe_router_measure(&lane->sums[layer], &k->router, k->rows.modality, rows, net_k(n), s);
	return MOE_OK;
}
