/* The vector quantiser of a model with image tokens in training (grad/quantiser_grad.h): its encoder, its codes and its decoder; the rest of the model stays as it is.
 *
 * Pictures are dealt out to a fixed number of lanes, whose gradients and sums are added in order, so that bits do not depend on the number of threads. */
#ifndef MOE_TRAIN_QUANTISE_H
#define MOE_TRAIN_QUANTISE_H

#include "data/packed.h"
#include "kernel/gemm.h"
#include "model/model.h"
#include "sys/pool.h"
#include "train/params.h"

struct moe_quantise;

/* That of a model that is open with its weights, which are copied. MOE_EUSAGE for one without image tokens. */
enum moe_err moe_quantise_new(struct moe_quantise **out, struct moe_model *m, enum moe_unit unit, struct moe_pool *pool, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_quantise_free(struct moe_quantise *q);

/* As those of a network (net.h); they hold the whole model's. */
const struct moe_params *moe_quantise_params(const struct moe_quantise *q);
float *moe_quantise_weights(struct moe_quantise *q);
float *moe_quantise_gradient(struct moe_quantise *q);
void moe_quantise_changed(struct moe_quantise *q);

/* Bytes that it takes for steps of so many pictures. */
uint64_t moe_quantise_nbytes(const struct moe_spec *s, size_t pictures);

/* Is this a weight of the quantiser's? A model without image tokens has none. Training one leaves the other's as they are. */
bool moe_quantise_has(const struct moe_spec *s, const struct moe_param *p);

struct moe_quantise_result {
	double total, picture, commitment;      /* mean squares as they stand before their factor; of the normalised picture */
	uint64_t pictures, patches;
	uint64_t codes;                         /* that some patch chose */
	double psnr;                            /* of the pixels as bytes, from the mean of their squares over all pictures, in decibels */
	bool finite;
};

/* Losses of a batch and, with `backward`, the gradient of picture + factor · commitment. */
enum moe_err moe_quantise_step(struct moe_quantise *q, const struct moe_packed *batch, size_t count, double factor, bool backward,
			       struct moe_quantise_result *out, struct moe_diag *d) MOE_CHECK_RESULT;

/* Moves the codes on by what the last step's rows chose. Codes that hardly any row chooses begin anew, at rows that random numbers of (seed, step) name. */
void moe_quantise_move(struct moe_quantise *q, double decay, uint64_t seed, uint64_t step);

/* Sums over batches: squares of bytes, and which codes were chosen. Begin with zeros and free `chosen`. */
struct moe_quantise_sums {
	double squares;
	uint64_t numbers, pictures, failed;
	uint64_t *chosen;                       /* [codes] */
};

/* Adds the last step's. */
enum moe_err moe_quantise_count(const struct moe_quantise *q, struct moe_quantise_sums *s, struct moe_diag *d) MOE_CHECK_RESULT;
double moe_quantise_psnr(double squares, uint64_t numbers);
uint64_t moe_quantise_codes(const struct moe_quantise *q, const uint64_t *chosen);

#endif
