/* How the experts of a layer are alike, and what they can write: from the weights alone, without a token. */
#ifndef MOE_MODEL_LIKENESS_H
#define MOE_MODEL_LIKENESS_H

#include <stdbool.h>

#include "model/model.h"

/* A token that an expert can write more of than the others of its layer. */
struct moe_written {
	int32_t token;
	double ratio;                   /* of its gain to the mean gain of the layer's experts */
};

struct moe_likeness {
	size_t experts, words;
	double *router;                 /* [experts][experts]: cosines of the router's rows */
	double *weights;                /* [experts][experts]: cosines of the experts, each all of its gate, up and down as one vector */
	struct moe_written *written;    /* [experts][words] by falling ratio */
	struct moe_arena memory;
};

/* Of a layer with experts. `words` 0: none are looked for, which saves 2 · vocabulary · hidden · width operations for each expert.
 *
 * The gain of expert e for token v is how strongly the columns of its down projection can move the token's logit, whatever their signs:
 * |(γ · (W_v - mean W)) D_e diag(|up_j|)|, with γ the weight of the final norm, W the head, up_j the row of the up projection that scales column j of D_e
 * (Geva et al. 2022 read such columns one by one). Gains are divided by their root mean square over the tokens, then compared with the mean over the experts.
 * Tokens that are suppressed (NULL: none) are left out. The words are at most the tokens that remain. */
enum moe_err moe_likeness_make(struct moe_likeness *out, const struct moe_model *m, size_t layer, size_t words, const bool *suppress, struct moe_pool *pool,
			       struct moe_diag *d) MOE_CHECK_RESULT;
void moe_likeness_free(struct moe_likeness *l);

#endif
