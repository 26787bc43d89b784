#include "graft/graft_plan.h"

#include <string.h>

static bool plan_layer(struct moe_graft_plan *p, size_t l)
{
	struct moe_graft_layer *layer = &p->layer[l];
	size_t n;

	layer->dense = moe_spec_is_dense(&p->spec, l);
	n = layer->dense ? 1 : (size_t)p->spec.router.experts;
	layer->expert = moe_arena_zero(&p->memory, n, sizeof *layer->expert);
	for (size_t e = 0; layer->expert && e < n; e++) {
		layer->expert[e].parts = 1;
		layer->expert[e].scale = layer->expert[e].bias_scale = 1;
	}
	return layer->expert;
}

enum moe_err moe_graft_plan_init(struct moe_graft_plan *out, const struct moe_graft_index *source, size_t n, const struct moe_spec *spec, struct moe_diag *d)
{
	bool ok;

	out->source = source;
	out->n_sources = n;
	out->spec = *spec;
	out->layer = moe_arena_zero(&out->memory, (size_t)spec->n_layers, sizeof *out->layer);
	out->share = moe_arena_zero(&out->memory, n, sizeof *out->share);
	ok = out->layer && out->share;
	for (size_t l = 0; l < (size_t)spec->n_layers && ok; l++)
		ok = plan_layer(out, l);
	if (!ok)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	out->share[0] = 1;
	return MOE_OK;
}

void moe_graft_plan_free(struct moe_graft_plan *p)
{
	moe_arena_free(&p->memory);
	*p = (struct moe_graft_plan){0};
}

bool moe_graft_sum_add(struct moe_graft_plan *p, struct moe_graft_sum *s, struct moe_graft_term t)
{
	struct moe_graft_term *more = moe_arena_get(&p->memory, s->n + 1, sizeof *more);

	if (!more)
		return false;
	if (s->n)
		memcpy(more, s->term, s->n * sizeof *more);
	more[s->n] = t;
	s->term = more;
	s->n++;
	return true;
}
