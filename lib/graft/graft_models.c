/* Experts made of dense layers, and of whole models. */
#include <string.h>

#include "base/check.h"
#include "graft/graft_priv.h"
#include "stage/layers.h"

enum { MOST_TOP_K = 256 };

static bool is_power_of_two(int64_t n) { return n > 0 && !(n & (n - 1)); }

/* ---- Dense layers ---- */

/* Can the settings of the family say that there are no dense layers by a width of 0? */
static bool may_lack_dense(const struct moe_spec *s)
{
	json_t *width = json_object_get(json_object_get(s->doc, "dense"), "width");
	json_t *last = json_array_get(width, json_array_size(width) - 1);

	return json_is_integer(last) && !json_integer_value(last);
}

/* Takes the chosen dense layers out of those that stay dense; *n: how many they are, *moe: how many have experts already. */
static enum moe_err choose_layers(struct graft *g, size_t *n, size_t *moe)
{
	size_t layers = graft_layers(g), first = 0, last = layers - 1;

	*n = *moe = 0;
	if (g->o->layers && !moe_layers_parse(g->o->layers, strlen(g->o->layers), layers, &first, &last))
		return moe_fail(g->d, MOE_EUSAGE, "-l %s: expected a layer or a range of 0 to %zu, such as 3, 0-1 or 2-", g->o->layers, layers - 1);
	g->to.dense.first = 0;
	g->to.dense.step = 1;
	g->to.dense.layers.n = 0;
	for (size_t l = 0; l < layers; l++) {
		bool dense = moe_spec_is_dense(g->from, l), chosen = l >= first && l <= last;
		*moe += !dense;
		if (g->o->layers && chosen && !dense)
			return moe_fail(g->d, MOE_EUSAGE, "layer %zu has experts already", l);
		*n += dense && chosen;
		if (!dense || chosen)
			continue;
		if (g->to.dense.layers.n == MOE_MAX_IDS)
			return moe_fail(g->d, MOE_EUSAGE, "more than %d layers would stay dense", MOE_MAX_IDS);
		g->to.dense.layers.v[g->to.dense.layers.n++] = (int64_t)l;
	}
	if (!g->to.dense.layers.n && may_lack_dense(g->from))
		g->to.dense.width = 0;
	return MOE_OK;
}

/* Experts of the largest pool. */
static int64_t largest_pool(const struct moe_router_settings *r)
{
	int64_t most = r->pools.n ? 0 : r->experts;

	for (size_t m = 0; m < r->pools.n; m++)
		most = r->pools.size[m] > most ? r->pools.size[m] : most;
	return most;
}

/* Experts of a token, and whether their weights are made to add up to 1: one of several with the weight 1 would leave the router without a gradient. */
static void set_top_k(struct graft *g, int64_t unless_told)
{
	struct moe_router_settings *r = &g->to.router;

	int64_t largest = largest_pool(r);

	r->top_k = g->o->top_k ? g->o->top_k : unless_told < largest ? unless_told : largest;
	if (r->score != MOE_SCORE_LOGIT && r->chooses == MOE_CHOICE_TOKEN)
		r->renormalise = r->top_k > 1 || largest == 1;
}

/* The settings of a model whose first experts come from dense units. */
static enum moe_err first_experts(struct graft *g, int64_t experts)
{
	if (experts < 1 || experts > UINT16_MAX - 1)
		return moe_fail(g->d, MOE_EUSAGE, "how many experts is a layer to have (-n, 1 to %d)?", UINT16_MAX - 1);
	g->to.router.experts = experts;
	g->to.expert_width = g->from->dense.width;
	return MOE_OK;
}

/* More experts beside those that other layers have. */
static enum moe_err same_experts(struct graft *g, int64_t experts)
{
	if (g->from->expert_width != g->from->dense.width)
		return moe_fail(g->d, MOE_EUSAGE,
				"dense layers are %lld wide, the experts that other layers have already %lld: a model has experts of one width",
				(long long)g->from->dense.width, (long long)g->from->expert_width);
	if (experts && experts != g->from->router.experts)
		return moe_fail(g->d, MOE_EUSAGE, "-n %lld: other layers have %lld experts already, and a model has as many in every layer", (long long)experts,
				(long long)g->from->router.experts);
	if (g->o->top_k && g->o->top_k != g->from->router.top_k)
		return moe_fail(g->d, MOE_EUSAGE, "--top-k %lld: tokens have %lld experts in other layers already", (long long)g->o->top_k,
				(long long)g->from->router.top_k);
	return MOE_OK;
}

static enum moe_err check_top_k(const struct graft *g)
{
	const struct moe_router_settings *r = &g->to.router;
	int64_t most = largest_pool(r);

	if (r->top_k > most || r->top_k > MOST_TOP_K)
		return moe_fail(g->d, MOE_EUSAGE, "a token cannot have %lld experts of %lld%s", (long long)r->top_k, (long long)most,
				r->pools.n ? " in the largest pool" : "");
	return MOE_OK;
}

/* Pools of so many experts each, one behind the other. */
static enum moe_err make_pools(struct graft *g)
{
	struct moe_pools *p = &g->to.router.pools;
	size_t e = 0;

	*p = (struct moe_pools){.n = g->o->n_pools};
	memset(p->of, UINT8_MAX, sizeof p->of);
	for (size_t m = 0; m < p->n; m++) {
		p->size[m] = g->o->pool[m];
		if (e + (size_t)p->size[m] > MOE_POOLED_EXPERTS)
			return moe_fail(g->d, MOE_EUSAGE, "pools hold at most %d experts", MOE_POOLED_EXPERTS);
		for (int64_t i = 0; i < p->size[m]; i++)
			p->of[e++] = (uint8_t)m;
	}
	if (g->o->number && (int64_t)e != g->o->number)
		return moe_fail(g->d, MOE_EUSAGE, "the pools hold %zu experts, -n says %lld", e, (long long)g->o->number);
	return MOE_OK;
}

/* An expert that is a copy. */
static enum moe_err copy_unit(struct graft *g, size_t layer, size_t to, struct moe_graft_term t)
{
	struct moe_graft_expert *e = &g->plan->layer[layer].expert[to];

	if (!moe_graft_sum_add(g->plan, &e->unit, t))
		return moe_graft_no_memory(g);
	e->unit.share = g->o->noise;
	moe_graft_new_row(g, e);
	return MOE_OK;
}

/* ---- Upcycling (Komatsuzaki et al. 2023; with pools: Lin et al. 2024, MoMa, section 2.5) ---- */

/* Share of all weights that the experts of a token have where all logits are equal. */
static double even_share(const struct graft *g, size_t expert)
{
	const struct moe_router_settings *r = &g->to.router;
	int64_t pool = r->pools.n ? r->pools.size[r->pools.of[expert]] : r->experts, k = moe_min(r->top_k, pool);

	if (moe_graft_sums_to_one(r))
		return 1;
	return r->score == MOE_SCORE_SOFTMAX ? (double)k / (double)pool * r->scale : 0.5 * (double)k * r->scale;
}

static void promise_upcycled(struct graft *g)
{
	const struct moe_router_settings *r = &g->to.router;
	bool zero = g->o->router == MOE_GRAFT_ROUTER_ZERO, power = is_power_of_two(r->top_k), one = moe_graft_sums_to_one(r);

	for (size_t m = 0; m < r->pools.n; m++)
		power &= is_power_of_two(moe_min(r->top_k, r->pools.size[m]));
	if (g->o->noise > 0)
		moe_graft_say(g, MOE_GRAFT_OTHER, "there is noise on the experts");
	else if (r->chooses == MOE_CHOICE_EXPERT)
		moe_graft_say(g, MOE_GRAFT_OTHER, "experts choose: a token may have none of them");
	else if (one && (r->top_k == 1 || (zero && power)))
		moe_graft_say(g, MOE_GRAFT_BITS, NULL);
	else if (one || (zero && g->o->rescale))
		moe_graft_say(g, MOE_GRAFT_NUMBERS, NULL);
	else
		moe_graft_say(g, MOE_GRAFT_OTHER, "the weights of a token's experts do not add up to 1");
}

/* Experts that are alone in their pools become pools of copies. */
static enum moe_err seed_of(const struct graft *g, size_t expert, int64_t *seed)
{
	const struct moe_pools *from = &g->from->router.pools, *to = &g->to.router.pools;

	for (*seed = 0; *seed < g->from->router.experts; (*seed)++)
		if (from->of[*seed] == to->of[expert])
			return MOE_OK;
	return moe_fail(g->d, MOE_EUSAGE, "the source has no pool %d", to->of[expert]);
}

static enum moe_err upcycle_pools(struct graft *g)
{
	const struct moe_pools *from = &g->from->router.pools;

	if (from->n != g->o->n_pools)
		return moe_fail(g->d, MOE_EUSAGE, "%zu pools are to become %zu: each becomes one (--pools with %zu numbers)", from->n, g->o->n_pools, from->n);
	for (size_t m = 0; m < from->n; m++)
		if (from->size[m] != 1)
			return moe_fail(g->d, MOE_EUSAGE, "pool %zu has %lld experts already: upcycling copies one (moe-graft add makes more of several)", m,
					(long long)from->size[m]);
	g->to.router.experts = 0;
	for (size_t m = 0; m < g->o->n_pools; m++)
		g->to.router.experts += g->o->pool[m];
	return MOE_OK;
}

static enum moe_err fill_upcycled(struct graft *g)
{
	for (size_t l = 0; l < graft_layers(g); l++) {
		bool was_dense = moe_spec_is_dense(g->from, l);
		for (size_t e = 0; !g->plan->layer[l].dense && e < (size_t)g->to.router.experts; e++) {
			struct moe_graft_expert *to = &g->plan->layer[l].expert[e];
			struct moe_graft_term t = {0, was_dense ? MOE_GRAFT_DENSE : (int64_t)e, 1};
			if (!was_dense && !g->o->n_pools) {     /* a layer that stays */
				if (!moe_graft_sum_add(g->plan, &to->unit, t) || !moe_graft_sum_add(g->plan, &to->row, t))
					return moe_graft_no_memory(g);
				continue;
			}
			if (!was_dense)
				MOE_TRY(seed_of(g, e, &t.expert));
			to->scale = g->o->rescale ? 1 / even_share(g, e) : 1;
			MOE_TRY(copy_unit(g, l, e, t));
		}
	}
	return MOE_OK;
}

enum moe_err moe_graft_upcycle(struct graft *g)
{
	size_t n, moe;
	int64_t all = g->o->number;

	MOE_TRY(choose_layers(g, &n, &moe));
	for (size_t m = 0; m < g->o->n_pools && !g->o->number; m++)
		all += g->o->pool[m];
	if (!n && !(g->from->router.pools.n && g->o->n_pools))
		return moe_fail(g->d, MOE_EUSAGE, "the model has no dense layers%s, which could be upcycled (moe-graft add makes more experts)",
				g->o->layers ? " among these" : "");
	if (n && moe && g->o->n_pools)
		return moe_fail(g->d, MOE_EUSAGE, "pools of the dense layers alone: a model has the same pools in every layer");
	if (n && !moe)
		MOE_TRY(first_experts(g, all));
	else if (n)
		MOE_TRY(same_experts(g, all));
	else
		MOE_TRY(upcycle_pools(g));
	if (g->o->n_pools)
		MOE_TRY(make_pools(g));
	if (!n || !moe)
		set_top_k(g, n ? 2 : g->from->router.top_k);
	MOE_TRY(check_top_k(g));
	MOE_TRY(moe_graft_begin(g));
	MOE_TRY(fill_upcycled(g));
	promise_upcycled(g);
	return MOE_OK;
}

/* ---- Whole models ---- */

/* Shares of the models, which add up to 1. */
static enum moe_err share_models(struct graft *g, double *share)
{
	double sum = 0;

	for (size_t m = 0; m < g->n; m++)
		sum += share[m] = g->o->weight ? g->o->weight[m] : 1;
	if (!(sum > 0))
		return moe_fail(g->d, MOE_EUSAGE, "--weights: they add up to %g", sum);
	for (size_t m = 0; m < g->n; m++)
		share[m] /= sum;
	return MOE_OK;
}

static bool all_same(const struct graft *g)
{
	for (size_t m = 1; m < g->n; m++)
		if (strcmp(g->source[m].model->fingerprint, g->source[0].model->fingerprint))
			return false;
	return true;
}

/* Experts of a layer of model m: those of a dense layer are one. */
static int64_t experts_of(const struct graft *g, size_t m, size_t layer)
{
	const struct moe_spec *s = g->source[m].model->spec;

	return moe_spec_is_dense(s, layer) ? 1 : s->router.experts;
}

static enum moe_err mix_settings(struct graft *g, size_t n, size_t moe)
{
	struct moe_router_settings *r = &g->to.router;

	if (n && !moe)
		return first_experts(g, (int64_t)g->n);
	if (r->pools.n || r->groups > 1)
		return moe_fail(g->d, MOE_EUSAGE, "models with %s are not mixed: in which one would an expert be?", r->pools.n ? "pools" : "groups of experts");
	/* Layers that are dense beside those with experts stay so. */
	g->to.dense = g->from->dense;
	r->experts = 0;
	for (size_t m = 0; m < g->n; m++)
		r->experts += g->source[m].model->spec->router.experts;
	r->top_k = g->o->top_k ? g->o->top_k : r->top_k;
	return r->experts < UINT16_MAX ? MOE_OK : moe_fail(g->d, MOE_EUSAGE, "%lld experts are more than a model may have", (long long)r->experts);
}

static enum moe_err mix_layer(struct graft *g, size_t layer)
{
	size_t to = 0;

	for (size_t m = 0; m < g->n; m++)
		for (int64_t e = 0; e < experts_of(g, m, layer); e++, to++) {
			bool dense = moe_spec_is_dense(g->source[m].model->spec, layer);
			struct moe_graft_term t = {m, dense ? MOE_GRAFT_DENSE : e, 1};
			if (dense || g->o->router != MOE_GRAFT_ROUTER_COPY) {
				MOE_TRY(copy_unit(g, layer, to, t));
				continue;
			}
			if (!moe_graft_sum_add(g->plan, &g->plan->layer[layer].expert[to].unit, t) ||
			    !moe_graft_sum_add(g->plan, &g->plan->layer[layer].expert[to].row, t))
				return moe_graft_no_memory(g);
		}
	return MOE_OK;
}

enum moe_err moe_graft_mix(struct graft *g)
{
	size_t n, moe;

	if (g->n < 2)
		return moe_fail(g->d, MOE_EUSAGE, "two models or more are mixed (-m, several times)");
	MOE_TRY(choose_layers(g, &n, &moe));
	MOE_TRY(mix_settings(g, n, moe));
	if (!moe)
		set_top_k(g, 2);
	MOE_TRY(check_top_k(g));
	MOE_TRY(moe_graft_begin(g));
	MOE_TRY(share_models(g, g->plan->share));
	for (size_t l = 0; l < graft_layers(g); l++)
		if (!g->plan->layer[l].dense)
			MOE_TRY(mix_layer(g, l));
	if (all_same(g) && !moe)
		promise_upcycled(g);
	else
		moe_graft_say(g, MOE_GRAFT_OTHER, "branches of different models stand side by side");
	return MOE_OK;
}

enum moe_err moe_graft_average(struct graft *g)
{
	size_t alone = 0;

	if (g->n < 2)
		return moe_fail(g->d, MOE_EUSAGE, "two models or more are averaged (-m, several times)");
	MOE_TRY(moe_graft_begin(g));
	MOE_TRY(share_models(g, g->plan->share));
	for (size_t l = 0; l < graft_layers(g); l++)
		for (size_t e = 0; !g->plan->layer[l].dense && e < graft_experts(g); e++)
			for (size_t m = 0; m < g->n; m++) {
				struct moe_graft_expert *to = &g->plan->layer[l].expert[e];
				struct moe_graft_term t = {m, (int64_t)e, g->plan->share[m]};
				if (t.factor != 0 && (!moe_graft_sum_add(g->plan, &to->unit, t) || !moe_graft_sum_add(g->plan, &to->row, t)))
					return moe_graft_no_memory(g);
			}
	for (size_t m = 0; m < g->n; m++)
		alone += g->plan->share[m] != 0;
	if (alone == 1 && g->plan->share[0] == 1)
		moe_graft_say(g, MOE_GRAFT_BITS, NULL);
	else if (all_same(g))
		moe_graft_say(g, MOE_GRAFT_NUMBERS, NULL);
	else
		moe_graft_say(g, MOE_GRAFT_OTHER, "a mean does not compute what its models do");
	return MOE_OK;
}
