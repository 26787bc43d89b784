#include <math.h>

#include "plot/plot_priv.h"

/* The layer of b with the number of a's; SIZE_MAX: there is none. */
static size_t layer_in(const struct moe_routing *b, size_t number)
{
	for (size_t l = 0; l < b->n_layers; l++)
		if (b->layer[l].number == number)
			return l;
	return SIZE_MAX;
}

static void fill(struct moe_fields *g, size_t layer, const struct moe_routing_part *a, const struct moe_routing_part *b, double *most)
{
	for (size_t e = 0; e < g->rows && a->choices && b->choices; e++) {
		size_t i = e * g->columns + layer;
		g->value[i] = (double)b->count[e] / (double)b->choices - (double)a->count[e] / (double)a->choices;
		*most = fmax(*most, fabs(g->value[i]));
	}
}

static enum moe_err add_modality(struct moe_figure *f, const struct moe_routing *a, const struct moe_routing *b, int modality, struct moe_diag *d)
{
	struct moe_facet *facet;
	struct moe_fields *g;

	MOE_TRY(moe_figure_add(f, &facet, MOE_FACET_FIELDS, moe_plot_modality(modality), d));
	g = &facet->fields;
	facet->about = moe_figure_text(f, "%s; %s", moe_plot_tokens(f, a, modality), moe_plot_tokens(f, b, modality));
	*g = (struct moe_fields){.row_name = "expert", .column_name = "layer", .row = moe_figure_numbers(f, NULL, a->experts), .column = moe_plot_layers(f, a),
				 .row_experts = true, .value_name = "change", .unit = MOE_UNIT_POINTS};
	MOE_TRY(moe_figure_fields(f, g, a->experts, a->n_layers, false, d));
	if (!g->row || !g->column)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t l = 0; l < a->n_layers; l++) {
		size_t other = layer_in(b, a->layer[l].number);
		struct moe_routing_part *x = moe_plot_part(a, l, modality), *y = other == SIZE_MAX ? NULL : moe_plot_part(b, other, modality);
		if (x && y)
			fill(g, l, x, y, &f->scale.most);
		moe_routing_part_free(x);
		moe_routing_part_free(y);
		if (!x || (!y && other != SIZE_MAX))
			return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	return MOE_OK;
}

enum moe_err moe_plot_difference(struct moe_figure *f, const struct moe_routing *a, const struct moe_routing *b, struct moe_diag *d)
{
	moe_figure_init(f, "difference");
	if (a->experts != b->experts)
		return moe_fail(d, MOE_EMATCH, "%zu experts against %zu: there is nothing to compare expert by expert", a->experts, b->experts);
	f->title = "How the load of the experts differs between two runs";
	f->about = moe_figure_text(f, "Share of the choices of a layer that each expert got in the second run, less that in the first, in percentage points; "
				   "%zu experts, top %zu%s.",
				   a->experts, a->k, a->k != b->k ? moe_figure_text(f, " and top %zu", b->k) : "");
	f->reading = "A column adds up to 0. Orange: more in the second run, blue: less. Of equal runs every field is 0.";
	f->scale = (struct moe_scale){MOE_SCALE_CHANGE, 0.01};
	if (moe_plot_modalities(a) != 1)
		MOE_TRY(add_modality(f, a, b, MOE_ALL_MODALITIES, d));
	for (int m = 0; m < MOE_N_MODALITIES; m++)
		if (moe_plot_has(a, m) && moe_plot_has(b, m))
			MOE_TRY(add_modality(f, a, b, m, d));
	f->scale_end[0] = moe_figure_text(f, "%.3g points less", 100 * f->scale.most);
	f->scale_end[1] = "the same";
	f->scale_end[2] = moe_figure_text(f, "%.3g points more", 100 * f->scale.most);
	return MOE_OK;
}
