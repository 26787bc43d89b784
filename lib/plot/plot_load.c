#include <stdio.h>

#include "plot/plot_priv.h"

static void fill(struct moe_fields *g, const struct moe_routing *r, size_t layer, const struct moe_routing_part *p)
{
	double even = 0;

	for (size_t e = 0; e < r->experts; e++)
		even += moe_routing_even(p, r->experts, e);
	for (size_t e = 0; e < r->experts && p->choices; e++) {
		size_t i = e * g->columns + layer;
		if (!moe_routing_eligible(p, e))
			continue;
		g->count[i] = (double)p->count[e];
		g->value[i] = g->count[i] / (double)p->choices;
		g->chance[i] = even > 0 ? moe_routing_even(p, r->experts, e) / even : 1.0 / (double)r->experts;
	}
}

static enum moe_err add_modality(struct moe_figure *f, const struct moe_routing *r, int modality, struct moe_diag *d)
{
	struct moe_facet *facet;
	struct moe_fields *g;

	MOE_TRY(moe_figure_add(f, &facet, MOE_FACET_FIELDS, moe_plot_modality(modality), d));
	g = &facet->fields;
	facet->about = moe_plot_tokens(f, r, modality);
	*g = (struct moe_fields){.row_name = "expert", .column_name = "layer", .row = moe_figure_numbers(f, NULL, r->experts), .column = moe_plot_layers(f, r),
				 .row_experts = true, .value_name = "share", .count_name = "choices", .fine = r->experts > 16};
	MOE_TRY(moe_figure_fields(f, g, r->experts, r->n_layers, true, d));
	if (!g->row || !g->column)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t l = 0; l < r->n_layers; l++) {
		struct moe_routing_part *p = moe_plot_part(r, l, modality);
		if (!p)
			return moe_fail(d, MOE_ENOMEM, "out of memory");
		fill(g, r, l, p);
		moe_routing_part_free(p);
	}
	return MOE_OK;
}

/* Have tokens pools that are not all experts? */
static bool has_pools(const struct moe_routing *r)
{
	bool any = false;

	for (size_t l = 0; l < r->n_layers; l++)
		for (int m = 0; m < MOE_N_MODALITIES; m++) {
			const struct moe_routing_part *p = r->layer[l].part[m];
			any |= p && p->open != p->choices;
		}
	return any;
}

enum moe_err moe_plot_load(struct moe_figure *f, const struct moe_routing *r, struct moe_diag *d)
{
	char chance[40];

	moe_figure_init(f, "load");
	if (has_pools(r))
		snprintf(chance, sizeof chance, "as much as others of its pool");
	else
		snprintf(chance, sizeof chance, "%.3g %%", 100 / (double)r->experts);
	f->title = "Which experts the tokens went to";
	f->about = moe_figure_text(f, "Share of the choices of a layer that each expert got, in per cent; top %zu of %zu experts%s. By chance each would get %s.",
				   r->k, r->experts, moe_plot_choice(f, r), chance);
	f->reading = "A column adds up to 100. White: as much as by chance; orange: more, blue: less.";
	moe_plot_ratio(f, has_pools(r) ? "chance: even in a pool" : moe_figure_text(f, "chance: %s", chance));
	if (moe_plot_modalities(r) != 1)
		MOE_TRY(add_modality(f, r, MOE_ALL_MODALITIES, d));
	for (int m = 0; m < MOE_N_MODALITIES; m++)
		if (moe_plot_has(r, m))
			MOE_TRY(add_modality(f, r, m, d));
	return MOE_OK;
}
