#include "graft/graft_operations.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graft/graft_priv.h"

#define DEVIATION 0.02          /* of rows of a router, as those of a new model */

static const struct {
	const char *name;
	enum moe_err (*run)(struct graft *g);
	char joint;                     /* between the numbers of a group */
	bool several;                   /* models */
} operations[MOE_N_GRAFTS] = {
	{"upcycle", moe_graft_upcycle, 0, false}, {"add", moe_graft_add, 0, false}, {"drop", moe_graft_drop, 0, false}, {"merge", moe_graft_merge, '+', false},
	{"split", moe_graft_split, 0, false}, {"reorder", moe_graft_reorder, 0, false}, {"copy", moe_graft_copy, '=', true}, {"mix", moe_graft_mix, 0, true},
	{"average", moe_graft_average, 0, true},
};

static const char *const routers[MOE_N_GRAFT_ROUTERS] = {"", "copy", "keep", "zero", "random"};

const char *moe_graft_name(enum moe_graft_operation o) { return operations[o].name; }

int moe_graft_find_name(const char *name)
{
	for (int i = 0; i < MOE_N_GRAFTS; i++)
		if (!strcmp(name, operations[i].name))
			return i;
	return -1;
}

int moe_graft_find_router(const char *name)
{
	for (int i = MOE_GRAFT_ROUTER_COPY; i < MOE_N_GRAFT_ROUTERS; i++)
		if (!strcmp(name, routers[i]))
			return i;
	return -1;
}

enum moe_err moe_graft_no_memory(const struct graft *g) { return moe_fail(g->d, MOE_ENOMEM, "out of memory"); }

enum moe_err moe_graft_begin(struct graft *g) { return moe_graft_plan_init(g->plan, g->source, g->n, &g->to, g->d); }

bool moe_graft_sums_to_one(const struct moe_router_settings *r)
{
	return r->chooses == MOE_CHOICE_TOKEN && r->scale == 1 && ((r->renormalise && r->eps == 0) || r->weight == MOE_WEIGHT_SOFTMAX_OF_CHOSEN);
}

bool moe_graft_divides(const struct moe_router_settings *r)
{
	return r->score == MOE_SCORE_SOFTMAX || r->renormalise || r->weight == MOE_WEIGHT_SOFTMAX_OF_CHOSEN;
}

void moe_graft_say(struct graft *g, enum moe_graft_claim claim, const char *why)
{
	g->promise->claim = claim;
	g->promise->why = why;
}

void moe_graft_new_row(const struct graft *g, struct moe_graft_expert *e)
{
	e->row.n = 0;
	e->row.share = 0;
	e->row.deviation = g->o->router == MOE_GRAFT_ROUTER_ZERO ? 0 : g->o->deviation > 0 ? g->o->deviation : DEVIATION;
}

/* ---- Do the models fit? ---- */

/* May the setting differ between models, for what is taken of them? */
static bool may_differ(const char *line, enum moe_graft_operation o)
{
	static const char *const always[] = {"text.", "chat.", "image.split", "router.batch", NULL};
	static const char *const experts[] = {"router.experts", "router.top_k", "router.pools", NULL};

	for (const char *const *p = always; *p; p++)
		if (!strncmp(line, *p, strlen(*p)))
			return true;
	for (const char *const *p = experts; *p && (o == MOE_GRAFT_COPY || o == MOE_GRAFT_MIX); p++)
		if (!strncmp(line, *p, strlen(*p)))
			return true;
	return false;
}

/* The value of the setting in a text of settings; "" where it is not there. */
static const char *find_line(const char *text, const char *line, size_t n)
{
	for (const char *p = text; p && *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
		if (!strncmp(p, line, n))
			return p;
	return "";
}

/* Every setting of `a` is in `b`, of models number m and k, with the same value. */
static enum moe_err same_settings(const struct graft *g, const char *a, const char *b, size_t m, size_t k)
{
	for (const char *p = a; *p; p = strchr(p, '\n') + 1) {
		int n = (int)strcspn(p, "\n");
		const char *other = find_line(b, p, strcspn(p, "="));
		if (may_differ(p, g->o->operation) || ((int)strcspn(other, "\n") == n && !memcmp(p, other, (size_t)n)))
			continue;
		return moe_fail(g->d, MOE_EMATCH, "the models do not fit: %s has \"%.*s\", %s \"%.*s\"", g->source[m].model->directory, n, p,
				g->source[k].model->directory, (int)strcspn(other, "\n"), other);
	}
	return MOE_OK;
}

static enum moe_err same_tokenizer(const struct graft *g, size_t m)
{
	char fingerprint[2][33], *json;
	size_t n;

	for (size_t i = 0; i < 2; i++) {
		MOE_TRY(moe_model_tokenizer(g->source[i * m].model->directory, &json, &n, fingerprint[i], g->d));
		free(json);
	}
	if (!strcmp(fingerprint[0], fingerprint[1]))
		return MOE_OK;
	return moe_fail(g->d, MOE_EMATCH, "the tokenizer of model %zu (%s) is not that of the first: the same numbers are other tokens", m + 1,
			g->source[m].model->directory);
}

static enum moe_err check_models(const struct graft *g)
{
	char *first = moe_spec_string(g->from);
	enum moe_err err = first ? MOE_OK : moe_graft_no_memory(g);

	for (size_t m = 1; m < g->n && !err; m++) {
		char *other = moe_spec_string(g->source[m].model->spec);
		err = other ? same_settings(g, first, other, 0, m) : moe_graft_no_memory(g);
		if (!err)
			err = same_settings(g, other, first, m, 0);
		if (!err)
			err = same_tokenizer(g, m);
		free(other);
	}
	free(first);
	return err;
}

static enum moe_err check_use(const struct graft *g)
{
	const char *name = operations[g->o->operation].name;

	if (g->n > 1 && !operations[g->o->operation].several)
		return moe_fail(g->d, MOE_EUSAGE, "%s takes one model", name);
	if (g->o->operation == MOE_GRAFT_COPY && g->n != 2)
		return moe_fail(g->d, MOE_EUSAGE, "copy takes two models: the one that gets experts, and the one that gives them");
	for (size_t m = 0; m < g->n; m++)
		if (g->source[m].model->spec->gguf)
			return moe_fail(g->d, MOE_EUSAGE, "%s is a GGUF file: moe-convert makes a folder of it, on which surgery is done",
					g->source[m].model->directory);
	return MOE_OK;
}

/* Auxiliary routers know the experts that there were. */
static void leave_out_aux(struct graft *g)
{
	if (!g->from->aux.routers)
		return;
	g->to.aux.routers = false;
	g->to.aux.threshold = MOE_AUX_HALF;
	if (g->o->convert.note)
		g->o->convert.note(g->o->convert.arg,
				   "the auxiliary routers, which know the experts that there were, are left out: moe-train --aux trains others");
}

static bool any_experts(const struct moe_spec *s)
{
	for (size_t l = 0; l < (size_t)s->n_layers; l++)
		if (!moe_spec_is_dense(s, l))
			return true;
	return false;
}

enum moe_err moe_graft_operate(struct moe_graft_plan *out, const struct moe_graft_index *source, size_t n, const struct moe_graft_options *o,
			       struct moe_graft_promise *promise, struct moe_diag *d)
{
	struct graft g = {.plan = out, .source = source, .n = n, .o = o, .from = source[0].model->spec, .to = *source[0].model->spec, .promise = promise,
			  .d = d};
	bool of_experts = o->operation != MOE_GRAFT_UPCYCLE && o->operation != MOE_GRAFT_MIX && o->operation != MOE_GRAFT_AVERAGE;

	*promise = (struct moe_graft_promise){.claim = MOE_GRAFT_NUMBERS};
	out->seed = o->seed;
	MOE_TRY(check_use(&g));
	MOE_TRY(check_models(&g));
	if (of_experts && !any_experts(g.from))
		return moe_fail(d, MOE_EUSAGE, "the model has no experts (moe-graft upcycle makes some)");
	if (o->operation != MOE_GRAFT_AVERAGE)
		leave_out_aux(&g);
	if (of_experts && o->top_k)
		g.to.router.top_k = o->top_k;
	MOE_TRY(moe_graft_lists(&g.list, o->list, o->n_lists, (size_t)g.from->n_layers, operations[o->operation].joint, &out->memory, d));
	return operations[o->operation].run(&g);
}
