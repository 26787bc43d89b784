#include <math.h>

#include "plot/agreement.h"
#include "plot/plot_priv.h"

enum { ALL_ROWS = 2 };         /* same first expert, all the same */

/* Of first experts: the chance that both runs name the same, were they independent. */
static double chance_of(const uint64_t *a, const uint64_t *b, double tokens, size_t experts)
{
	double sum = 0;

	for (size_t e = 0; e < experts; e++)
		sum += (double)a[e] / tokens * ((double)b[e] / tokens);
	return sum;
}

/* Writes a layer's column of a modality, or of all (-1). Returns the tokens. */
static double fill(struct moe_figure *f, struct moe_fields *g, const struct moe_agreement *s, size_t layer, int modality)
{
	uint64_t *count[2] = {moe_figure_get(f, s->experts, sizeof(uint64_t)), moe_figure_get(f, s->experts, sizeof(uint64_t))};
	double tokens = 0, first = 0, all = 0;

	for (int m = 0; m < MOE_N_MODALITIES; m++) {
		const struct moe_agreement_part *p = &s->part[layer * MOE_N_MODALITIES + (size_t)m];
		if (modality >= 0 && m != modality)
			continue;
		tokens += (double)p->tokens;
		first += (double)p->first;
		all += (double)p->all;
		for (size_t e = 0; count[0] && count[1] && e < s->experts; e++) {
			count[0][e] += p->count[0][e];
			count[1][e] += p->count[1][e];
		}
	}
	if (!(tokens > 0) || !count[0] || !count[1])
		return 0;
	g->value[layer] = first / tokens;
	g->value[g->columns + layer] = all / tokens;
	g->count[layer] = first;
	g->count[g->columns + layer] = all;
	g->chance[layer] = chance_of(count[0], count[1], tokens, s->experts);
	return tokens;
}

static enum moe_err add_modality(struct moe_figure *f, const struct moe_agreement *s, int modality, struct moe_diag *d)
{
	const char **row = moe_figure_get(f, ALL_ROWS, sizeof *row);
	struct moe_facet *facet;
	struct moe_fields *g;
	double tokens = 0;

	MOE_TRY(moe_figure_add(f, &facet, MOE_FACET_FIELDS, moe_plot_modality(modality), d));
	g = &facet->fields;
	*g = (struct moe_fields){.row_name = "", .column_name = "layer", .row = row, .column = moe_figure_numbers(f, s->number, s->n_layers), .row_key = "what",
				 .value_name = "share", .count_name = "tokens"};
	MOE_TRY(moe_figure_fields(f, g, ALL_ROWS, s->n_layers, true, d));
	if (!row || !g->column)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	row[0] = "first expert";
	row[1] = "all experts";
	for (size_t l = 0; l < s->n_layers; l++)
		tokens = fmax(tokens, fill(f, g, s, l, modality));
	facet->about = moe_figure_text(f, "%.0f token%s", tokens, tokens == 1 ? "" : "s");
	return MOE_OK;
}

static bool has(const struct moe_agreement *s, int modality)
{
	for (size_t l = 0; l < s->n_layers; l++)
		if (s->part[l * MOE_N_MODALITIES + (size_t)modality].tokens)
			return true;
	return false;
}

enum moe_err moe_plot_agreement(struct moe_figure *f, const struct moe_agreement *s, struct moe_diag *d)
{
	size_t modalities = 0;
	double least = 1, most = 0;

	moe_figure_init(f, "agreement");
	for (int m = 0; s->begun && m < MOE_N_MODALITIES; m++)
		modalities += has(s, m);
	if (!modalities)
		return moe_fail(d, MOE_EUSAGE, "the two runs have no tokens in common");
	f->title = "Where two runs choose the same experts";
	f->scale = (struct moe_scale){MOE_SCALE_SHARE, 1};
	f->scale_end[0] = "no token";
	f->scale_end[2] = "all tokens";
	if (modalities > 1)
		MOE_TRY(add_modality(f, s, MOE_ALL_MODALITIES, d));
	for (int m = 0; m < MOE_N_MODALITIES; m++)
		if (has(s, m))
			MOE_TRY(add_modality(f, s, m, d));
	for (size_t l = 0; l < s->n_layers; l++) {
		double chance = f->facet[0].fields.chance[l];
		least = fmin(least, isnan(chance) ? least : chance);
		most = fmax(most, isnan(chance) ? most : chance);
	}
	f->about = moe_figure_text(f, "Share of the tokens that both runs sent to the same experts of a layer, in per cent; %zu experts, top %zu%s. By chance "
				   "%.3g to %.3g %% would share the first.%s", s->experts, s->k[0],
				   s->k[0] != s->k[1] ? moe_figure_text(f, " and top %zu", s->k[1]) : "", 100 * least, 100 * most,
				   s->left_out ? moe_figure_text(f, " Left out: %llu, where the runs have other tokens.", (unsigned long long)s->left_out) : "");
	f->reading = "First expert: that with the largest weight. All experts: the same ones, in any order. Chance: the two runs independent, each with its own load.";
	return MOE_OK;
}
