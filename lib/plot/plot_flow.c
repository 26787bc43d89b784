#include "plot/plot_priv.h"

/* Tokens by pairs of experts, over k² since each token is k × k pairs; so what comes out of an expert is what it has. */
static enum moe_err add_flow(struct moe_figure *f, const struct moe_routing *r, int modality, struct moe_diag *d)
{
	size_t n = r->experts, layers = r->n_layers;
	double pairs = (double)r->k * (double)r->k;
	double *node = moe_figure_get(f, layers * n, sizeof *node), *link = moe_figure_get(f, layers * n * n, sizeof *link);
	size_t *number = moe_figure_get(f, layers, sizeof *number);
	struct moe_facet *facet;
	double tokens = 0;

	if (!node || !link || !number)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t l = 0; l < layers; l++) {
		struct moe_routing_part *p = moe_plot_part(r, l, modality);
		if (!p)
			return moe_fail(d, MOE_ENOMEM, "out of memory");
		number[l] = r->layer[l].number;
		tokens = (double)p->tokens > tokens ? (double)p->tokens : tokens;
		for (size_t e = 0; e < n; e++)
			node[l * n + e] = (double)p->count[e] / (double)r->k;
		for (size_t i = 0; i < n * n; i++)
			link[l * n * n + i] = (double)p->next[i] / pairs;
		moe_routing_part_free(p);
	}
	MOE_TRY(moe_figure_add(f, &facet, MOE_FACET_FLOW, moe_plot_modality(modality), d));
	facet->about = moe_plot_tokens(f, r, modality);
	facet->flow = (struct moe_flow_facet){.n_layers = layers, .experts = n, .layer = number, .tokens = tokens, .node = node, .link = link};
	return MOE_OK;
}

enum moe_err moe_plot_flow(struct moe_figure *f, const struct moe_routing *r, int modality, struct moe_diag *d)
{
	moe_figure_init(f, "flow");
	if (r->n_layers < 2)
		return moe_fail(d, MOE_EUSAGE, "a flow needs two layers or more");
	for (size_t l = 0; l + 1 < r->n_layers; l++)
		if (r->layer[l].next != r->layer[l + 1].number)
			return moe_fail(d, MOE_EUSAGE, "no trace tells of layers %zu and %zu together: no flow between them is known", r->layer[l].number, r->layer[l + 1].number);
	f->title = "How the tokens flow from layer to layer";
	f->about = moe_figure_text(f, "Tokens between the experts of neighbouring layers; top %zu of %zu experts%s. A token with several experts is divided evenly "
				   "among them.", r->k, r->experts, moe_plot_choice(f, r));
	f->reading = "Expert 3 of one layer and expert 3 of the next have nothing but their number and colour in common. Chance: were the two layers independent.";
	f->drawn = moe_figure_text(f, "The height of an expert, and of a stream, is its number of tokens. A stream has the colour of the expert that it comes from, "
				   "and is %s where it has more than one and a half times the tokens that chance would send there. "
				   "Experts of a layer stand by where their tokens come from.",
				   r->experts > MOE_FLOW_ALL ? "drawn only" : "strong");
	f->experts = r->experts;
	if (modality != MOE_ALL_MODALITIES || moe_plot_modalities(r) != 1)
		MOE_TRY(add_flow(f, r, modality, d));
	for (int m = 0; m < MOE_N_MODALITIES && modality == MOE_ALL_MODALITIES; m++)
		if (moe_plot_has(r, m))
			MOE_TRY(add_flow(f, r, m, d));
	return MOE_OK;
}
