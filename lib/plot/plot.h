/* The pictures of moe-plot: each makes a figure, which the caller frees (also after a failure). What is missing for it is said (MOE_EUSAGE). */
#ifndef MOE_PLOT_PLOT_H
#define MOE_PLOT_PLOT_H

#include "plot/figure.h"
#include "plot/seen.h"
#include "plot/tokens.h"
#include "stats/routing.h"

/* Sums of one modality, or of all together. */
enum { MOE_ALL_MODALITIES = -1 };

/* Experts × layers, by modality: share of the choices that each expert got. */
enum moe_err moe_plot_load(struct moe_figure *f, const struct moe_routing *r, struct moe_diag *d) MOE_CHECK_RESULT;

/* Experts × experts, by layer: share of an expert's tokens that another one had, too. Needs MOE_ROUTING_TOGETHER. */
enum moe_err moe_plot_coactivation(struct moe_figure *f, const struct moe_routing *r, int modality, struct moe_diag *d) MOE_CHECK_RESULT;

/* Tokens from the experts of a layer to those of the next, all modalities and then each. Needs MOE_ROUTING_NEXT. */
enum moe_err moe_plot_flow(struct moe_figure *f, const struct moe_routing *r, int modality, struct moe_diag *d) MOE_CHECK_RESULT;

/* Each picture of the sequence, and again for each layer with its patches in the colours of their experts. picture and seen: [moe_tokens_pictures(t)], of the
 * caller's, who keeps the pictures as long as the figure. `other`: the same sequence in another run, to mark what differs; or NULL. */
enum moe_err moe_plot_picture(struct moe_figure *f, const struct moe_tokens *t, const struct moe_tokens *other, const struct moe_picture *picture,
			      const struct moe_seen *seen, struct moe_diag *d) MOE_CHECK_RESULT;

/* The text with its experts, layer by layer. `tokenizer` may be NULL: then the numbers of tokens stand in its place; so may `other`, the same sequence
 * in another run. */
enum moe_err moe_plot_text(struct moe_figure *f, const struct moe_tokens *t, const struct moe_tokens *other, const struct moe_tokenizer *tokenizer,
			   struct moe_diag *d) MOE_CHECK_RESULT;

/* A checkpoint of a training, by its trace. */
struct moe_checkpoint_sums {
	const char *name;
	const struct moe_routing *sums;
};

/* The load of each expert over checkpoints, by layer. */
enum moe_err moe_plot_training(struct moe_figure *f, const struct moe_checkpoint_sums *c, size_t n, int modality, struct moe_diag *d) MOE_CHECK_RESULT;

/* The load of the busiest expert over a training, from n bytes of its log (train/trainlog.h). `experts`: of its model, 0 where that is not known. */
enum moe_err moe_plot_log(struct moe_figure *f, const char *log, size_t n, size_t experts, struct moe_diag *d) MOE_CHECK_RESULT;

/* Experts × layers, by modality: how much more of the choices each expert got in `b` than in `a`. */
enum moe_err moe_plot_difference(struct moe_figure *f, const struct moe_routing *a, const struct moe_routing *b, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
