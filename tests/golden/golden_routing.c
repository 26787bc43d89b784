/* One layer for each routing method, forward and backward, against PyTorch's: DIR/NN-NAME/case.json, init, input and want.safetensors. Every tensor of `want`
 * must be met. */
#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "format/safetensors.h"
#include "golden.h"
#include "grad/attention_grad.h"
#include "grad/aux_grad.h"
#include "grad/depth_grad.h"
#include "grad/experts_grad.h"
#include "grad/quantiser_grad.h"
#include "grad/router_grad.h"
#include "io/map.h"
#include "nn/depth.h"
#include "nn/quantiser.h"
#include "nn/rope.h"
#include "train/balance.h"
#include "train/optimiser.h"

#define TOLERANCE 2e-5          /* of the largest value of a tensor, */
#define ROUNDING 1e-6           /* or this, where a gradient is nothing but rounding */

enum { MOST_TENSORS = 512, MOST_EXPERTS = 64 };

struct file {
	struct moe_map *map;
	struct moe_header h;
	bool met[MOST_TENSORS];
};

/* All weights of a case as one vector, with their gradients. Gate and up of an expert lie one behind the other. */
struct weights {
	struct moe_param p[MOST_TENSORS];
	size_t n, total;
	float *w, *g;
};

struct routing_case {
	const char *name;
	json_t *doc, *s;                /* s: settings */
	struct file init, input, want;
	struct weights all;
	struct moe_router_settings router;
	size_t rows, hidden, width, experts, k;
	const float *dy;
	const uint8_t *modality;
	float *pack;                    /* scratch for forms of weights */
	struct moe_arena a;
	struct moe_diag d;
	void (*tally)(const char *label, bool good);
};

/* ---- files ---- */

static bool open_file(struct file *f, const char *dir, const char *name, bool must)
{
	char path[4096];
	struct moe_diag d = {0};

	snprintf(path, sizeof path, "%s/%s.safetensors", dir, name);
	if (!must && access(path, F_OK))
		return true;
	if (!moe_map_open(&f->map, path, &d) && !moe_safetensors_parse(&f->h, f->map->bytes, f->map->nbytes, &d) && f->h.n_tensors <= MOST_TENSORS)
		return true;
	printf("FAIL %s: %s\n", path, d.text);
	return false;
}

static void close_file(struct file *f)
{
	moe_header_free(&f->h);
	if (f->map)
		moe_map_close(f->map);
}

static const struct moe_tensor *find(struct file *f, const char *name)
{
	for (size_t i = 0; i < f->h.n_tensors; i++)
		if (!strcmp(f->h.tensor[i].name, name)) {
			f->met[i] = true;
			return &f->h.tensor[i];
		}
	return NULL;
}

static const void *data(struct file *f, const char *name)
{
	const struct moe_tensor *t = find(f, name);

	return t ? t->data : NULL;
}

static float *floats(struct routing_case *c, size_t n)
{
	float *x = moe_arena_zero(&c->a, n + 16, sizeof *x);

	if (!x)
		exit(2);
	return x;
}

/* ---- settings ---- */

static double setting(const struct routing_case *c, const char *key, double absent)
{
	json_t *v = json_object_get(c->s, key);

	return json_is_number(v) ? json_number_value(v) : absent;
}

static double coefficient(const struct routing_case *c, const char *term) { return json_number_value(json_object_get(json_object_get(c->s, "coef"), term)); }

static bool says(const struct routing_case *c, const char *key, const char *value)
{
	const char *text = json_string_value(json_object_get(c->s, key));

	return text && !strcmp(text, value);
}

static void read_pools(struct moe_pools *to, json_t *pools)
{
	to->n = json_array_size(pools);
	for (size_t m = 0; m < to->n; m++) {
		json_t *pool = json_array_get(pools, m);
		to->size[m] = (int64_t)json_array_size(pool);
		for (size_t i = 0; i < json_array_size(pool); i++)
			to->of[json_integer_value(json_array_get(pool, i))] = (uint8_t)m;
	}
}

static void read_settings(struct routing_case *c)
{
	struct moe_router_settings *r = &c->router;

	*r = (struct moe_router_settings){
		.experts = (int64_t)setting(c, "E", 0), .top_k = (int64_t)setting(c, "top_k", 1), .score = says(c, "score", "sigmoid") ? MOE_SCORE_SIGMOID : MOE_SCORE_SOFTMAX,
		.renormalise = json_is_true(json_object_get(c->s, "renormalise")), .choice_bias = json_is_true(json_object_get(c->s, "bias")),
		.groups = (int64_t)setting(c, "groups", 1), .top_groups = (int64_t)setting(c, "groups_kept", 1), .group_score = MOE_GROUP_TOP2, .scale = setting(c, "scale", 1),
		.chooses = says(c, "chooser", "expert") ? MOE_CHOICE_EXPERT : MOE_CHOICE_TOKEN, .capacity = setting(c, "capacity_factor", 0),
	};
	read_pools(&r->pools, json_object_get(c->s, "pools"));
	c->rows = (size_t)setting(c, "T", 0);
	c->hidden = (size_t)setting(c, "H", 0);
	c->width = (size_t)setting(c, "F", 0);
	c->experts = (size_t)r->experts;
	c->k = moe_router_width(r);
}

/* ---- comparing ---- */

static void verdict(struct routing_case *c, const char *name, bool good, double have, double want)
{
	if (!good)
		printf("FAIL %s: %s: %.9g, reference %.9g\n", c->name, name, have, want);
	c->tally("routing", good);
}

static void compare_floats(struct routing_case *c, const char *name, const float *have, size_t n)
{
	const struct moe_tensor *t = find(&c->want, name);
	const float *want = t ? (const float *)(const void *)t->data : NULL;
	bool fits = t && moe_tensor_count(t) == n;
	double size = 0, gap = 0;
	size_t at = 0;

	for (size_t i = 0; fits && i < n; i++)
		if (isfinite(want[i]))
			size = fmax(size, fabs((double)want[i]));
	for (size_t i = 0; fits && i < n; i++) {
		double off = want[i] == have[i] ? 0 : fabs((double)have[i] - (double)want[i]);
		if (!(off <= gap)) {
			gap = off;
			at = i;
		}
	}
	verdict(c, name, fits && gap <= fmax(TOLERANCE * size, ROUNDING), fits ? (double)have[at] : (double)NAN, fits ? (double)want[at] : (double)NAN);
}

static void compare_ints(struct routing_case *c, const char *name, const int32_t *have, size_t n)
{
	const struct moe_tensor *t = find(&c->want, name);
	size_t at = 0;

	for (size_t i = 0; t && i < n && i < moe_tensor_count(t) && !at; i++)
		if (((const int32_t *)(const void *)t->data)[i] != have[i])
			at = i + 1;
	verdict(c, name, t && moe_tensor_count(t) == n && !at, (double)at, 0);
}

static void compare_bytes(struct routing_case *c, const char *name, const uint8_t *have, size_t n)
{
	const struct moe_tensor *t = find(&c->want, name);

	verdict(c, name, t && t->nbytes == n && !memcmp(t->data, have, n), 1, 0);
}

static void compare_loss(struct routing_case *c, const char *term, double have)
{
	char name[80];
	float value = (float)have;

	snprintf(name, sizeof name, "loss.%s", term);
	compare_floats(c, name, &value, 1);
}

/* ---- weights ---- */

static float *add_weight(struct routing_case *c, const char *name)
{
	const struct moe_tensor *t = find(&c->init, name);
	struct weights *all = &c->all;
	struct moe_param *p = &all->p[all->n];

	if (!t)
		return NULL;
	*p = (struct moe_param){.name = (char *)(uintptr_t)t->name, .logical = (char *)(uintptr_t)t->name, .offset = all->total, .count = moe_tensor_count(t)};
	memcpy(all->w + p->offset, t->data, t->nbytes);
	all->n++;
	all->total += p->count;
	return all->w + p->offset;
}

static float *gradient_of(const struct routing_case *c, const float *w) { return c->all.g + (w - c->all.w); }

static void read_weights(struct routing_case *c)
{
	size_t total = 0, largest = 0;

	for (size_t i = 0; i < c->init.h.n_tensors; i++) {
		total += moe_tensor_count(&c->init.h.tensor[i]);
		largest = moe_max(largest, moe_tensor_count(&c->init.h.tensor[i]));
	}
	c->all.w = floats(c, total);
	c->all.g = floats(c, total);
	c->pack = floats(c, 2 * largest + 1024);
}

/* grad.NAME (or another prefix) of all weights. */
static void compare_gradients(struct routing_case *c, const char *prefix, const float *g)
{
	char name[256];

	for (size_t i = 0; i < c->all.n; i++) {
		const struct moe_param *p = &c->all.p[i];
		snprintf(name, sizeof name, "%s.%s", prefix, p->name);
		compare_floats(c, name, g + p->offset, p->count);
	}
}

static void make_dense(struct routing_case *c, struct moe_dense *to, const float *w, size_t out, size_t in)
{
	if (!moe_dense_plan(to, MOE_UNIT_F32, w, out, in, &c->a))
		exit(2);
	moe_dense_pack(to, c->pack);
}

/* Experts, or what else passes rows through SwiGLU: any number of units. */
struct units {
	size_t n, width;
	struct moe_expert_dense dense[MOST_EXPERTS];
	float *gate_up[MOST_EXPERTS], *down[MOST_EXPERTS];      /* gradients */
	struct moe_expert_pairs pairs;
	float *kept;
	void *scratch;
};

static bool add_unit(struct routing_case *c, struct units *u, const char *prefix)
{
	char name[128];
	const struct moe_tensor *t;
	float *gate, *down;

	snprintf(name, sizeof name, "%s.gate_proj.weight", prefix);
	t = find(&c->init, name);
	gate = add_weight(c, name);
	if (!gate || u->n == MOST_EXPERTS)
		return false;
	u->width = t->shape[0];
	snprintf(name, sizeof name, "%s.up_proj.weight", prefix);
	add_weight(c, name);
	snprintf(name, sizeof name, "%s.down_proj.weight", prefix);
	down = add_weight(c, name);
	make_dense(c, &u->dense[u->n].gate_up, gate, 2 * u->width, c->hidden);
	make_dense(c, &u->dense[u->n].down, down, c->hidden, u->width);
	u->gate_up[u->n] = gradient_of(c, gate);
	u->down[u->n++] = gradient_of(c, down);
	return true;
}

static void add_experts(struct routing_case *c, struct units *u)
{
	for (size_t e = 0; e < c->experts; e++) {
		char prefix[64];
		snprintf(prefix, sizeof prefix, "experts.%zu", e);
		add_unit(c, u, prefix);
	}
}

/* y += what the units make of h. */
static void units_forward(struct routing_case *c, struct units *u, float *y, const float *h, size_t rows, const int32_t *id, const float *weight, size_t k)
{
	if (moe_expert_pairs_make(&u->pairs, id, rows, k, u->n, &c->a, &c->d))
		exit(2);
	u->kept = floats(c, u->pairs.n * 2 * u->width);
	u->scratch = moe_arena_get(&c->a, moe_experts_scratch(moe_expert_pairs_most(&u->pairs), c->hidden, u->width), 1);
	moe_experts_keep(u->dense, &u->pairs, y, h, weight, u->kept, u->scratch);
}

static void units_backward(const struct units *u, float *dh, float *dweight, const float *dy, const float *h, const float *weight)
{
	moe_experts_backward(u->dense, &u->pairs, dh, dweight, u->gate_up, u->down, dy, h, weight, u->kept, u->scratch);
}

/* ---- the router ---- */

struct routed {
	struct moe_dense dense;
	float *w, *bias;
	struct moe_router_kept kept;
	struct moe_router_sums sums;
	float *compared, *noise, *dlogit, *dweight;
	size_t rows;
};

/* Logits, choice, weights and sums of rows h. */
static void route(struct routing_case *c, struct routed *r, const float *h, size_t rows, const uint8_t *modality, const float *bias)
{
	struct moe_router_kept *k = &r->kept;
	struct moe_router_rows in = {.rows = rows, .choice_bias = bias, .noise = r->noise, .modality = modality};
	struct moe_router_choice out;
	bool expert = c->router.chooses == MOE_CHOICE_EXPERT;

	r->rows = rows;
	*k = (struct moe_router_kept){floats(c, rows * c->experts), floats(c, rows * c->experts), floats(c, rows), moe_arena_zero(&c->a, rows * c->k, sizeof(int32_t)),
				      floats(c, rows * c->k)};
	r->compared = floats(c, rows * c->experts);
	r->sums = (struct moe_router_sums){.load = moe_arena_zero(&c->a, MOE_N_MODALITIES * c->experts, sizeof(uint64_t)),
					   .q = moe_arena_zero(&c->a, c->experts, sizeof(double))};
	in.logit = k->logit;
	out = (struct moe_router_choice){k->expert_id, k->weight, r->compared};
	moe_dense_forward(&r->dense, h, c->hidden, rows, k->logit, c->experts, false);
	if (moe_router_mask(k->logit, rows, &c->router, modality, NULL, &c->d) ||
	    (expert ? moe_router_choose_rows(&out, &in, &c->router, &c->a, &c->d) : moe_router_choose(&out, &in, &c->router, &c->a, &c->d))) {
		printf("FAIL %s: %s\n", c->name, c->d.text);
		exit(1);
	}
	moe_router_scores(k, r->noise, rows, &c->router);
	moe_router_weigh(k, rows, c->k, &c->router);
	moe_router_measure(&r->sums, k, modality, rows, c->k, &c->router);
}

static void count_choices(const struct routing_case *c, const struct routed *r, int32_t *count)
{
	for (size_t e = 0; e < c->experts; e++) {
		count[e] = 0;
		for (size_t m = 0; m < MOE_N_MODALITIES; m++)
			count[e] += (int32_t)r->sums.load[m * c->experts + e];
	}
}

static void compare_choice(struct routing_case *c, const struct routed *r)
{
	int32_t count[MOST_EXPERTS];

	count_choices(c, r, count);
	compare_floats(c, "router_logit", r->kept.logit, r->rows * c->experts);
	compare_ints(c, "expert_id", r->kept.expert_id, r->rows * c->k);
	compare_floats(c, "weight", r->kept.weight, r->rows * c->k);
	compare_ints(c, "count", count, c->experts);
	if (find(&c->want, "choice"))
		compare_floats(c, "choice", r->compared, r->rows * c->experts);
}

/* ---- losses of the router ---- */

static void compare_per_pool(struct routing_case *c, const struct moe_router_sums *sums, double loss)
{
	float per_pool[MOE_N_MODALITIES] = {(float)loss}, pull[MOST_EXPERTS];
	double share[MOST_EXPERTS];
	uint64_t *load = moe_arena_zero(&c->a, MOE_N_MODALITIES * c->experts, sizeof *load);

	for (size_t m = 0; m < c->router.pools.n; m++) {        /* the rows of one modality alone: the other pools have no choices */
		struct moe_router_sums one = {.load = load, .q = sums->q};
		memset(load, 0, MOE_N_MODALITIES * c->experts * sizeof *load);
		memcpy(load + m * c->experts, sums->load + m * c->experts, c->experts * sizeof *load);
		one.rows[m] = sums->rows[m];
		per_pool[m] = (float)moe_router_balance(pull, share, &one, &c->router, 0, 0);
	}
	compare_floats(c, "balance_per_pool", per_pool, c->router.pools.n ? c->router.pools.n : 1);
}

static void compare_balance(struct routing_case *c, const struct moe_router_sums *sums, const double *share, double loss)
{
	float f[MOST_EXPERTS], p[MOST_EXPERTS];

	compare_loss(c, "balance", loss);
	if (!find(&c->want, "count_share"))
		return;
	for (size_t e = 0; e < c->experts; e++) {
		double rows = 0;
		for (size_t m = 0; m < MOE_N_MODALITIES; m++)
			rows += c->router.pools.n && c->router.pools.of[e] != m ? 0 : (double)sums->rows[m];
		f[e] = (float)share[e];
		p[e] = (float)(sums->q[e] / rows);
	}
	compare_floats(c, "count_share", f, c->experts);
	compare_floats(c, "mean_prob", p, c->experts);
	compare_per_pool(c, sums, loss);
}

/* The gradient at the logits: by term, and of all together in r->dlogit. Returns what the terms add to the loss. */
static double router_backward(struct routing_case *c, struct routed *r, const char *main)
{
	double share[MOST_EXPERTS], coef = coefficient(c, "balance"), z = coefficient(c, "z"), balance, extra = 0;
	float pull[MOST_EXPERTS], zeros[MOST_EXPERTS] = {0}, *nothing = floats(c, r->rows * c->k), *d = r->dlogit;
	float of_z = (float)(z / (double)r->rows);

	balance = moe_router_balance(pull, share, &r->sums, &c->router, 0, coef);
	moe_router_backward(d, r->dweight, &r->kept, r->rows, c->k, &c->router, &(struct moe_router_pull){zeros, 0});
	compare_floats(c, main, d, r->rows * c->experts);
	if (coef > 0) {
		compare_balance(c, &r->sums, share, balance);
		moe_router_backward(d, nothing, &r->kept, r->rows, c->k, &c->router, &(struct moe_router_pull){pull, 0});
		compare_floats(c, "dlogit.balance", d, r->rows * c->experts);
		extra += coef * balance;
	}
	if (z > 0) {
		compare_loss(c, "z", r->sums.z / (double)r->rows);
		moe_router_backward(d, nothing, &r->kept, r->rows, c->k, &c->router, &(struct moe_router_pull){zeros, of_z});
		compare_floats(c, "dlogit.z", d, r->rows * c->experts);
		extra += z * r->sums.z / (double)r->rows;
	}
	moe_router_backward(d, r->dweight, &r->kept, r->rows, c->k, &c->router, &(struct moe_router_pull){pull, of_z});
	return extra;
}

/* From the gradients of logits to those of the router's weights and input. */
static void router_gradient(struct routing_case *c, const struct routed *r, const float *h, float *dh)
{
	moe_dense_gradient(MOE_UNIT_F32, gradient_of(c, r->w), r->dlogit, c->experts, c->experts, h, c->hidden, c->hidden, r->rows,
			   floats(c, (r->rows + 1) * (c->hidden + c->experts)));
	moe_dense_backward(&r->dense, r->dlogit, c->experts, r->rows, dh, c->hidden, true);
}

static void add_router(struct routing_case *c, struct routed *r)
{
	r->w = add_weight(c, "gate.weight");
	make_dense(c, &r->dense, r->w, c->experts, c->hidden);
	r->bias = (float *)(uintptr_t)data(&c->init, "gate.choice_bias");
	r->dlogit = floats(c, c->rows * c->experts);
	r->dweight = floats(c, c->rows * c->k);
}

/* ---- a shared expert: one unit that every row passes, with weight 1 or the sigmoid of a gate, which is a router with one expert ---- */

struct shared {
	struct units unit;
	struct moe_dense gate;
	float *gate_w, *dweight;
	struct moe_router_kept kept;
	struct moe_router_settings s;
};

static void shared_forward(struct routing_case *c, struct shared *sh, float *y, const float *h)
{
	size_t rows = c->rows;

	sh->s = (struct moe_router_settings){.experts = 1, .top_k = 1, .score = MOE_SCORE_SIGMOID, .scale = 1};
	sh->kept = (struct moe_router_kept){floats(c, rows), floats(c, rows), floats(c, rows), moe_arena_zero(&c->a, rows, sizeof(int32_t)), floats(c, rows)};
	sh->dweight = floats(c, rows);
	sh->gate_w = add_weight(c, "shared_expert_gate.weight");
	for (size_t r = 0; r < rows; r++)
		sh->kept.weight[r] = 1;
	if (sh->gate_w) {
		make_dense(c, &sh->gate, sh->gate_w, 1, c->hidden);
		moe_dense_forward(&sh->gate, h, c->hidden, rows, sh->kept.logit, 1, false);
		moe_router_scores(&sh->kept, NULL, rows, &sh->s);
		moe_router_weigh(&sh->kept, rows, 1, &sh->s);
	}
	units_forward(c, &sh->unit, y, h, rows, sh->kept.expert_id, sh->kept.weight, 1);
}

static void shared_backward(struct routing_case *c, struct shared *sh, float *dh, const float *dy, const float *h)
{
	float *dlogit = floats(c, c->rows), zero = 0;

	units_backward(&sh->unit, dh, sh->dweight, dy, h, sh->kept.weight);
	if (!sh->gate_w)
		return;
	moe_router_backward(dlogit, sh->dweight, &sh->kept, c->rows, 1, &sh->s, &(struct moe_router_pull){&zero, 0});
	moe_dense_gradient(MOE_UNIT_F32, gradient_of(c, sh->gate_w), dlogit, 1, 1, h, c->hidden, c->hidden, c->rows, floats(c, (c->rows + 1) * (c->hidden + 1)));
	moe_dense_backward(&sh->gate, dlogit, 1, c->rows, dh, c->hidden, true);
}

/* ---- a layer of experts: forms ffn, pre and post ---- */

struct layer {
	struct routed router;
	struct units experts;
	struct shared shared;
	float *norm, *scale;            /* NULL: the rows come normed */
	bool post;
	const float *in;                /* [T][H]: normed rows, or hidden */
	float *h, *sum, *y;             /* [T][H]: what the experts read, their sum, the output */
};

static double dot(const float *x, const float *y, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double)x[i] * (double)y[i];
	return sum;
}

static void layer_forward(struct routing_case *c, struct layer *l)
{
	size_t n = c->rows * c->hidden;
	float eps = (float)json_number_value(json_object_get(c->doc, "rms_norm_eps"));

	l->h = floats(c, n);
	l->sum = floats(c, n);
	l->y = floats(c, n);
	l->scale = floats(c, c->rows);
	if (l->norm && !l->post)
		moe_rms_norm_keep(l->h, l->scale, l->in, l->norm, c->rows, c->hidden, eps);
	else
		memcpy(l->h, l->in, n * sizeof *l->h);
	route(c, &l->router, l->h, c->rows, c->modality, l->router.bias);
	units_forward(c, &l->experts, l->sum, l->h, c->rows, l->router.kept.expert_id, l->router.kept.weight, c->k);
	if (l->shared.unit.n)
		shared_forward(c, &l->shared, l->sum, l->h);
	if (l->post)
		moe_rms_norm_keep(l->y, l->scale, l->sum, l->norm, c->rows, c->hidden, eps);
	else
		memcpy(l->y, l->sum, n * sizeof *l->y);
	if (l->norm)
		moe_add(l->y, l->in, n);
}

/* What arrives at the layer's input. */
static void layer_backward(struct routing_case *c, struct layer *l, const float *dy)
{
	size_t n = c->rows * c->hidden;
	float *dsum = floats(c, n), *dh = floats(c, n), *din = floats(c, n), *dnorm = l->norm ? gradient_of(c, l->norm) : NULL;
	double extra, main = dot(l->y, dy, n);

	if (l->post)
		moe_rms_norm_backward(dsum, dnorm, dy, l->sum, l->scale, l->norm, c->rows, c->hidden);
	else
		memcpy(dsum, dy, n * sizeof *dsum);
	units_backward(&l->experts, dh, l->router.dweight, dsum, l->h, l->router.kept.weight);
	if (l->shared.unit.n)
		shared_backward(c, &l->shared, dh, dsum, l->h);
	extra = router_backward(c, &l->router, "dlogit.main");
	router_gradient(c, &l->router, l->h, dh);
	if (!l->norm || !l->post)
		if (find(&c->want, "grad.normed"))
			compare_floats(c, "grad.normed", dh, n);
	if (l->norm) {
		memcpy(din, dy, n * sizeof *din);
		if (l->post)
			moe_add(din, dh, n);
		else
			moe_rms_norm_backward(din, dnorm, dh, l->in, l->scale, l->norm, c->rows, c->hidden);
		compare_floats(c, "grad.hidden", din, n);
	}
	compare_loss(c, "main", main);
	compare_loss(c, "total", main + extra);
}

static void add_layer(struct routing_case *c, struct layer *l)
{
	l->post = says(c, "form", "post");
	l->in = data(&c->input, says(c, "form", "ffn") ? "normed" : "hidden");
	l->norm = add_weight(c, "ffn_norm.weight");
	add_router(c, &l->router);
	add_experts(c, &l->experts);
	if (!add_unit(c, &l->shared.unit, "shared_experts"))
		add_unit(c, &l->shared.unit, "shared_expert");
}

/* Noise of the draws u, for the logits. */
static void add_noise(struct routing_case *c, struct routed *r)
{
	const float *u = data(&c->input, "u");
	size_t n = c->rows * c->experts;

	if (!u)
		return;
	r->noise = floats(c, n);
	for (size_t i = 0; i < n; i++)
		r->noise[i] = moe_router_noise((double)u[i]);
	compare_floats(c, "noise", r->noise, n);
}

/* The bias that follows the load: three steps with other rows, the weights as they are. */
static void run_bias_steps(struct routing_case *c, const struct layer *l)
{
	size_t steps = (size_t)setting(c, "steps", 0);
	float *bias = floats(c, (steps + 1) * c->experts);
	int32_t *count = moe_arena_zero(&c->a, steps * c->experts, sizeof *count);

	memcpy(bias, l->router.bias, c->experts * sizeof *bias);
	for (size_t t = 0; t < steps; t++) {
		struct routed r = l->router;
		char name[64];
		float *now = bias + t * c->experts;
		snprintf(name, sizeof name, "step.%zu.normed", t);
		route(c, &r, t ? data(&c->input, name) : l->in, c->rows, c->modality, now);
		count_choices(c, &r, count + t * c->experts);
		memcpy(now + c->experts, now, c->experts * sizeof *now);
		moe_balance_step(now + c->experts, r.sums.load, MOE_N_MODALITIES, &c->router, setting(c, "u", 0));
	}
	compare_floats(c, "bias_step", bias, (steps + 1) * c->experts);
	compare_ints(c, "count_step", count, steps * c->experts);
}

/* The dense layer that all experts are copies of: its output is theirs, and its gradient the sum of theirs. */
static void run_dense(struct routing_case *c, const struct layer *l)
{
	struct units dense = {0};
	size_t n = c->rows * c->hidden, of_unit = 3 * c->width * c->hidden;
	float *y = floats(c, n), *one = floats(c, c->rows), *dh = floats(c, n), *dweight = floats(c, c->rows), *sum = floats(c, of_unit);
	double gap = 0;

	if (!add_unit(c, &dense, "dense"))
		return;
	for (size_t r = 0; r < c->rows; r++)
		one[r] = 1;
	units_forward(c, &dense, y, l->h, c->rows, moe_arena_zero(&c->a, c->rows, sizeof(int32_t)), one, 1);
	compare_floats(c, "dense_y", y, n);
	compare_floats(c, "dense_y", l->y, n);
	units_backward(&dense, dh, dweight, c->dy, l->h, one);
	for (size_t e = 0; e < c->experts; e++)         /* gate and up lie before down, as in each expert */
		moe_add(sum, l->experts.gate_up[e], of_unit);
	for (size_t i = 0; i < of_unit; i++)
		gap = fmax(gap, fabs((double)sum[i] - (double)dense.gate_up[0][i]));
	verdict(c, "sum of the experts' gradients", gap <= 1e-4, gap, 0);
}

/* Rows [first, first + n) of the layer, whose gradients are added. */
static void run_micro(struct routing_case *c, const struct layer *l, const float *dy, size_t first, size_t n)
{
	struct routed r = l->router;
	struct units u = l->experts;
	const float *h = l->in + first * c->hidden;
	float *y = floats(c, n * c->hidden), *dh = floats(c, n * c->hidden), zeros[MOST_EXPERTS] = {0};

	route(c, &r, h, n, c->modality + first, NULL);
	units_forward(c, &u, y, h, n, r.kept.expert_id, r.kept.weight, c->k);
	units_backward(&u, dh, r.dweight, dy + first * c->hidden, h, r.kept.weight);
	moe_router_backward(r.dlogit, r.dweight, &r.kept, n, c->k, &c->router, &(struct moe_router_pull){zeros, 0});
	router_gradient(c, &r, h, dh);
}

/* Two micro-batches, whose gradients add up to those of all rows; and the clipping of their norm. */
static void run_accumulation(struct routing_case *c, const struct layer *l, const float *dy)
{
	size_t cut = (size_t)setting(c, "micro", 0), total = c->all.total;
	struct moe_params params = {c->all.p, c->all.n, total};
	float *sum = floats(c, total);
	struct moe_optimiser *o;
	double norm, most = setting(c, "max_norm", 1), want = json_number_value(json_object_get(c->doc, "global_norm"));

	for (size_t i = 0; i < 2; i++) {
		char prefix[64];
		memset(c->all.g, 0, total * sizeof *c->all.g);
		run_micro(c, l, dy, i ? cut : 0, i ? c->rows - cut : cut);
		snprintf(prefix, sizeof prefix, "grad.micro.%zu", i);
		compare_gradients(c, prefix, c->all.g);
		moe_add(sum, c->all.g, total);
	}
	compare_gradients(c, "grad", sum);
	if (moe_optimiser_new(&o, &params, MOE_UNIT_F32, NULL, &c->d))
		exit(2);
	norm = moe_optimiser_norm(o, sum, NULL);
	moe_optimiser_free(o);
	verdict(c, "norm of the gradient", fabs(norm - want) <= TOLERANCE * want, norm, want);
	for (size_t i = 0; i < total; i++)
		sum[i] *= (float)fmin(1, most / norm);
	compare_gradients(c, "clipped", sum);
}

static void run_layer(struct routing_case *c)
{
	struct layer l = {0};
	size_t n = c->rows * c->hidden;
	float *dy = floats(c, n);
	double scale = setting(c, "main_scale", 1);

	for (size_t i = 0; i < n; i++)
		dy[i] = (float)(scale * (double)c->dy[i]);
	add_layer(c, &l);
	add_noise(c, &l.router);
	layer_forward(c, &l);
	compare_choice(c, &l.router);
	if (find(&c->want, "normed"))
		compare_floats(c, "normed", l.h, n);
	compare_floats(c, "y", l.y, n);
	layer_backward(c, &l, dy);
	run_dense(c, &l);
	compare_gradients(c, "grad", c->all.g);
	if (setting(c, "steps", 0) > 0)
		run_bias_steps(c, &l);
	if (setting(c, "micro", 0) > 0)
		run_accumulation(c, &l, dy);
}

/* ---- auxiliary routers ---- */

/* Rows of a pool, and the experts of it. */
struct aux_pool {
	size_t rows, out, row[1024], expert[MOST_EXPERTS];
	struct moe_aux_dense dense;
	float *fc1, *fc2, *x, *logit;
	uint8_t *target;
};

static void add_aux(struct routing_case *c, struct aux_pool *p, size_t m, const float *h, const uint8_t *chosen)
{
	char name[64];

	*p = (struct aux_pool){0};
	for (size_t e = 0; e < c->experts; e++)
		if (!c->router.pools.n || c->router.pools.of[e] == m)
			p->expert[p->out++] = e;
	for (size_t r = 0; r < c->rows; r++)
		if ((!c->router.pools.n || c->modality[r] == m) && p->rows < 1024)
			p->row[p->rows++] = r;
	snprintf(name, sizeof name, "aux.%zu.fc1.weight", m);
	p->fc1 = add_weight(c, name);
	snprintf(name, sizeof name, "aux.%zu.fc2.weight", m);
	p->fc2 = add_weight(c, name);
	make_dense(c, &p->dense.fc1, p->fc1, c->hidden / 2, c->hidden);
	make_dense(c, &p->dense.fc2, p->fc2, p->out, c->hidden / 2);
	p->x = floats(c, p->rows * c->hidden);
	p->logit = floats(c, p->rows * p->out);
	p->target = moe_arena_zero(&c->a, p->rows * p->out, 1);
	for (size_t i = 0; i < p->rows; i++) {
		memcpy(p->x + i * c->hidden, h + p->row[i] * c->hidden, c->hidden * sizeof *p->x);
		for (size_t j = 0; j < p->out; j++)
			p->target[i * p->out + j] = chosen[p->row[i] * c->experts + p->expert[j]];
	}
}

static double run_aux_pool(struct routing_case *c, size_t m, const float *h, const uint8_t *chosen, float *aux_logit)
{
	struct aux_pool p;
	double n, loss;
	float *d;
	char name[64];

	add_aux(c, &p, m, h, chosen);
	n = (double)(p.rows * p.out);
	loss = moe_aux_loss(&p.dense, p.x, p.target, p.rows, (float)(1 / n), gradient_of(c, p.fc1), gradient_of(c, p.fc2), p.logit,
			    moe_arena_get(&c->a, moe_aux_scratch(&p.dense, p.rows), 1)) / n;
	d = floats(c, p.rows * p.out);
	for (size_t i = 0; i < p.rows * p.out; i++) {
		aux_logit[p.row[i / p.out] * c->experts + p.expert[i % p.out]] = p.logit[i];
		d[i] = (float)((1 / (1 + exp(-(double)p.logit[i])) - p.target[i]) / n);
	}
	snprintf(name, sizeof name, "daux.%zu", m);
	compare_floats(c, name, d, p.rows * p.out);
	snprintf(name, sizeof name, "bce.%zu", m);
	compare_loss(c, name, loss);
	return loss;
}

static void run_aux(struct routing_case *c)
{
	struct layer l = {0};
	size_t n = c->rows * c->experts, pools = c->router.pools.n ? c->router.pools.n : 1;
	uint8_t *chosen = moe_arena_zero(&c->a, n, 1), *predicted = moe_arena_zero(&c->a, n, 1);
	float *logit = floats(c, n);
	struct moe_router_rows in;
	struct moe_router_choice out;
	struct weights main = c->all;
	double loss = 0;

	add_layer(c, &l);
	layer_forward(c, &l);
	c->all.n = 0;           /* the main model has no gradient: what is compared from here on are the auxiliary routers' */
	for (size_t i = 0; i < c->rows * c->k; i++)
		if (l.router.kept.expert_id[i] >= 0)
			chosen[i / c->k * c->experts + (size_t)l.router.kept.expert_id[i]] = 1;
	for (size_t i = 0; i < n; i++)
		logit[i] = -INFINITY;
	for (size_t m = 0; m < pools; m++)
		loss += run_aux_pool(c, m, l.h, chosen, logit);
	compare_loss(c, "total", loss);
	for (size_t i = 0; i < main.total; i++)
		verdict(c, "gradient of the main model", c->all.g[i] == 0, (double)c->all.g[i], 0);
	compare_gradients(c, "grad", c->all.g);
	compare_bytes(c, "target", chosen, n);
	compare_floats(c, "aux_logit", logit, n);
	in = (struct moe_router_rows){.rows = c->rows, .logit = l.router.kept.logit, .modality = c->modality};
	out = (struct moe_router_choice){l.router.kept.expert_id, l.router.kept.weight, l.router.compared};
	if (moe_router_choose_predicted(&out, &in, logit, NULL, &c->router, &c->a, &c->d))
		exit(2);
	for (size_t i = 0; i < n; i++)
		predicted[i] = logit[i] > 0;
	compare_bytes(c, "predicted", predicted, n);
	memset(l.router.sums.load, 0, MOE_N_MODALITIES * c->experts * sizeof *l.router.sums.load);
	moe_router_measure(&l.router.sums, &l.router.kept, c->modality, c->rows, c->k, &c->router);
	compare_choice(c, &l.router);
	compare_floats(c, "normed", l.h, c->rows * c->hidden);
	memset(l.sum, 0, c->rows * c->hidden * sizeof *l.sum);
	units_forward(c, &l.experts, l.sum, l.h, c->rows, l.router.kept.expert_id, l.router.kept.weight, c->k);
	moe_add(l.sum, l.in, c->rows * c->hidden);
	compare_floats(c, "y", l.sum, c->rows * c->hidden);
}

/* ---- mixture-of-depths ---- */

struct depth {
	struct routed router;
	struct units experts;
	float *attn_norm, *ffn_norm, *w, *qkv_w, *o_w;
	struct moe_dense qkv, o;
	struct moe_heads heads;
	struct moe_packed_rows span;
	size_t n, pairs;                /* rows kept; pairs of numbers of a head that turn */
	uint32_t *row;
	uint8_t *taken, *modality;      /* [T], [n] */
	float *logit, *cosine, *sine, *minus;
	float *in, *h1, *attn_scale, *turned, *out, *kept, *mid, *h2, *ffn_scale, *made;
	void *scratch;
};

static float *add_attention(struct routing_case *c, const char *which)
{
	char name[48];

	snprintf(name, sizeof name, "self_attn.%s_proj.weight", which);
	return add_weight(c, name);
}

static void add_depth(struct routing_case *c, struct depth *t)
{
	size_t heads = (size_t)setting(c, "heads", 1);

	t->attn_norm = add_weight(c, "attn_norm.weight");
	t->ffn_norm = add_weight(c, "ffn_norm.weight");
	t->w = add_weight(c, "depth.weight");
	t->qkv_w = add_attention(c, "q");
	add_attention(c, "k");
	add_attention(c, "v");
	t->o_w = add_attention(c, "o");
	make_dense(c, &t->qkv, t->qkv_w, 3 * c->hidden, c->hidden);
	make_dense(c, &t->o, t->o_w, c->hidden, c->hidden);
	add_router(c, &t->router);
	add_experts(c, &t->experts);
	t->heads = (struct moe_heads){.unit = MOE_UNIT_F32, .heads = heads, .kv_heads = heads, .dim = c->hidden / heads};
	t->pairs = t->heads.dim / 2;
}

/* Who passes the layer. */
static void take(struct routing_case *c, struct depth *t, const float *x)
{
	uint32_t *segment = moe_arena_zero(&c->a, 2, sizeof *segment);

	t->logit = floats(c, c->rows);
	t->taken = moe_arena_zero(&c->a, c->rows, 1);
	t->row = moe_arena_zero(&c->a, c->rows, sizeof *t->row);
	t->modality = moe_arena_zero(&c->a, c->rows, 1);
	moe_depth_scores(t->logit, x, t->w, c->rows, c->hidden);
	if (moe_depth_choose(t->taken, t->logit, c->rows, setting(c, "depth_capacity", 0), &c->a, &c->d))
		exit(2);
	for (size_t r = 0; r < c->rows; r++)
		if (t->taken[r]) {
			t->modality[t->n] = c->modality[r];
			t->row[t->n++] = (uint32_t)r;
		}
	segment[1] = (uint32_t)t->n;
	t->span = (struct moe_packed_rows){.n_text = t->n, .segment = segment, .n_segments = 1, .longest = t->n};
	t->in = floats(c, t->n * c->hidden);
	moe_gather_rows(t->in, c->hidden, x, c->hidden, t->row, t->n, c->hidden, sizeof(float));
}

static void turn(struct routing_case *c, const struct depth *t, float *qkv, const float *sine, bool scale)
{
	const struct moe_rope_settings rope = {.axes = 1, .theta = setting(c, "rope_theta", 100)};

	for (size_t i = 0; i < t->n; i++, qkv += 3 * c->hidden) {
		moe_rope_turn(qkv, 2 * t->heads.heads, t->heads.dim, t->pairs, t->cosine + i * t->pairs, sine + i * t->pairs, &rope);
		for (size_t j = 0; scale && j < c->hidden; j++)
			qkv[j] /= sqrtf((float)t->heads.dim);
	}
}

static void make_turns(struct routing_case *c, struct depth *t)
{
	const struct moe_rope_settings rope = {.axes = 1, .theta = setting(c, "rope_theta", 100)};
	const int32_t *position = data(&c->input, "position");
	int32_t *own = moe_arena_zero(&c->a, t->n, sizeof *own);

	for (size_t i = 0; i < t->n; i++)
		own[i] = position[t->row[i]];
	t->cosine = floats(c, t->n * t->pairs);
	t->sine = floats(c, t->n * t->pairs);
	t->minus = floats(c, t->n * t->pairs);
	moe_rope_table(t->cosine, t->sine, own, t->n, t->pairs, &rope, floats(c, t->pairs));
	for (size_t i = 0; i < t->n * t->pairs; i++)
		t->minus[i] = -t->sine[i];
}

static void depth_forward(struct routing_case *c, struct depth *t)
{
	size_t h = c->hidden, n = t->n * h;
	float eps = (float)json_number_value(json_object_get(c->doc, "rms_norm_eps"));

	t->h1 = floats(c, n);
	t->attn_scale = floats(c, t->n);
	t->turned = floats(c, 3 * n);
	t->out = floats(c, n);
	t->mid = floats(c, n);
	t->h2 = floats(c, n);
	t->ffn_scale = floats(c, t->n);
	t->made = floats(c, n);
	t->kept = floats(c, moe_attention_kept(&t->heads, &t->span));
	t->scratch = moe_arena_get(&c->a, moe_attention_scratch(&t->heads, &t->span), 1);
	make_turns(c, t);
	moe_rms_norm_keep(t->h1, t->attn_scale, t->in, t->attn_norm, t->n, h, eps);
	moe_dense_forward(&t->qkv, t->h1, h, t->n, t->turned, 3 * h, false);
	turn(c, t, t->turned, t->sine, true);
	moe_attention_keep(&t->heads, &t->span, t->out, t->turned, t->kept, t->scratch);
	memcpy(t->mid, t->in, n * sizeof *t->mid);
	moe_dense_forward(&t->o, t->out, h, t->n, t->mid, h, true);
	moe_rms_norm_keep(t->h2, t->ffn_scale, t->mid, t->ffn_norm, t->n, h, eps);
	route(c, &t->router, t->h2, t->n, t->modality, NULL);
	memcpy(t->made, t->mid, n * sizeof *t->made);
	units_forward(c, &t->experts, t->made, t->h2, t->n, t->router.kept.expert_id, t->router.kept.weight, c->k);
}

/* Rows [n][width] of the kept ones among all, the others filled. */
static const float *spread(struct routing_case *c, const struct depth *t, const float *from, size_t width, const float *others, float fill)
{
	float *to = floats(c, c->rows * width);

	for (size_t i = 0; i < c->rows * width; i++)
		to[i] = others ? others[i] : fill;
	for (size_t i = 0; i < t->n; i++)
		memcpy(to + t->row[i] * width, from + i * width, width * sizeof *to);
	return to;
}

static void compare_depth(struct routing_case *c, const struct depth *t, const float *x, const float *y)
{
	const struct moe_router_kept *k = &t->router.kept;
	int32_t *id = moe_arena_zero(&c->a, c->rows * c->k, sizeof *id), count[MOST_EXPERTS];

	for (size_t i = 0; i < c->rows * c->k; i++)
		id[i] = -1;
	for (size_t i = 0; i < t->n; i++)
		memcpy(id + t->row[i] * c->k, k->expert_id + i * c->k, c->k * sizeof *id);
	count_choices(c, &t->router, count);
	compare_floats(c, "depth_logit", t->logit, c->rows);
	compare_bytes(c, "depth", t->taken, c->rows);
	compare_floats(c, "entry", x, c->rows * c->hidden);
	compare_floats(c, "attend", spread(c, t, t->mid, c->hidden, x, 0), c->rows * c->hidden);
	compare_floats(c, "normed", spread(c, t, t->h2, c->hidden, NULL, 0), c->rows * c->hidden);
	compare_floats(c, "router_logit", spread(c, t, k->logit, c->experts, NULL, -INFINITY), c->rows * c->experts);
	compare_floats(c, "choice", spread(c, t, t->router.compared, c->experts, NULL, -INFINITY), c->rows * c->experts);
	compare_floats(c, "weight", spread(c, t, k->weight, c->k, NULL, 0), c->rows * c->k);
	compare_ints(c, "expert_id", id, c->rows * c->k);
	compare_ints(c, "count", count, c->experts);
	compare_floats(c, "y", y, c->rows * c->hidden);
}

static void depth_backward(struct routing_case *c, struct depth *t, const float *x)
{
	size_t h = c->hidden, n = t->n * h;
	float *dx = floats(c, c->rows * h), *dy = floats(c, n), *dlogit = floats(c, t->n), *dh = floats(c, n), *dout = floats(c, n), *dqkv = floats(c, 3 * n);
	float *along = floats(c, (t->n + 2) * 5 * h), zeros[MOST_EXPERTS] = {0};

	memcpy(dx, c->dy, c->rows * h * sizeof *dx);
	moe_depth_backward(dx, dy, gradient_of(c, t->w), dlogit, x, t->made, t->logit, t->w, t->row, t->n, h);
	compare_floats(c, "dlogit.depth", spread(c, t, dlogit, 1, NULL, 0), c->rows);
	units_backward(&t->experts, dh, t->router.dweight, dy, t->h2, t->router.kept.weight);
	moe_router_backward(t->router.dlogit, t->router.dweight, &t->router.kept, t->n, c->k, &c->router, &(struct moe_router_pull){zeros, 0});
	compare_floats(c, "dlogit.main", spread(c, t, t->router.dlogit, c->experts, NULL, 0), c->rows * c->experts);
	router_gradient(c, &t->router, t->h2, dh);
	moe_rms_norm_backward(dy, gradient_of(c, t->ffn_norm), dh, t->mid, t->ffn_scale, t->ffn_norm, t->n, h);
	moe_dense_gradient(MOE_UNIT_F32, gradient_of(c, t->o_w), dy, h, h, t->out, h, h, t->n, along);
	moe_dense_backward(&t->o, dy, h, t->n, dout, h, false);
	moe_attention_backward(&t->heads, &t->span, dqkv, dout, t->turned, t->kept, t->scratch);
	turn(c, t, dqkv, t->minus, true);
	moe_dense_gradient(MOE_UNIT_F32, gradient_of(c, t->qkv_w), dqkv, 3 * h, 3 * h, t->h1, h, h, t->n, along);
	moe_dense_backward(&t->qkv, dqkv, 3 * h, t->n, dh, h, false);
	moe_rms_norm_backward(dy, gradient_of(c, t->attn_norm), dh, t->in, t->attn_scale, t->attn_norm, t->n, h);
	for (size_t i = 0; i < t->n; i++)
		moe_add(dx + t->row[i] * h, dy + i * h, h);
	compare_floats(c, "grad.hidden", dx, c->rows * h);
}

static void run_depth(struct routing_case *c)
{
	struct depth t = {0};
	const float *x = data(&c->input, "hidden");
	float *y = floats(c, c->rows * c->hidden);
	double main;

	add_depth(c, &t);
	take(c, &t, x);
	depth_forward(c, &t);
	moe_depth_merge(y, x, t.made, t.logit, t.row, t.n, c->rows, c->hidden);
	compare_depth(c, &t, x, y);
	depth_backward(c, &t, x);
	compare_gradients(c, "grad", c->all.g);
	main = dot(y, c->dy, c->rows * c->hidden);
	compare_loss(c, "main", main);
	compare_loss(c, "total", main);
}

/* ---- soft targets ---- */

static void run_distil(struct routing_case *c)
{
	const struct moe_tensor *t = find(&c->input, "student_logit");
	const float *student = data(&c->input, "student_logit"), *teacher = data(&c->input, "teacher_logit");
	const int32_t *label = data(&c->input, "label");
	size_t rows = t->shape[0], v = t->shape[1], labelled = 0;
	float *slope = floats(c, rows * v), tau = (float)setting(c, "tau", 1);
	double kl = 0, ce = 0;

	for (size_t r = 0; r < rows; r++)
		labelled += label[r] >= 0;
	for (size_t r = 0; r < rows; r++) {
		float *at = slope + r * v;
		if (label[r] < 0)
			continue;
		ce -= (double)moe_cross_entropy(MOE_UNIT_F32, at, NULL, student + r * v, v, v, (size_t)label[r], (float)(coefficient(c, "ce") / (double)labelled));
		kl += (double)moe_soft_targets(at, student + r * v, teacher + r * v, v, tau, (float)(coefficient(c, "kl") / (double)labelled));
	}
	kl /= (double)labelled;
	ce /= (double)labelled;
	compare_loss(c, "kl", kl);
	compare_loss(c, "ce", ce);
	compare_loss(c, "total", coefficient(c, "kl") * kl + coefficient(c, "ce") * ce);
	compare_floats(c, "grad.student_logit", slope, rows * v);
}

/* ---- vector quantiser ---- */

/* Codes, straight-through gradient and moving means. */
static void run_quantiser(struct routing_case *c)
{
	const struct moe_tensor *t = find(&c->input, "z");
	const float *z = data(&c->input, "z");
	size_t rows = t->shape[0], width = t->shape[1], n = rows * width, codes = find(&c->init, "ema_count")->shape[0];
	float *code = add_weight(c, "codes"), *count = add_weight(c, "ema_count"), *sum = add_weight(c, "ema_sum"), *q = floats(c, n), *dz = floats(c, n);
	int32_t *id = moe_arena_zero(&c->a, rows, sizeof *id), *rows_of = moe_arena_zero(&c->a, codes, sizeof *rows_of);
	struct moe_codes_chosen chosen = {moe_arena_zero(&c->a, codes, sizeof *chosen.n), moe_arena_zero(&c->a, codes * width, sizeof *chosen.sum)};
	double main = 0, commit = 0, share = coefficient(c, "commit");

	moe_codes_nearest(id, z, rows, code, codes, width);
	for (size_t i = 0; i < n; i++) {
		q[i] = code[(size_t)id[i / width] * width + i % width];
		dz[i] = c->dy[i];
		main += (double)q[i] * (double)c->dy[i];
		commit += ((double)z[i] - (double)q[i]) * ((double)z[i] - (double)q[i]) / (double)n;
	}
	moe_codes_commit(dz, z, q, rows, width, (float)(share / (double)n));
	moe_codes_choose(&chosen, id, z, rows, width);
	moe_codes_update(count, sum, code, codes, width, &chosen, setting(c, "decay", 0));
	for (size_t i = 0; i < codes; i++)
		rows_of[i] = (int32_t)chosen.n[i];
	compare_ints(c, "code", id, rows);
	compare_ints(c, "count", rows_of, codes);
	compare_floats(c, "y", q, n);
	compare_loss(c, "main", main);
	compare_loss(c, "commit", commit);
	compare_loss(c, "total", main + share * commit);
	compare_floats(c, "grad.z", dz, n);
	compare_floats(c, "ema_count_new", count, codes);
	compare_floats(c, "ema_sum_new", sum, codes * width);
	compare_floats(c, "codes_new", code, codes * width);
}

/* ---- cases ---- */

static bool is_layer(const struct routing_case *c) { return json_object_get(c->s, "form") && !says(c, "form", "depth"); }
static bool is_aux(const struct routing_case *c) { return is_layer(c) && json_object_get(c->s, "frozen"); }
static bool is_depth(const struct routing_case *c) { return says(c, "form", "depth"); }
static bool is_distil(const struct routing_case *c) { return setting(c, "tau", 0) > 0; }
static bool is_quantiser(const struct routing_case *c) { return coefficient(c, "commit") > 0; }

/* What a case is, and what compares it; the first that fits. */
static const struct kind {
	bool (*is)(const struct routing_case *c);
	void (*run)(struct routing_case *c);
} kinds[] = {{is_aux, run_aux}, {is_layer, run_layer}, {is_depth, run_depth}, {is_distil, run_distil}, {is_quantiser, run_quantiser}};

/* Tensors of `want` that no comparison has asked for: what this program has not looked at, it must not pass. */
static void compare_completeness(struct routing_case *c)
{
	for (size_t i = 0; i < c->want.h.n_tensors; i++) {
		const char *name = c->want.h.tensor[i].name;
		if (!c->want.met[i] && strcmp(name, "group_score"))     /* the choice says who was in which group */
			verdict(c, name, false, (double)NAN, 0);
	}
}

static bool run_case(const char *dir, const char *name, void (*tally)(const char *label, bool good))
{
	char path[4096];
	struct routing_case c = {.name = name, .tally = tally};
	const struct kind *kind = NULL;
	bool ready;

	snprintf(path, sizeof path, "%s/%s/case.json", dir, name);
	c.doc = json_load_file(path, 0, NULL);
	c.s = json_object_get(c.doc, "settings");
	if (!c.s) {
		json_decref(c.doc);
		return false;
	}
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds && !kind; i++)
		kind = kinds[i].is(&c) ? &kinds[i] : NULL;
	snprintf(path, sizeof path, "%s/%s", dir, name);
	ready = kind && open_file(&c.init, path, "init", false) && open_file(&c.input, path, "input", true) && open_file(&c.want, path, "want", true);
	if (!kind)
		printf("%s: a case of a kind that is not compared\n", path);
	else
		tally("routing", ready);
	if (ready) {
		read_settings(&c);
		read_weights(&c);
		c.dy = data(&c.input, "dy");
		c.modality = data(&c.input, "modality");
		kind->run(&c);
		compare_completeness(&c);
	}
	close_file(&c.init);
	close_file(&c.input);
	close_file(&c.want);
	moe_arena_free(&c.a);
	json_decref(c.doc);
	return kind;
}

static int is_case(const struct dirent *e) { return e->d_name[0] >= '0' && e->d_name[0] <= '9'; }

bool golden_routing(const char *dir, void (*tally)(const char *label, bool good))
{
	struct dirent **list;
	int n = scandir(dir, &list, is_case, alphasort);
	bool any = false;

	for (int i = 0; i < n; i++) {
		any |= run_case(dir, list[i]->d_name, tally);
		free(list[i]);
	}
	if (n >= 0)
		free(list);
	return any;
}
