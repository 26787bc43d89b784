/* Auxiliary routers: their loss and gradients, what they choose, and their thresholds. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "nn/depth.h"
#include "train/net_priv.h"

/* The sums of a layer: one of each pool, and of depth. */
enum { OF_DEPTH = MOE_N_MODALITIES, SUMS };

/* ---- weights ---- */

static bool plan_one(struct moe_net *n, struct net_aux *a, const char *fc1, const char *fc2, size_t layer, size_t nth, size_t out)
{
	size_t hidden = net_hidden(n);

	a->out = out;
	a->fc1 = moe_net_offset(n, fc1, (int64_t)layer, nth);
	a->fc2 = moe_net_offset(n, fc2, (int64_t)layer, nth);
	return moe_dense_plan(&a->dense.fc1, MOE_UNIT_F32, n->weight + a->fc1, hidden / 2, hidden, &n->memory) &&
	       moe_dense_plan(&a->dense.fc2, MOE_UNIT_F32, n->weight + a->fc2, out, hidden / 2, &n->memory);
}

bool moe_net_aux_plan(struct moe_net *n, size_t layer)
{
	const struct moe_router_settings *s = &n->spec->router;
	struct net_layer *w = &n->layer[layer];
	int64_t at = (int64_t)layer;

	if (!n->spec->aux.routers)
		return true;
	if (moe_spec_has_depth(n->spec, layer) && !plan_one(n, &w->depth_aux, "depth_aux_fc1", "depth_aux_fc2", layer, 0, 1))
		return false;
	w->aux_threshold = moe_net_offset(n, "aux_threshold", at, 0);
	w->depth_threshold = moe_net_offset(n, "depth_threshold", at, 0);
	if (w->dense || s->chooses != MOE_CHOICE_EXPERT)
		return true;
	w->n_aux = s->pools.n ? s->pools.n : 1;
	w->aux = moe_arena_zero(&n->memory, w->n_aux, sizeof *w->aux);
	for (size_t m = 0; w->aux && m < w->n_aux; m++)
		if (!plan_one(n, &w->aux[m], "aux_fc1", "aux_fc2", layer, m, s->pools.n ? (size_t)s->pools.size[m] : w->experts))
			return false;
	return w->aux;
}

static void pack_one(struct net_aux *a, void *scratch)
{
	if (!a->out)
		return;
	moe_dense_pack(&a->dense.fc1, scratch);
	moe_dense_pack(&a->dense.fc2, scratch);
}

void moe_net_aux_pack(struct net_layer *w, void *scratch)
{
	pack_one(&w->depth_aux, scratch);
	for (size_t m = 0; m < w->n_aux; m++)
		pack_one(&w->aux[m], scratch);
}

struct net_aux_sum *moe_net_aux_sums(struct moe_net *n) { return moe_arena_zero(&n->memory, (size_t)n->spec->n_layers * SUMS, sizeof(struct net_aux_sum)); }

void moe_net_aux_clear(const struct moe_net *n, struct lane *lane)
{
	memset(lane->aux, 0, (size_t)n->spec->n_layers * SUMS * sizeof *lane->aux);
}

/* ---- the rows of a pool ---- */

/* Rows that one auxiliary router reads, the experts that are its outputs, and what it says. */
struct read {
	const struct net_aux *aux;
	size_t n;
	uint32_t *row;                  /* [n], of the layer's */
	float *x;                       /* [n][hidden] */
	size_t *expert;                 /* [out] */
	float *logit;                   /* [n][out] */
	uint8_t *target;                /* [n][out] */
	void *scratch;
};

static bool in_pool(const struct moe_router_settings *s, size_t pool, size_t of) { return !s->pools.n || of == pool; }

/* Takes memory for `rows` rows of a router. */
static enum moe_err begin(struct read *r, const struct net_aux *aux, size_t rows, size_t hidden, struct lane *lane)
{
	struct moe_arena *a = &lane->scratch;

	*r = (struct read){.aux = aux, .row = moe_arena_get(a, rows, sizeof *r->row), .x = moe_arena_get(a, rows * hidden, sizeof *r->x),
			   .expert = moe_arena_get(a, aux->out, sizeof *r->expert), .logit = moe_arena_get(a, rows * aux->out, sizeof *r->logit),
			   .target = moe_arena_zero(a, rows * aux->out, 1), .scratch = moe_arena_get(a, moe_aux_scratch(&aux->dense, rows), 1)};
	return r->row && r->x && r->expert && r->logit && r->target && r->scratch ? MOE_OK : moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
}

static enum moe_err read_pool(struct read *r, const struct moe_net *n, size_t layer, const struct layer_rows *rows, const float *h, size_t pool, struct lane *lane)
{
	const struct moe_router_settings *s = &n->spec->router;
	size_t hidden = net_hidden(n), out = 0;

	MOE_TRY(begin(r, &n->layer[layer].aux[pool], rows->n, hidden, lane));
	for (size_t i = 0; i < rows->n; i++)
		if (in_pool(s, pool, rows->modality[i]))
			r->row[r->n++] = (uint32_t)i;
	for (size_t e = 0; e < net_experts(n); e++)
		if (in_pool(s, pool, s->pools.n ? s->pools.of[e] : 0))
			r->expert[out++] = e;
	moe_gather_rows(r->x, hidden, h, hidden, r->row, r->n, hidden, sizeof *r->x);
	return MOE_OK;
}

/* ---- training ---- */

/* Keeps what was said, for thresholds. */
static enum moe_err collect(const struct read *r, struct net_collected *to, struct moe_diag *d)
{
	size_t out = r->aux->out;

	for (size_t j = 0; j < out; j++) {
		struct net_collected *c = &to[r->expert ? r->expert[j] : j];
		MOE_TRY(moe_grow(&c->logit, &c->cap, c->n + r->n, sizeof *c->logit, d));
		for (size_t i = 0; i < r->n; i++) {
			c->logit[c->n++] = r->logit[i * out + j];
			c->taken += r->target[i * out + j];
		}
	}
	return MOE_OK;
}

/* Losses, sums and gradients of one router. */
static enum moe_err learn(const struct moe_net *n, const struct read *r, struct net_aux_sum *sum, struct net_collected *collected, struct lane *lane)
{
	const struct net_aux *a = r->aux;
	bool gradient = n->gradient_of_aux;

	sum->loss += moe_aux_loss(&a->dense, r->x, r->target, r->n, 1, gradient ? lane->gradient + a->fc1 : NULL, gradient ? lane->gradient + a->fc2 : NULL, r->logit,
				  r->scratch);
	sum->outputs += r->n * a->out;
	for (size_t i = 0; i < r->n * a->out; i++) {
		sum->right += (r->logit[i] > 0) == r->target[i];
		sum->foretold += r->logit[i] > 0;
		sum->taken += r->target[i];
	}
	return n->calibrates ? collect(r, collected, &lane->d) : MOE_OK;
}

static struct net_aux_sum *sum_of(struct lane *lane, size_t layer, size_t which) { return &lane->aux[layer * SUMS + which]; }

/* Of a layer: the experts', then that of depth. */
static struct net_collected *collected_of(const struct moe_net *n, struct lane *lane, size_t layer, bool depth)
{
	return lane->collected ? lane->collected + layer * (net_experts(n) + 1) + (depth ? net_experts(n) : 0) : NULL;
}

enum moe_err moe_net_aux_depth(const struct moe_net *n, const struct chunk *c, size_t layer, const uint8_t *taken, struct lane *lane)
{
	struct moe_arena_mark mark = moe_arena_mark(&lane->scratch);
	struct read r;

	MOE_TRY(begin(&r, &n->layer[layer].depth_aux, c->rows, net_hidden(n), lane));
	r.n = c->rows;
	r.x = c->layer[layer].x;
	r.expert[0] = 0;
	memcpy(r.target, taken, c->rows);
	MOE_TRY(learn(n, &r, sum_of(lane, layer, OF_DEPTH), collected_of(n, lane, layer, true), lane));
	moe_arena_release(&lane->scratch, mark);
	return MOE_OK;
}

enum moe_err moe_net_aux_experts(const struct moe_net *n, const struct chunk *c, size_t layer, const float *h, struct lane *lane)
{
	const struct kept_layer *k = &c->layer[layer];
	const struct net_layer *w = &n->layer[layer];

	for (size_t m = 0; m < w->n_aux; m++) {
		struct moe_arena_mark mark = moe_arena_mark(&lane->scratch);
		struct read r;
		MOE_TRY(read_pool(&r, n, layer, &k->rows, h, m, lane));
		for (size_t i = 0; i < r.n; i++)
			for (size_t j = 0; j < w->aux[m].out; j++)
				for (size_t s = 0; s < w->k; s++)
					r.target[i * w->aux[m].out + j] |= k->router.expert_id[r.row[i] * w->k + s] == (int32_t)r.expert[j];
		MOE_TRY(learn(n, &r, sum_of(lane, layer, m), collected_of(n, lane, layer, false), lane));
		moe_arena_release(&lane->scratch, mark);
	}
	return MOE_OK;
}

static void scale(float *x, size_t n, float by)
{
	for (size_t i = 0; i < n; i++)
		x[i] *= by;
}

/* Sums of a router over the lanes. */
static struct net_aux_sum add_lanes(const struct moe_net *n, size_t layer, size_t which)
{
	struct net_aux_sum all = {0};

	for (size_t i = 0; i < n->o.lanes; i++) {
		const struct net_aux_sum *s = sum_of(&n->lane[i], layer, which);
		all.loss += s->loss;
		all.outputs += s->outputs;
		all.right += s->right;
		all.foretold += s->foretold;
		all.taken += s->taken;
	}
	return all;
}

void moe_net_aux_finish(struct moe_net *n, struct moe_step_result *out)
{
	size_t hidden = net_hidden(n);
	struct net_aux_sum whole = {0};

	for (size_t l = 0; l < (size_t)n->spec->n_layers; l++)
		for (size_t i = 0; i < SUMS; i++) {
			const struct net_layer *w = &n->layer[l];
			const struct net_aux *a = i == OF_DEPTH ? &w->depth_aux : i < w->n_aux ? &w->aux[i] : NULL;
			struct net_aux_sum all = add_lanes(n, l, i);
			if (!a || !all.outputs)
				continue;
			out->aux += all.loss / (double)all.outputs;
			whole.outputs += all.outputs;
			whole.right += all.right;
			whole.foretold += all.foretold;
			whole.taken += all.taken;
			if (!n->gradient_of_aux)
				continue;
			scale(n->gradient + a->fc1, hidden / 2 * hidden, (float)(n->loss->aux / (double)all.outputs));
			scale(n->gradient + a->fc2, a->out * (hidden / 2), (float)(n->loss->aux / (double)all.outputs));
		}
	if (!whole.outputs)
		return;
	out->aux_right = (double)whole.right / (double)whole.outputs;
	out->aux_foretold = (double)whole.foretold / (double)whole.outputs;
	out->aux_taken = (double)whole.taken / (double)whole.outputs;
}

/* ---- choosing ---- */

enum moe_err moe_net_aux_take(const struct moe_net *n, const struct chunk *c, size_t layer, uint8_t *taken, struct lane *lane)
{
	const struct net_layer *w = &n->layer[layer];
	float threshold = n->loss->choice == MOE_NET_THRESHOLD && w->depth_threshold ? n->weight[w->depth_threshold] : 0;
	struct moe_arena_mark mark = moe_arena_mark(&lane->scratch);
	struct read r;

	MOE_TRY(begin(&r, &w->depth_aux, c->rows, net_hidden(n), lane));
	moe_aux_foretell(&w->depth_aux.dense, c->layer[layer].x, c->rows, r.logit, r.scratch);
	MOE_TRY(moe_depth_predict(taken, r.logit, c->rows, threshold, &lane->d));
	moe_arena_release(&lane->scratch, mark);
	return MOE_OK;
}

enum moe_err moe_net_aux_choose(const struct moe_net *n, const struct chunk *c, size_t layer, const float *h, struct lane *lane)
{
	const struct kept_layer *k = &c->layer[layer];
	const struct net_layer *w = &n->layer[layer];
	size_t experts = net_experts(n);
	struct moe_arena_mark mark = moe_arena_mark(&lane->scratch);
	float *predicted = moe_arena_get(&lane->scratch, k->rows.n * experts, sizeof *predicted);
	const float *threshold = n->loss->choice == MOE_NET_THRESHOLD && w->aux_threshold ? n->weight + w->aux_threshold : NULL;
	struct moe_router_rows in = {.rows = k->rows.n, .logit = k->router.logit, .modality = k->rows.modality};
	struct moe_router_choice out = {k->router.expert_id, k->router.weight, NULL};

	if (!predicted)
		return moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < k->rows.n * experts; i++)
		predicted[i] = -INFINITY;
	for (size_t m = 0; m < w->n_aux; m++) {
		struct read r;
		MOE_TRY(read_pool(&r, n, layer, &k->rows, h, m, lane));
		moe_aux_foretell(&w->aux[m].dense, r.x, r.n, r.logit, r.scratch);
		for (size_t i = 0; i < r.n; i++)
			for (size_t j = 0; j < w->aux[m].out; j++)
				predicted[r.row[i] * experts + r.expert[j]] = r.logit[i * w->aux[m].out + j];
	}
	MOE_TRY(moe_router_choose_predicted(&out, &in, predicted, threshold, &n->spec->router, &lane->scratch, &lane->d));
	moe_arena_release(&lane->scratch, mark);
	return MOE_OK;
}

/* ---- thresholds ---- */

static int falling(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return x < y ? 1 : x > y ? -1 : 0;
}

/* Half way between the last of those that are as many as are taken, and the next. */
static float threshold(float *logit, size_t n, size_t taken)
{
	qsort(logit, n, sizeof *logit, falling);
	if (!taken)
		return logit[0];        /* above: nobody */
	return taken < n ? logit[taken - 1] / 2 + logit[taken] / 2 : nextafterf(logit[n - 1], -INFINITY);
}

/* What all lanes kept of one output. */
static enum moe_err join(struct net_collected *all, const struct moe_net *n, size_t at, struct moe_diag *d)
{
	all->n = all->taken = 0;
	for (size_t i = 0; i < n->o.lanes; i++) {
		const struct net_collected *c = &n->lane[i].collected[at];
		if (!c->n)
			continue;
		MOE_TRY(moe_grow(&all->logit, &all->cap, all->n + c->n, sizeof *all->logit, d));
		memcpy(all->logit + all->n, c->logit, c->n * sizeof *c->logit);
		all->n += c->n;
		all->taken += c->taken;
	}
	return MOE_OK;
}

static enum moe_err set_layer(struct moe_net *n, size_t layer, struct net_collected *all, struct moe_diag *d)
{
	const struct net_layer *w = &n->layer[layer];
	size_t experts = net_experts(n), first = layer * (experts + 1);

	for (size_t e = 0; w->aux_threshold && w->n_aux && e < experts; e++) {
		MOE_TRY(join(all, n, first + e, d));
		if (all->n)
			n->weight[w->aux_threshold + e] = threshold(all->logit, all->n, all->taken);
	}
	if (!w->depth_threshold)
		return MOE_OK;
	MOE_TRY(join(all, n, first + experts, d));
	if (all->n)
		n->weight[w->depth_threshold] = threshold(all->logit, all->n, all->taken);
	return MOE_OK;
}

void moe_net_aux_forget(struct moe_net *n)
{
	size_t outputs = (size_t)n->spec->n_layers * (net_experts(n) + 1);

	for (size_t i = 0; i < n->o.lanes; i++) {
		struct lane *lane = &n->lane[i];
		for (size_t j = 0; lane->collected && j < outputs; j++)
			free(lane->collected[j].logit);
		free(lane->collected);
		lane->collected = NULL;
	}
}

enum moe_err moe_net_calibrate(struct moe_net *n, const struct moe_packed *batch, size_t count, struct moe_diag *d)
{
	static const struct moe_loss_settings loss = {.aux = 1};
	size_t outputs = (size_t)n->spec->n_layers * (net_experts(n) + 1);
	struct moe_step_result r;
	enum moe_err err;

	if (n->spec->aux.threshold != MOE_AUX_STORED)
		return moe_fail(d, MOE_EUSAGE, "the model has no thresholds of auxiliary routers (aux_threshold \"stored\")");
	for (size_t i = 0; i < n->o.lanes; i++)
		if (!n->lane[i].collected && !(n->lane[i].collected = calloc(outputs, sizeof *n->lane[i].collected)))
			return moe_fail(d, MOE_ENOMEM, "out of memory");
	n->calibrates = true;
	err = moe_net_step(n, batch, count, &loss, false, &r, d);
	n->calibrates = false;
	return err;
}

enum moe_err moe_net_calibrated(struct moe_net *n, struct moe_diag *d)
{
	struct net_collected all = {0};
	enum moe_err err = n->lane[0].collected ? MOE_OK : moe_fail(d, MOE_EUSAGE, "there was no sample to find thresholds with");

	for (size_t l = 0; l < (size_t)n->spec->n_layers && !err; l++)
		err = set_layer(n, l, &all, d);
	free(all.logit);
	moe_net_aux_forget(n);
	return err;
}
