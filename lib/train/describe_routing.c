#include "train/describe_routing.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "train/describe_values.h"

enum { MOST_BATCH = 65536, MOST_CAPACITY = 256 };

#define LEAST 1e-6              /* of what must not be 0 */

const char *const moe_routing_keys[] = {
	"renormalise", "choice_bias", "router_score", "router_choice", "expert_capacity", "expert_pools", "route_batch", "routed_scaling_factor", "n_group", "topk_group",
	"group_score", "moe_norm", "depth_layers", "depth_capacity", "aux_routers", "aux_threshold", NULL,
};

/* A whole number that may be absent. */
static enum moe_err whole(json_t *json, const char *key, int64_t lo, int64_t hi, int64_t absent, int64_t *to, struct moe_diag *d)
{
	json_t *v = json_object_get(json, key);

	*to = absent;
	return v ? moe_describe_whole(v, key, lo, hi, to, d) : MOE_OK;
}

/* The second of two words? */
static enum moe_err second(json_t *json, const char *key, const char *first, const char *other, int *to, struct moe_diag *d)
{
	bool is;

	MOE_TRY(moe_describe_one_of(json, key, first, other, &is, d));
	*to = is;
	return MOE_OK;
}

/* ---- pools and layers ---- */

/* true, or "modality": one for text and one for pictures. */
static enum moe_err read_bias(struct moe_router_settings *s, json_t *json, struct moe_diag *d)
{
	json_t *v = json_object_get(json, "choice_bias");
	bool by_modality = json_is_string(v) && !strcmp(json_string_value(v), "modality");

	if (v && !json_is_boolean(v) && !by_modality)
		return moe_fail(d, MOE_EUSAGE, "choice_bias: expected true, false or \"modality\"");
	s->choice_bias = by_modality || json_is_true(v);
	s->choice_biases = by_modality ? 2 : 1;
	return MOE_OK;
}

static enum moe_err read_pool(struct moe_pools *p, size_t m, json_t *pool, int64_t experts, struct moe_diag *d)
{
	for (size_t i = 0; i < json_array_size(pool); i++) {
		json_t *v = json_array_get(pool, i);
		int64_t e = json_is_integer(v) ? json_integer_value(v) : -1;
		if (e < 0 || e >= experts)
			return moe_fail(d, MOE_EUSAGE, "expert_pools: expected numbers of experts from 0 to %lld", (long long)experts - 1);
		if (p->of[e] != UINT8_MAX)
			return moe_fail(d, MOE_EUSAGE, "expert_pools: expert %lld stands in two places: each must be in one pool", (long long)e);
		p->of[e] = (uint8_t)m;
		p->size[m]++;
	}
	return MOE_OK;
}

static enum moe_err read_pools(struct moe_router_settings *s, json_t *json, struct moe_diag *d)
{
	json_t *v = json_object_get(json, "expert_pools");
	struct moe_pools *p = &s->pools;
	int64_t placed = 0;

	if (!v)
		return MOE_OK;
	if (!json_is_array(v) || json_array_size(v) < 2 || json_array_size(v) > MOE_N_MODALITIES || s->experts > MOE_POOLED_EXPERTS)
		return moe_fail(d, MOE_EUSAGE, "expert_pools: expected a list of 2 to %d lists of experts, for text, pictures, ..., of at most %d experts in all", MOE_N_MODALITIES,
				MOE_POOLED_EXPERTS);
	p->n = json_array_size(v);
	memset(p->of, UINT8_MAX, sizeof p->of);
	for (size_t m = 0; m < p->n; m++) {
		if (!json_array_size(json_array_get(v, m)))
			return moe_fail(d, MOE_EUSAGE, "expert_pools: expected lists of experts, none of them empty");
		MOE_TRY(read_pool(p, m, json_array_get(v, m), s->experts, d));
		placed += p->size[m];
	}
	if (placed != s->experts)
		return moe_fail(d, MOE_EUSAGE, "expert_pools hold %lld experts, and the model has %lld: each must be in one pool", (long long)placed, (long long)s->experts);
	return MOE_OK;
}

static enum moe_err read_depth(struct moe_routing *r, json_t *json, int64_t layers, struct moe_diag *d)
{
	json_t *v = json_object_get(json, "depth_layers");

	r->depth_capacity = 0.25;
	MOE_TRY(moe_describe_real(json, "depth_capacity", LEAST, 1, &r->depth_capacity, d));
	if (v && (!json_is_array(v) || json_array_size(v) > MOE_MAX_IDS))
		return moe_fail(d, MOE_EUSAGE, "depth_layers: expected a list of at most %d layers", MOE_MAX_IDS);
	for (size_t i = 0; i < json_array_size(v); i++) {
		json_t *item = json_array_get(v, i);
		int64_t l = json_is_integer(item) ? json_integer_value(item) : -1;
		if (l < 0 || l >= layers || (i && l <= r->depth.v[i - 1]))
			return moe_fail(d, MOE_EUSAGE, "depth_layers: expected numbers of layers from 0 to %lld, rising", (long long)layers - 1);
		r->depth.v[r->depth.n++] = l;
	}
	if (json_object_get(json, "depth_capacity") && !r->depth.n)
		return moe_fail(d, MOE_EUSAGE, "depth_capacity goes with depth_layers");
	return MOE_OK;
}

/* ---- what must hold between them ---- */

static int64_t largest_pool(const struct moe_router_settings *s)
{
	int64_t most = s->pools.n ? 0 : s->experts;

	for (size_t m = 0; m < s->pools.n; m++)
		most = moe_max(most, s->pools.size[m]);
	return most;
}

static enum moe_err check_token(const struct moe_router_settings *s, json_t *json, struct moe_diag *d)
{
	if (json_object_get(json, "expert_capacity"))
		return moe_fail(d, MOE_EUSAGE, "expert_capacity goes with router_choice \"expert\"; a token that chooses has top_k experts");
	if (s->renormalise && s->top_k == 1 && largest_pool(s) > 1)
		return moe_fail(d, MOE_EUSAGE, "top_k 1 with renormalise makes every weight 1, so that the router has no gradient: leave renormalise out");
	if (s->pools.n && s->groups > 1)
		return moe_fail(d, MOE_EUSAGE, "expert_pools and n_group exclude each other");
	if (s->experts % s->groups || s->top_groups > s->groups || s->top_k > s->experts / s->groups * s->top_groups)
		return moe_fail(d, MOE_EUSAGE, "n_group (%lld) must divide experts (%lld), and topk_group (%lld) of them have top_k (%lld) experts", (long long)s->groups,
				(long long)s->experts, (long long)s->top_groups, (long long)s->top_k);
	return MOE_OK;
}

static enum moe_err check_expert(const struct moe_router_settings *s, struct moe_diag *d)
{
	if (s->renormalise || s->choice_bias || s->groups > 1)
		return moe_fail(d, MOE_EUSAGE, "router_choice \"expert\" goes without renormalise, choice_bias and n_group: an expert takes the tokens with the largest scores, "
				"which are the weights");
	return MOE_OK;
}

static enum moe_err check(const struct moe_routing *r, json_t *json, struct moe_diag *d)
{
	const struct moe_router_settings *s = &r->router;
	bool together = s->chooses == MOE_CHOICE_EXPERT || r->depth.n;

	if (s->top_k > largest_pool(s))
		return moe_fail(d, MOE_EUSAGE, "top_k (%lld) is larger than %s (%lld)", (long long)s->top_k, s->pools.n ? "the largest of expert_pools" : "experts",
				(long long)largest_pool(s));
	if (r->aux && !together)
		return moe_fail(d, MOE_EUSAGE, "aux_routers go with router_choice \"expert\" or with depth_layers: nothing else is chosen over a group");
	if (r->stored && !r->aux)
		return moe_fail(d, MOE_EUSAGE, "aux_threshold \"stored\" goes with aux_routers");
	if (json_object_get(json, "route_batch") && !together)
		return moe_fail(d, MOE_EUSAGE, "route_batch goes with router_choice \"expert\" or with depth_layers: nothing else is chosen over a group");
	return s->chooses == MOE_CHOICE_EXPERT ? check_expert(s, d) : check_token(s, json, d);
}

enum moe_err moe_routing_read(struct moe_routing *r, json_t *json, int64_t layers, struct moe_diag *d)
{
	struct moe_router_settings *s = &r->router;

	MOE_TRY(second(json, "router_score", "softmax", "sigmoid", &s->score, d));
	MOE_TRY(second(json, "router_choice", "token", "expert", &s->chooses, d));
	MOE_TRY(read_pools(s, json, d));
	if (!s->top_k)
		s->top_k = moe_min(2, largest_pool(s));
	s->renormalise = s->top_k > 1 && s->chooses == MOE_CHOICE_TOKEN;
	MOE_TRY(moe_describe_truth(json, "renormalise", &s->renormalise, d));
	MOE_TRY(read_bias(s, json, d));
	MOE_TRY(moe_describe_real(json, "expert_capacity", LEAST, MOST_CAPACITY, &s->capacity, d));
	MOE_TRY(whole(json, "route_batch", 1, MOST_BATCH, 8, &s->batch, d));
	s->scale = 1;
	MOE_TRY(moe_describe_real(json, "routed_scaling_factor", LEAST, 1e6, &s->scale, d));
	MOE_TRY(whole(json, "n_group", 1, s->experts, 1, &s->groups, d));
	MOE_TRY(whole(json, "topk_group", 1, s->groups, s->groups, &s->top_groups, d));
	MOE_TRY(second(json, "group_score", "max", "top2", &s->group_score, d));
	MOE_TRY(moe_describe_one_of(json, "moe_norm", "pre", "post", &r->post, d));
	MOE_TRY(read_depth(r, json, layers, d));
	MOE_TRY(moe_describe_truth(json, "aux_routers", &r->aux, d));
	MOE_TRY(moe_describe_one_of(json, "aux_threshold", "half", "stored", &r->stored, d));
	return check(r, json, d);
}

/* ---- config.json ---- */

static void put_pools(json_t *config, const struct moe_router_settings *s)
{
	static const char *const names[MOE_N_MODALITIES] = {"text", "image", "audio", "video", "other"};
	json_t *pools = json_array(), *called = json_array();

	for (size_t m = 0; m < s->pools.n; m++) {
		json_t *pool = json_array();
		for (int64_t e = 0; e < s->experts; e++)
			if (s->pools.of[e] == m)
				json_array_append_new(pool, json_integer((json_int_t)e));
		json_array_append_new(pools, pool);
		json_array_append_new(called, json_string(names[m]));
	}
	json_object_set_new(config, "expert_pools", pools);
	json_object_set_new(config, "pool_names", called);
}

static void put_depth(json_t *config, const struct moe_routing *r)
{
	json_t *layers = json_array();

	for (size_t i = 0; i < r->depth.n; i++)
		json_array_append_new(layers, json_integer((json_int_t)r->depth.v[i]));
	json_object_set_new(config, "depth_layers", layers);
	json_object_set_new(config, "depth_capacity", json_real(r->depth_capacity));
}

/* Takes v where it is wanted. */
static void put(json_t *config, const char *key, json_t *v, bool wanted)
{
	if (wanted)
		json_object_set(config, key, v);
	json_decref(v);
}

void moe_routing_put(json_t *config, const struct moe_routing *r)
{
	const struct moe_router_settings *s = &r->router;
	bool expert = s->chooses == MOE_CHOICE_EXPERT;

	put(config, "norm_topk_prob", json_boolean(s->renormalise), true);
	put(config, "router_choice_bias", json_boolean(s->choice_bias), true);
	put(config, "router_choice_biases", json_integer((json_int_t)s->choice_biases), s->choice_biases > 1);
	put(config, "router_score", json_string("sigmoid"), s->score == MOE_SCORE_SIGMOID);
	put(config, "router_choice", json_string("expert"), expert);
	put(config, "expert_capacity", json_real(s->capacity), s->capacity > 0);
	put(config, "route_batch", json_integer((json_int_t)s->batch), expert || r->depth.n);
	put(config, "routed_scaling_factor", json_real(s->scale), s->scale != 1);
	put(config, "n_group", json_integer((json_int_t)s->groups), s->groups > 1);
	put(config, "topk_group", json_integer((json_int_t)s->top_groups), s->groups > 1);
	put(config, "group_score", json_string("top2"), s->group_score == MOE_GROUP_TOP2);
	put(config, "moe_norm", json_string("post"), r->post);
	put(config, "aux_routers", json_true(), r->aux);
	put(config, "aux_threshold", json_string("stored"), r->stored);
	if (s->pools.n)
		put_pools(config, s);
	if (r->depth.n)
		put_depth(config, r);
}

/* ---- tensors ---- */

struct teller {
	int64_t hidden;
	moe_routing_tensor_fn *fn;
	void *arg;
};

static enum moe_err tell(const struct teller *t, const char *prefix, const char *name, unsigned rank, int64_t out, int64_t in, double deviation)
{
	char full[160];

	snprintf(full, sizeof full, "%s%s", prefix, name);
	return t->fn(t->arg, full, rank, (const int64_t[]){out, in}, deviation);
}

/* An auxiliary router of so many outputs. */
static enum moe_err tell_aux(const struct teller *t, const char *prefix, int64_t outputs)
{
	int64_t inner = t->hidden / 2;

	MOE_TRY(tell(t, prefix, ".fc1.weight", 2, inner, t->hidden, 1 / sqrt((double)t->hidden)));
	return tell(t, prefix, ".fc2.weight", 2, outputs, inner, 0.02);
}

static enum moe_err tell_experts(const struct teller *t, const struct moe_routing *r, long long layer)
{
	const struct moe_router_settings *s = &r->router;
	char prefix[96];

	for (size_t m = 0; m < (s->pools.n ? s->pools.n : 1); m++) {
		snprintf(prefix, sizeof prefix, "model.layers.%lld.mlp.aux.%zu", layer, m);
		MOE_TRY(tell_aux(t, prefix, s->pools.n ? s->pools.size[m] : s->experts));
	}
	snprintf(prefix, sizeof prefix, "model.layers.%lld.mlp", layer);
	return r->stored ? tell(t, prefix, ".aux_threshold", 1, s->experts, 0, -1) : MOE_OK;
}

enum moe_err moe_routing_tensors(const struct moe_routing *r, int64_t hidden, int64_t layer, bool dense, bool aux_alone, moe_routing_tensor_fn *fn, void *arg)
{
	struct teller t = {hidden, fn, arg};
	char prefix[96];
	bool depth = false;

	for (size_t i = 0; i < r->depth.n; i++)
		depth |= r->depth.v[i] == layer;
	snprintf(prefix, sizeof prefix, "model.layers.%lld", (long long)layer);
	if (depth && !aux_alone)
		MOE_TRY(tell(&t, prefix, ".depth.weight", 2, 1, hidden, 0.02));
	if (depth && r->aux) {
		snprintf(prefix, sizeof prefix, "model.layers.%lld.depth_aux", (long long)layer);
		MOE_TRY(tell_aux(&t, prefix, 1));
		snprintf(prefix, sizeof prefix, "model.layers.%lld", (long long)layer);
		if (r->stored)
			MOE_TRY(tell(&t, prefix, ".depth_threshold", 1, 1, 0, -1));
	}
	return r->aux && !dense && r->router.chooses == MOE_CHOICE_EXPERT ? tell_experts(&t, r, layer) : MOE_OK;
}
