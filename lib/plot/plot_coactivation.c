#include "plot/plot_priv.h"

static enum moe_err add_layer(struct moe_figure *f, const struct moe_routing *r, size_t layer, const struct moe_routing_part *p, struct moe_diag *d)
{
	struct moe_facet *facet;
	struct moe_fields *g;
	size_t n = r->experts;

	MOE_TRY(moe_figure_add(f, &facet, MOE_FACET_FIELDS, moe_figure_text(f, "layer %zu", r->layer[layer].number), d));
	facet->about = moe_figure_text(f, "%llu tokens", (unsigned long long)p->tokens);
	facet->layer = (int)r->layer[layer].number;
	g = &facet->fields;
	*g = (struct moe_fields){.row_name = "of the tokens of expert", .column_name = "also had expert", .row_key = "expert", .column_key = "other",
				 .row = moe_figure_numbers(f, NULL, n), .column = moe_figure_numbers(f, NULL, n),
				 .row_experts = true, .column_experts = true, .value_name = "share", .count_name = "tokens", .fine = n > 16};
	MOE_TRY(moe_figure_fields(f, g, n, n, true, d));
	if (!g->row || !g->column)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n && p->count[i]; j++) {
			if (i == j)
				continue;
			g->count[i * n + j] = (double)(p->together[i * n + j] + p->together[j * n + i]);
			g->value[i * n + j] = g->count[i * n + j] / (double)p->count[i];
			g->chance[i * n + j] = (double)(r->k - 1) / (double)(n - 1);
		}
	return MOE_OK;
}

enum moe_err moe_plot_coactivation(struct moe_figure *f, const struct moe_routing *r, int modality, struct moe_diag *d)
{
	double chance = r->experts > 1 ? 100 * ((double)r->k - 1) / ((double)r->experts - 1) : 0;

	moe_figure_init(f, "coactivation");
	if (r->k < 2)
		return moe_fail(d, MOE_EUSAGE, "each token has one expert: none are together");
	f->title = "Which experts work together";
	f->about = moe_figure_text(f, "Of the tokens that one expert got, how many per cent another one got, too; top %zu of %zu experts%s%s%s. By chance %.3g %%.",
				   r->k, r->experts, moe_plot_choice(f, r),
				   modality == MOE_ALL_MODALITIES ? "" : ", tokens of ", modality == MOE_ALL_MODALITIES ? "" : moe_plot_modality(modality),
				   chance);
	f->reading = moe_figure_text(f, "Read along a row: it adds up to %zu. White: as much as by chance; orange: more, blue: less.", 100 * (r->k - 1));
	moe_plot_ratio(f, moe_figure_text(f, "chance: %.3g %%", chance));
	for (size_t l = 0; l < r->n_layers; l++) {
		struct moe_routing_part *p = moe_plot_part(r, l, modality);
		enum moe_err err = !p ? moe_fail(d, MOE_ENOMEM, "out of memory") : p->tokens ? add_layer(f, r, l, p, d) : MOE_OK;
		moe_routing_part_free(p);
		MOE_TRY(err);
	}
	return MOE_OK;
}
