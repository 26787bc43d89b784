/* Heat maps of an ablation: experts by layers, a facet for each kind of rows and way. */
#ifndef MOE_ABLATE_EFFECT_MAP_H
#define MOE_ABLATE_EFFECT_MAP_H

#include "ablate/effect.h"
#include "plot/figure.h"

enum moe_effect_measure { MOE_EFFECT_LOSS, MOE_EFFECT_RIGHT, MOE_N_EFFECT_MEASURES };

/* The changes of loss, or of right answers. Free the figure in any case. */
enum moe_err moe_effects_map(struct moe_figure *f, const struct moe_effects *e, enum moe_effect_measure what, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
