/* What the pictures of sums share. */
#ifndef MOE_PLOT_PLOT_PRIV_H
#define MOE_PLOT_PLOT_PRIV_H

#include "plot/plot.h"

/* The sums of a layer's modality, or of all, as a copy to be freed; NULL without memory. */
struct moe_routing_part *moe_plot_part(const struct moe_routing *r, size_t layer, int modality);

/* "text", or "all". */
const char *moe_plot_modality(int modality);

/* Tokens of a modality: the fewest and most of any layer, as "512 tokens" or "75 to 512 tokens". */
const char *moe_plot_tokens(struct moe_figure *f, const struct moe_routing *r, int modality);

/* Has any layer tokens of this modality? */
bool moe_plot_has(const struct moe_routing *r, int modality);

/* Modalities that have tokens. */
size_t moe_plot_modalities(const struct moe_routing *r);

/* ", experts chosen among a batch (NAME)" where tokens did not choose each by itself. */
const char *moe_plot_choice(struct moe_figure *f, const struct moe_routing *r);

/* Numbers of the layers, as labels. */
const char **moe_plot_layers(struct moe_figure *f, const struct moe_routing *r);

/* The scale of MOE_SCALE_RATIO with its ends named; `chance`: what stands in its middle. */
void moe_plot_ratio(struct moe_figure *f, const char *chance);

#endif
