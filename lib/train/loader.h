/* Batches of packed samples for training and evaluation, made ahead by a thread of their own while the step before is computed.
 *
 * A batch is the next samples of the mix that are good, in the order of their draws; which thread made it, and when, changes nothing. Samples that are no good
 * (a broken picture, a word that the vocabulary lacks) are passed over, counted, and named. */
#ifndef MOE_TRAIN_LOADER_H
#define MOE_TRAIN_LOADER_H

#include "data/mix.h"
#include "data/packer.h"
#include "model/model.h"

enum { MOE_LOADED_NOTES = 16 };

struct moe_loaded {
	struct moe_packing *packing;    /* [n] */
	struct moe_packed *packed;      /* [n]: theirs */
	size_t n;
	struct moe_mix_position after;  /* where the mix stands behind it */
	uint64_t failed;                /* samples that were passed over on the way, */
	struct moe_diag note[MOE_LOADED_NOTES];  /* and why, of the first of them */
	size_t n_notes;
};

/* All of it is copied, but for spec, which is kept. */
struct moe_loader_options {
	const struct moe_spec *spec;
	const struct moe_model *model;  /* of one with image tokens: makes them, and is kept. NULL: pictures come as pixels */
	double draw, blank;             /* share of the samples that are text and then a picture, and share of those without the text (data/packer.h) */
	const char *directory;          /* the model's, for its tokenizer */
	const struct moe_mix_source *source;
	const struct moe_augment *augment;      /* [n_sources]; NULL: none */
	size_t n_sources;
	struct moe_mix_options mix;     /* `failed` is the loader's own */
	size_t batch, most_text;        /* most_text 0: pictures alone */
	const struct moe_type_weight *weight;   /* as in packer.h */
	size_t n_weights;
	bool others;                    /* every sample has the picture of the one before it, and no boxes; the first its own */
	bool ahead;
	const struct moe_mix_position *from;    /* go on there; NULL: from the beginning */
};

struct moe_loader;

/* MOE_EUSAGE for a model whose pictures are not fitted into grids; MOE_EMATCH when the data are not those that the position is of. The server of pictures must run
 * (image/feed.h). */
enum moe_err moe_loader_new(struct moe_loader **out, const struct moe_loader_options *o, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_loader_free(struct moe_loader *l);

/* The next batch, valid until the next call. The last may be smaller; MOE_END follows. MOE_EINPUT when a thousand samples in a row were no good. */
enum moe_err moe_loader_next(struct moe_loader *l, const struct moe_loaded **out, struct moe_diag *d) MOE_CHECK_RESULT;

/* Bytes that a loader holds at most, but for the samples that wait to be mixed. */
uint64_t moe_loader_nbytes(const struct moe_spec *s, size_t batch, size_t most_text);

#endif
