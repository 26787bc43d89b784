#include "graft/graft_load.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "stats/routing.h"
#include "trace/traces.h"

static enum moe_err check_info(const struct moe_trace_info *info, const struct moe_model *m, bool any_model, struct moe_diag *d)
{
	if (!any_model && info->model[0] && strcmp(info->model, m->fingerprint))
		return moe_fail(d, MOE_EMATCH, "the trace is of model %s, %s is %s (--any-model takes it all the same)", info->model, m->directory,
				m->fingerprint);
	if (info->experts != (size_t)m->spec->router.experts)
		return moe_fail(d, MOE_EMATCH, "the trace has %zu experts, the model %lld", info->experts, (long long)m->spec->router.experts);
	for (size_t l = 0; l < info->n_layers; l++)
		if (info->layer[l] >= (size_t)m->spec->n_layers)
			return moe_fail(d, MOE_EMATCH, "the trace has layer %zu, the model %lld layers", info->layer[l], (long long)m->spec->n_layers);
	return MOE_OK;
}

static void add_counts(double *load, const struct moe_routing *r)
{
	for (size_t l = 0; l < r->n_layers; l++)
		for (size_t m = 0; m < MOE_N_MODALITIES; m++)
			for (size_t e = 0; r->layer[l].part[m] && e < r->experts; e++)
				load[r->layer[l].number * r->experts + e] += (double)r->layer[l].part[m]->count[e];
}

static enum moe_err read_all(struct moe_routing_set *set, struct moe_traces *t, const char *const *path, const struct moe_model *m, bool any_model,
			     struct moe_diag *d)
{
	const struct moe_trace_info *info;
	struct moe_trace_block b;
	enum moe_err err;

	while (!(err = moe_traces_next(t, &info, &b, d))) {
		err = check_info(info, m, any_model, d);
		if (!err)
			err = moe_routing_set_add(set, info, &b, d);
		if (err)
			return moe_diag_path(d, path[moe_traces_input(t)]);
	}
	return err == MOE_END ? MOE_OK : err;
}

enum moe_err moe_graft_load(double **out, const char *const *path, size_t n, const struct moe_model *m, bool any_model, struct moe_diag *d)
{
	struct moe_traces_options o = {.any_model = any_model, .experts = (size_t)m->spec->router.experts};
	struct moe_routing_set set = {.last = SIZE_MAX};
	struct moe_traces *t;
	enum moe_err err;

	*out = moe_calloc((size_t)(m->spec->n_layers * m->spec->router.experts), sizeof **out);
	if (!*out)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	err = moe_traces_new(&t, &o, path, n, d);
	if (!err) {
		err = read_all(&set, t, path, m, any_model, d);
		moe_traces_free(t);
	}
	for (size_t i = 0; i < set.n && !err; i++)
		add_counts(*out, &set.kind[i]);
	moe_routing_set_free(&set);
	return err;
}
