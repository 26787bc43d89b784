#include <string.h>

#include "plot/plot_priv.h"

struct moe_routing_part *moe_plot_part(const struct moe_routing *r, size_t layer, int modality)
{
	struct moe_routing_part *sum = moe_routing_part_new(r->experts, r->k, r->tables);

	for (int m = 0; sum && m < MOE_N_MODALITIES; m++)
		if (r->layer[layer].part[m] && (modality == MOE_ALL_MODALITIES || m == modality))
			moe_routing_part_join(sum, r->layer[layer].part[m], r->experts, r->k);
	return sum;
}

const char *moe_plot_modality(int modality) { return modality == MOE_ALL_MODALITIES ? "all" : moe_modality_name((unsigned)modality); }

/* Tokens of a layer. */
static uint64_t tokens_of(const struct moe_routing *r, size_t layer, int modality)
{
	uint64_t sum = 0;

	for (int m = 0; m < MOE_N_MODALITIES; m++)
		if (r->layer[layer].part[m] && (modality == MOE_ALL_MODALITIES || m == modality))
			sum += r->layer[layer].part[m]->tokens;
	return sum;
}

const char *moe_plot_tokens(struct moe_figure *f, const struct moe_routing *r, int modality)
{
	uint64_t least = UINT64_MAX, most = 0;

	for (size_t l = 0; l < r->n_layers; l++) {
		uint64_t n = tokens_of(r, l, modality);
		least = n < least ? n : least;
		most = n > most ? n : most;
	}
	if (least >= most)
		return moe_figure_text(f, "%llu token%s", (unsigned long long)most, most == 1 ? "" : "s");
	return moe_figure_text(f, "%llu to %llu tokens a layer", (unsigned long long)least, (unsigned long long)most);
}

bool moe_plot_has(const struct moe_routing *r, int modality)
{
	for (size_t l = 0; l < r->n_layers; l++)
		if (tokens_of(r, l, modality))
			return true;
	return false;
}

size_t moe_plot_modalities(const struct moe_routing *r)
{
	size_t n = 0;

	for (int m = 0; m < MOE_N_MODALITIES; m++)
		n += moe_plot_has(r, m);
	return n;
}

const char *moe_plot_choice(struct moe_figure *f, const struct moe_routing *r)
{
	return strcmp(r->choice, "token") ? moe_figure_text(f, ", chosen by the rule %s", r->choice) : "";
}

const char **moe_plot_layers(struct moe_figure *f, const struct moe_routing *r)
{
	const char **label = moe_figure_get(f, r->n_layers, sizeof *label);

	for (size_t l = 0; label && l < r->n_layers; l++)
		label[l] = moe_figure_text(f, "%zu", r->layer[l].number);
	return label;
}

void moe_plot_ratio(struct moe_figure *f, const char *chance)
{
	f->scale = (struct moe_scale){MOE_SCALE_RATIO, 0};
	f->scale_end[0] = "a quarter of chance, or less";
	f->scale_end[1] = chance;
	f->scale_end[2] = "four times chance, or more";
}
