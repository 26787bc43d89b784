/* Which experts a piece of text went to: of one token its own, of a run of patches all of them. */
#ifndef MOE_PLOT_MIXTURE_H
#define MOE_PLOT_MIXTURE_H

#include "plot/figure.h"

enum { MOE_MIXTURE_PARTS = 12 };

struct moe_mixture {
	struct { unsigned expert; double share; } part[MOE_MIXTURE_PARTS];      /* by falling share; 0 to 1 */
	size_t n;                       /* the largest parts; the rest is left out */
};

/* Shares are means over the word's tokens of weights scaled to sum 1; without weights each of a token's experts counts the same. */
void moe_mixture_of(struct moe_mixture *m, const struct moe_text_facet *t, const struct moe_word *w, size_t layer);

#endif
