/* A vector quantiser of pictures (nn/quantiser.h) in training: encoder, nearest code, decoder, and their backward pass.
 *
 *     z = encoder(picture), q = the code nearest to each row of z, p = decoder(q)
 *     loss = mean (p - picture)² + commitment · mean (z - q)²
 *
 * The gradient of q passes on to z as it is (straight through). No gradient reaches the codes: each is the mean of the rows that chose it, by exponentially
 * weighted counts and sums (van den Oord, Vinyals and Kavukcuoglu 2017, appendix A.1):
 *
 *     count = decay · count + (1 - decay) · rows      sum = decay · sum + (1 - decay) · Σ z      code = sum / count */
#ifndef MOE_GRAD_QUANTISER_GRAD_H
#define MOE_GRAD_QUANTISER_GRAD_H

#include "grad/stem_grad.h"

struct moe_quantiser {
	struct moe_stem encoder, decoder;
	size_t codes, width;
	const float *code;              /* [codes][width] */
};

/* Takes memory from the arena; `code` is borrowed. False: none left. */
bool moe_quantiser_plan(struct moe_quantiser *q, enum moe_unit unit, const struct moe_conv *encoder, size_t n_encoder, const struct moe_conv *decoder,
			size_t n_decoder, const float *code, size_t codes, struct moe_arena *a);

/* A picture on its way: a grid of patches, and what the backward pass needs. */
struct moe_quantiser_kept {
	size_t rows, columns, patch;
	struct moe_stem_kept encoder, decoder;
	float *z, *q;                   /* [rows · columns][width] */
	int32_t *id;                    /* [rows · columns] */
	float *wanted, *pixel;          /* [rows · columns][channels · patch · patch]: the picture, and what the decoder makes */
	double square, commitment;      /* sums of (pixel - wanted)² and (z - q)² */
};

/* Takes memory for a picture of so many patches. False: none left. */
bool moe_quantiser_kept_plan(struct moe_quantiser_kept *k, const struct moe_quantiser *q, size_t rows, size_t columns, size_t patch, struct moe_arena *a);

/* Bytes of scratch of either pass. */
size_t moe_quantiser_scratch(const struct moe_quantiser *q, size_t rows, size_t columns, size_t patch);

/* planes [channels][rows · patch][columns · patch], of which everything else is made. */
void moe_quantiser_keep(const struct moe_quantiser *q, struct moe_quantiser_kept *k, const float *planes, void *scratch);

/* Adds to the weights' gradients, of encoder and decoder in the model's order, those of square · k->square + commitment · k->commitment. */
void moe_quantiser_backward(const struct moe_quantiser *q, const struct moe_quantiser_kept *k, float *const *dencoder, float *const *ddecoder, float square,
			    float commitment, void *scratch);

/* dz [n][width] += the gradient of commitment · Σ (z - q)². */
void moe_codes_commit(float *dz, const float *z, const float *q, size_t n, size_t width, float commitment);

/* What rows have chosen: their number and sum for each code. */
struct moe_codes_chosen {
	uint64_t *n;                    /* [codes] */
	double *sum;                    /* [codes][width] */
};

/* Adds n rows. */
void moe_codes_choose(const struct moe_codes_chosen *c, const int32_t *id, const float *z, size_t n, size_t width);

/* Moves counts, sums and codes on by one step; a code whose count is 0 stays where it is. */
void moe_codes_update(float *count, float *sum, float *code, size_t codes, size_t width, const struct moe_codes_chosen *c, double decay);

#endif
