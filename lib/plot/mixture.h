/* Which experts a piece of text went to: of one token its own, of a run of patches all of them. */
#ifndef MOE_PLOT_MIXTURE_H
#define MOE_PLOT_MIXTURE_H

#include "plot/figure.h"

enum { MOE_MIXTURE_PARTS = 12, MOE_MIXTURE_FEW = 3 };

struct moe_mixture {
	struct { unsigned expert; double share; } part[MOE_MIXTURE_PARTS];      /* by falling share; 0 to 1 */
	size_t n;                       /* the largest parts; what is missing to 1 are others */
};

/* Shares are means over the word's tokens of weights scaled to sum 1; without weights each of a token's experts counts the same. Of one token there are no
 * more than MOE_MIXTURE_FEW parts, since its bar is narrow. */
void moe_mixture_of(struct moe_mixture *m, const struct moe_text_facet *t, const struct moe_word *w, size_t layer);

#endif
