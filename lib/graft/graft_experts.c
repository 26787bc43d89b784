/* Experts made of experts: in every layer each expert of the output comes from one of the source, or from several. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "graft/graft_priv.h"

enum { MOST_TOP_K = 256 };

/* Expert i of the output is made of origin[first[i]] to origin[first[i + 1] - 1]. */
struct map {
	int64_t *origin;
	size_t *first, n;
};

/* ---- The map of a layer ---- */

static enum moe_err new_map(const struct graft *g, struct map *m, size_t most)
{
	*m = (struct map){moe_arena_get(&g->plan->memory, most, sizeof *m->origin), moe_arena_zero(&g->plan->memory, most + 1, sizeof *m->first), 0};
	return m->origin && m->first ? MOE_OK : moe_graft_no_memory(g);
}

static void append(struct map *m, const int64_t *origin, size_t n)
{
	size_t at = m->first[m->n];

	memcpy(m->origin + at, origin, n * sizeof *origin);
	m->first[++m->n] = at + n;
}

/* Where each expert stands in the layer's list: its group, SIZE_MAX where it is in none. Each may be there once. */
static enum moe_err find_groups(const struct graft *g, size_t layer, size_t **out)
{
	const struct moe_graft_list *l = &g->list[layer];
	size_t experts = graft_experts(g), *group = *out = moe_arena_get(&g->plan->memory, experts, sizeof *group);

	if (!group)
		return moe_graft_no_memory(g);
	for (size_t e = 0; e < experts; e++)
		group[e] = SIZE_MAX;
	for (size_t i = 0; i < l->n; i++)
		for (size_t j = 0; j < l->group[i].n; j++) {
			int64_t e = l->number[l->group[i].first + j];
			if (e >= (int64_t)experts)
				return moe_fail(g->d, MOE_EUSAGE, "expert %lld: a layer has experts 0 to %zu", (long long)e, experts - 1);
			if (group[e] != SIZE_MAX)
				return moe_fail(g->d, MOE_EUSAGE, "expert %lld of layer %zu is named twice", (long long)e, layer);
			group[e] = i;
		}
	return MOE_OK;
}

/* ---- From maps to the plan ---- */

/* The pool of the experts that one is made of; they are all in the same. */
static enum moe_err pool_of(const struct graft *g, const struct map *m, size_t i, size_t layer, uint8_t *out)
{
	const struct moe_pools *p = &g->from->router.pools;

	*out = p->of[m->origin[m->first[i]]];
	for (size_t j = m->first[i]; j < m->first[i + 1]; j++)
		if (p->of[m->origin[j]] != *out)
			return moe_fail(g->d, MOE_EUSAGE, "layer %zu: experts %lld and %lld are in different pools", layer, (long long)m->origin[m->first[i]],
					(long long)m->origin[j]);
	return MOE_OK;
}

/* The pools of the output, which are those of every layer. */
static enum moe_err map_pools(struct graft *g, const struct map *m, size_t layer, bool first)
{
	struct moe_pools *to = &g->to.router.pools;

	if (m->n > MOE_POOLED_EXPERTS)
		return moe_fail(g->d, MOE_EUSAGE, "pools hold at most %d experts", MOE_POOLED_EXPERTS);
	if (first)
		memset(to->size, 0, sizeof to->size);
	for (size_t i = 0; i < m->n; i++) {
		uint8_t of;
		MOE_TRY(pool_of(g, m, i, layer, &of));
		if (!first && of != to->of[i])
			return moe_fail(g->d, MOE_EUSAGE,
					"layer %zu: expert %zu would be in pool %d, in other layers in pool %d: a model has the same pools in every layer",
					layer, i, of, to->of[i]);
		to->of[i] = of;
		to->size[of] += first;
	}
	for (size_t p = 0; p < to->n; p++)
		if (!to->size[p])
			return moe_fail(g->d, MOE_EUSAGE, "no expert would be left in pool %zu", p);
	return MOE_OK;
}

/* Groups of experts stay groups, be it in another order. */
static enum moe_err check_groups(const struct graft *g, const struct map *m, size_t layer)
{
	size_t groups = (size_t)g->from->router.groups, was = graft_experts(g) / groups, is = m->n / groups;

	if (m->n % groups)
		return moe_fail(g->d, MOE_EUSAGE, "%zu experts do not fall into the model's %zu groups", m->n, groups);
	for (size_t i = 0; i < m->n; i++)
		for (size_t j = m->first[i]; j < m->first[i + 1]; j++)
			if ((size_t)m->origin[j] / was != (size_t)m->origin[m->first[i / is * is]] / was)
				return moe_fail(g->d, MOE_EUSAGE, "layer %zu: experts of different groups would be in one", layer);
	return MOE_OK;
}

static enum moe_err check_maps(struct graft *g, const struct map *map)
{
	const struct map *first = NULL;

	for (size_t l = 0; l < graft_layers(g); l++) {
		if (moe_spec_is_dense(g->from, l))
			continue;
		if (first && map[l].n != first->n)
			return moe_fail(g->d, MOE_EUSAGE, "layer %zu would have %zu experts, layer %zu has %zu: a model has as many in every layer", l,
					map[l].n, (size_t)(first - map), first->n);
		if (g->from->router.pools.n)
			MOE_TRY(map_pools(g, &map[l], l, !first));
		if (g->from->router.groups > 1)
			MOE_TRY(check_groups(g, &map[l], l));
		if (!first)
			first = &map[l];
	}
	g->to.router.experts = (int64_t)first->n;
	if (g->to.router.top_k > g->to.router.experts)
		return moe_fail(g->d, MOE_EUSAGE, "a token needs %lld experts, and %zu would be left%s", (long long)g->to.router.top_k, first->n,
				g->o->top_k ? "" : ": give a smaller --top-k");
	return MOE_OK;
}

/* Shares of the experts that one is made of: by their load, or equal ones. */
static double share(const struct graft *g, size_t layer, const struct map *m, size_t i, size_t j)
{
	const double *load = g->o->load ? g->o->load + layer * graft_experts(g) : NULL;
	double all = 0;

	for (size_t k = m->first[i]; load && k < m->first[i + 1]; k++)
		all += load[m->origin[k]];
	return all > 0 ? load[m->origin[j]] / all : 1 / (double)(m->first[i + 1] - m->first[i]);
}

/* The plan: each expert is the sum of those that it is made of, and so is its row of the router. */
static enum moe_err build(struct graft *g, const struct map *map)
{
	MOE_TRY(check_maps(g, map));
	MOE_TRY(moe_graft_begin(g));
	for (size_t l = 0; l < graft_layers(g); l++) {
		for (size_t i = 0; !moe_spec_is_dense(g->from, l) && i < map[l].n; i++) {
			struct moe_graft_expert *e = &g->plan->layer[l].expert[i];
			for (size_t j = map[l].first[i]; j < map[l].first[i + 1]; j++) {
				struct moe_graft_term t = {0, map[l].origin[j], share(g, l, &map[l], i, j)};
				if (t.factor != 0 && (!moe_graft_sum_add(g->plan, &e->unit, t) || !moe_graft_sum_add(g->plan, &e->row, t)))
					return moe_graft_no_memory(g);
			}
		}
	}
	return MOE_OK;
}

static enum moe_err new_maps(const struct graft *g, struct map **out, size_t most)
{
	*out = moe_arena_zero(&g->plan->memory, graft_layers(g), sizeof **out);
	for (size_t l = 0; *out && l < graft_layers(g); l++)
		MOE_TRY(new_map(g, &(*out)[l], most));
	return *out ? MOE_OK : moe_graft_no_memory(g);
}

/* ---- The operations ---- */

/* New experts, from `first` on, differ from those that they are copies of. */
static void make_new(struct graft *g, size_t layer, size_t first)
{
	for (size_t i = first; i < (size_t)g->to.router.experts; i++) {
		struct moe_graft_expert *e = &g->plan->layer[layer].expert[i];
		e->unit.noise_alone = g->o->random;
		e->unit.share = g->o->random ? 1 : g->o->noise;
		if (g->o->router == MOE_GRAFT_ROUTER_ZERO || g->o->router == MOE_GRAFT_ROUTER_RANDOM)
			moe_graft_new_row(g, e);
		else
			e->row.share = g->o->noise;
	}
}

enum moe_err moe_graft_add(struct graft *g)
{
	size_t experts = graft_experts(g), n = (size_t)g->o->number;
	struct map *map;

	if (!n)
		return moe_fail(g->d, MOE_EUSAGE, "how many experts are to be added (-n)?");
	if (experts + n > UINT16_MAX - 1)
		return moe_fail(g->d, MOE_EUSAGE, "%zu experts are more than a model may have", experts + n);
	MOE_TRY(new_maps(g, &map, experts + n));
	for (size_t l = 0; l < graft_layers(g); l++) {
		const struct moe_graft_list *list = &g->list[l];
		size_t *group;
		MOE_TRY(find_groups(g, l, &group));
		for (size_t e = 0; e < experts + n; e++) {
			int64_t origin = (int64_t)(e < experts ? e : list->n ? (size_t)list->number[(e - experts) % list->n] : (e - experts) % experts);
			append(&map[l], &origin, 1);
		}
	}
	MOE_TRY(build(g, map));
	for (size_t l = 0; l < graft_layers(g); l++)
		if (!g->plan->layer[l].dense)
			make_new(g, l, experts);
	moe_graft_say(g, MOE_GRAFT_OTHER, "tokens choose among more experts");
	return MOE_OK;
}

/* What a model without experts that nothing chose makes of a token. */
static void promise_drop(struct graft *g)
{
	const struct moe_router_settings *r = &g->from->router;

	if (r->chooses == MOE_CHOICE_EXPERT)
		moe_graft_say(g, MOE_GRAFT_OTHER, "experts that choose take a share of the tokens that depends on their number");
	else if (g->to.router.top_k != r->top_k)
		moe_graft_say(g, MOE_GRAFT_OTHER, "tokens have fewer experts");
	else if (r->score == MOE_SCORE_SOFTMAX && (r->choice_bias || r->groups > 1))
		moe_graft_say(g, MOE_GRAFT_OTHER, "what is compared is a share of all experts");
	else if (r->score == MOE_SCORE_SOFTMAX && r->weight == MOE_WEIGHT_SCORE && !(r->renormalise && r->eps == 0))
		moe_graft_say(g, MOE_GRAFT_OTHER, "weights are shares of all experts, those that were not chosen included");
	else
		moe_graft_say(g, MOE_GRAFT_BITS, "tokens had chosen what is no more");
}

enum moe_err moe_graft_drop(struct graft *g)
{
	size_t experts = graft_experts(g);
	struct map *map;

	if (!g->o->n_lists)
		return moe_fail(g->d, MOE_EUSAGE, "which experts are to be left out (--experts)?");
	MOE_TRY(new_maps(g, &map, experts));
	g->promise->dropped = moe_arena_zero(&g->plan->memory, graft_layers(g) * experts, sizeof *g->promise->dropped);
	if (!g->promise->dropped)
		return moe_graft_no_memory(g);
	for (size_t l = 0; l < graft_layers(g); l++) {
		size_t *group;
		MOE_TRY(find_groups(g, l, &group));
		for (size_t e = 0; e < experts; e++) {
			int64_t origin = (int64_t)e;
			g->promise->dropped[l * experts + e] = group[e] != SIZE_MAX;
			if (group[e] == SIZE_MAX)
				append(&map[l], &origin, 1);
		}
	}
	MOE_TRY(build(g, map));
	promise_drop(g);
	return MOE_OK;
}

enum moe_err moe_graft_merge(struct graft *g)
{
	size_t experts = graft_experts(g);
	struct map *map;

	if (!g->o->n_lists)
		return moe_fail(g->d, MOE_EUSAGE, "which experts are to be merged (--experts, such as 0+1,2+3)?");
	MOE_TRY(new_maps(g, &map, experts));
	for (size_t l = 0; l < graft_layers(g); l++) {
		const struct moe_graft_list *list = &g->list[l];
		size_t *group;
		MOE_TRY(find_groups(g, l, &group));
		for (size_t e = 0; e < experts; e++) {
			const struct moe_graft_group *of = group[e] == SIZE_MAX ? NULL : &list->group[group[e]];
			int64_t origin = (int64_t)e;
			if (!of)
				append(&map[l], &origin, 1);
			else if (list->number[of->first] == origin)
				append(&map[l], list->number + of->first, of->n);
		}
	}
	MOE_TRY(build(g, map));
	moe_graft_say(g, MOE_GRAFT_OTHER, "a mean does not compute what its experts do");
	return MOE_OK;
}

/* What all parts of an expert, chosen together, add up to. */
static void join_parts(struct graft *g, size_t layer, size_t parts)
{
	bool divides = moe_graft_divides(&g->from->router);

	for (size_t i = 0; i < (size_t)g->to.router.experts; i++) {
		struct moe_graft_expert *e = &g->plan->layer[layer].expert[i];
		e->part = g->o->width ? (int64_t)(i % parts) : 0;
		e->parts = g->o->width ? (int64_t)parts : 1;
		e->scale = g->o->width == divides ? g->o->width ? (double)parts : 1 / (double)parts : 1;
		e->bias_scale = g->from->router.score == MOE_SCORE_SOFTMAX ? 1 / (double)parts : 1;
		e->unit.share = e->row.share = g->o->noise;
	}
}

static enum moe_err split_all(struct graft *g, size_t parts)
{
	struct moe_router_settings *to = &g->to.router;

	if (g->o->top_k)
		return moe_fail(g->d, MOE_EUSAGE, "--top-k follows from the split: a token gets all parts of the experts that it had");
	if (to->top_k * (int64_t)parts > MOST_TOP_K)
		return moe_fail(g->d, MOE_EUSAGE, "a token would get %lld experts, more than %d", (long long)to->top_k * (long long)parts, MOST_TOP_K);
	if (g->o->width && g->from->expert_width % (int64_t)parts)
		return moe_fail(g->d, MOE_EUSAGE, "experts of width %lld do not fall into %zu parts", (long long)g->from->expert_width, parts);
	to->top_k *= (int64_t)parts;
	to->capacity *= (double)parts;
	g->to.expert_width /= g->o->width ? (int64_t)parts : 1;
	if (g->o->noise > 0)
		moe_graft_say(g, MOE_GRAFT_OTHER, "there is noise on the parts");
	else if (to->groups > 1)
		moe_graft_say(g, MOE_GRAFT_OTHER, "scores of groups are made of their best experts");
	else
		moe_graft_say(g, MOE_GRAFT_NUMBERS, NULL);
	return MOE_OK;
}

enum moe_err moe_graft_split(struct graft *g)
{
	size_t experts = graft_experts(g), parts = (size_t)g->o->number;
	struct map *map;

	if (parts < 2)
		return moe_fail(g->d, MOE_EUSAGE, "into how many is an expert to be split (-n, at least 2)?");
	if (g->o->width && g->o->n_lists)
		return moe_fail(g->d, MOE_EUSAGE, "experts are split by --width all together: a model has experts of one width");
	if (experts * parts > UINT16_MAX - 1)
		return moe_fail(g->d, MOE_EUSAGE, "%zu experts are more than a model may have", experts * parts);
	MOE_TRY(new_maps(g, &map, experts * parts));
	for (size_t l = 0; l < graft_layers(g); l++) {
		size_t *group;
		MOE_TRY(find_groups(g, l, &group));
		for (size_t e = 0; e < experts; e++) {
			int64_t origin = (int64_t)e;
			for (size_t i = 0; i < (g->o->n_lists && group[e] == SIZE_MAX ? 1 : parts); i++)
				append(&map[l], &origin, 1);
		}
	}
	if (!g->o->n_lists)
		MOE_TRY(split_all(g, parts));
	MOE_TRY(build(g, map));
	for (size_t l = 0; l < graft_layers(g); l++) {
		if (!g->o->n_lists && !g->plan->layer[l].dense)
			join_parts(g, l, parts);
		for (size_t i = 0; g->o->n_lists && !g->plan->layer[l].dense && i < map[l].n; i++)
			if (i && map[l].origin[i] == map[l].origin[i - 1])
				g->plan->layer[l].expert[i].unit.share = g->plan->layer[l].expert[i].row.share = g->o->noise;
	}
	if (g->o->n_lists)
		moe_graft_say(g, MOE_GRAFT_OTHER, "copies of some experts stand beside each other: a token that chose one may choose both");
	return MOE_OK;
}

/* The experts of a layer by falling load. */
static void by_load(const struct graft *g, size_t layer, struct map *m)
{
	const double *load = g->o->load + layer * graft_experts(g);

	for (size_t i = 0; i < graft_experts(g); i++) {
		size_t at = i;
		for (; at && load[m->origin[at - 1]] < load[i]; at--)
			m->origin[at] = m->origin[at - 1];
		m->origin[at] = (int64_t)i;
		m->first[i + 1] = i + 1;
	}
	m->n = graft_experts(g);
}

enum moe_err moe_graft_reorder(struct graft *g)
{
	size_t experts = graft_experts(g);
	struct map *map;

	if (!g->o->n_lists && !g->o->load)
		return moe_fail(g->d, MOE_EUSAGE, "in which order (--experts with the old numbers, or --load)?");
	MOE_TRY(new_maps(g, &map, experts));
	for (size_t l = 0; l < graft_layers(g); l++) {
		const struct moe_graft_list *list = &g->list[l];
		size_t *group;
		MOE_TRY(find_groups(g, l, &group));
		if (list->n && list->n != experts)
			return moe_fail(g->d, MOE_EUSAGE, "layer %zu: an order names each of the %zu experts once, this one %zu", l, experts, list->n);
		if (!g->o->n_lists)
			by_load(g, l, &map[l]);
		for (size_t e = 0; g->o->n_lists && e < experts; e++) {
			int64_t origin = list->n ? list->number[e] : (int64_t)e;
			append(&map[l], &origin, 1);
		}
	}
	MOE_TRY(build(g, map));
	moe_graft_say(g, MOE_GRAFT_BITS, NULL);
	return MOE_OK;
}

/* "3=5": expert 3 becomes expert 5 of the second model. */
static enum moe_err copy_pair(struct graft *g, size_t layer, int64_t to, int64_t from)
{
	struct moe_graft_expert *e = &g->plan->layer[layer].expert[to];
	struct moe_graft_term t = {1, from, 1};

	e->unit.n = 0;
	if (!moe_graft_sum_add(g->plan, &e->unit, t))
		return moe_graft_no_memory(g);
	e->unit.share = g->o->noise;
	if (g->o->router == MOE_GRAFT_ROUTER_KEEP)
		return MOE_OK;
	if (g->o->router != MOE_GRAFT_ROUTER_DEFAULT && g->o->router != MOE_GRAFT_ROUTER_COPY) {
		moe_graft_new_row(g, e);
		return MOE_OK;
	}
	e->row.n = 0;
	return moe_graft_sum_add(g->plan, &e->row, t) ? MOE_OK : moe_graft_no_memory(g);
}

enum moe_err moe_graft_copy(struct graft *g)
{
	size_t experts = graft_experts(g), others = (size_t)g->source[1].model->spec->router.experts;
	struct map *map;

	if (!g->o->n_lists)
		return moe_fail(g->d, MOE_EUSAGE, "which experts are to be copied (--experts, such as 3=5: the second model's 5 becomes 3)?");
	MOE_TRY(new_maps(g, &map, experts));
	for (size_t l = 0; l < graft_layers(g); l++)
		for (int64_t e = 0; e < (int64_t)experts; e++)
			append(&map[l], &e, 1);
	MOE_TRY(build(g, map));
	for (size_t l = 0; l < graft_layers(g); l++) {
		const struct moe_graft_list *list = &g->list[l];
		for (size_t i = 0; !g->plan->layer[l].dense && i < list->n; i++) {
			const int64_t *pair = list->number + list->group[i].first;
			if (list->group[i].n != 2 || pair[0] >= (int64_t)experts || pair[1] >= (int64_t)others)
				return moe_fail(g->d, MOE_EUSAGE,
						"expected pairs such as 3=5, of an expert 0 to %zu of the first model and one 0 to %zu of the second",
						experts - 1, others - 1);
			MOE_TRY(copy_pair(g, l, pair[0], pair[1]));
		}
	}
	moe_graft_say(g, MOE_GRAFT_OTHER, "experts are others");
	return MOE_OK;
}
