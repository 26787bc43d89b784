/* The tokens of one sequence and where they went: what the pictures of single tokens are made of. Sums over many sequences are stats/routing.h. */
#ifndef MOE_PLOT_TOKENS_H
#define MOE_PLOT_TOKENS_H

#include "model/spec.h"
#include "plot/figure.h"
#include "text/tokenizer.h"
#include "trace/trace.h"

struct moe_token_layer {
	size_t number, from;                    /* from: which of the traced layers it is */
	uint16_t *expert;                       /* [cap][k]; MOE_NO_EXPERT where nothing was traced */
	float *weight;                          /* [cap][k], or NULL */
};

struct moe_tokens {
	uint64_t seq;
	char *name;                             /* of the sequence, or NULL */
	size_t n, cap, k, experts;
	int32_t *token, *image, *patch;         /* [n]; image, patch: -1 text */
	int32_t *row, *column;                  /* [n]: positions on the last two axes, where there are several; else 0 */
	uint8_t *modality, *made;               /* [n]; made: the model wrote it */
	struct moe_token_layer *layer;
	size_t n_layers;
	size_t first, last;                     /* numbers of the layers to keep; set by the caller, 0 and SIZE_MAX for all */
	size_t most;                            /* no more tokens than these are kept; 0: all. Set by the caller */
	size_t left_out;
};

/* Takes a block of the sequence; all blocks are of the same layers. */
enum moe_err moe_tokens_add(struct moe_tokens *t, const struct moe_trace_info *info, const struct moe_trace_block *b, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_tokens_free(struct moe_tokens *t);

/* Pictures of the sequence: those that were seen, and, once they have been placed, those that were drawn. */
size_t moe_tokens_pictures(const struct moe_tokens *t);

/* Makes patches of the image tokens that the sequence has as text: pictures behind those that were seen, patch by patch in their order. Returns how many began. */
size_t moe_tokens_place_drawn(struct moe_tokens *t, const struct moe_spec *s);

static inline struct moe_chosen moe_tokens_chosen(const struct moe_tokens *t, size_t layer, size_t i)
{
	const struct moe_token_layer *l = &t->layer[layer];

	return (struct moe_chosen){l->expert + i * t->k, l->weight ? l->weight + i * t->k : NULL};
}

/* Has token i another first expert in layer number `layer` of t than in `other`? Tokens that are not the same, or not there, do not differ; nor where other is
 * NULL. */
bool moe_tokens_differ(const struct moe_tokens *t, const struct moe_tokens *other, size_t layer, size_t i);

/* The text of each token [n], in the figure's memory: as `tokenizer` decodes them, one after the other (characters that several tokens share go to the last of
 * them); without one their numbers. Patches have none (""). */
enum moe_err moe_tokens_text(const char ***out, struct moe_figure *f, const struct moe_tokens *t, const struct moe_tokenizer *tokenizer,
			     struct moe_diag *d) MOE_CHECK_RESULT;

#endif
