/* From gradient to weights: AdamW (Loshchilov and Hutter 2019), Muon (Jordan et al. 2024), and the norm that the gradient is clipped by.
 *
 * A step's result is the same bits for any number of threads: work is cut into fixed pieces, and sums over pieces are made in their order. */
#ifndef MOE_TRAIN_OPTIMISER_H
#define MOE_TRAIN_OPTIMISER_H

#include "base/err.h"
#include "kernel/gemm.h"
#include "sys/pool.h"
#include "train/params.h"

/* Muon takes the matrices of the layers (params.h) and leaves all else to AdamW. */
enum moe_optimiser_kind { MOE_OPTIMISER_MUON, MOE_OPTIMISER_ADAMW };

/* What holds for one step. Zeros are no defaults here: a recipe has those. */
struct moe_optimiser_step {
	enum moe_optimiser_kind kind;
	double muon_rate, adamw_rate;   /* learning rates */
	double weight_decay;            /* AdamW: w is first multiplied by 1 - adamw_rate · weight_decay, in every tensor that it takes; Muon decays nothing */
	double scale;                   /* the gradient is multiplied by it on the way; 1, or what clipping says */
	const bool *frozen;             /* [tensors]: left as they are; NULL: none */
	const float *factor;            /* [tensors]: of both rates; NULL: 1 */
};

struct moe_optimiser;

/* `unit`: in what Muon's products are made. params, pool and frozen stay the caller's. */
enum moe_err moe_optimiser_new(struct moe_optimiser **out, const struct moe_params *params, enum moe_unit unit, struct moe_pool *pool,
			       struct moe_diag *d) MOE_CHECK_RESULT;
void moe_optimiser_free(struct moe_optimiser *o);

/* Bytes that moe_optimiser_new takes. */
uint64_t moe_optimiser_nbytes(const struct moe_params *params, const struct moe_pool *pool);

/* The state that a checkpoint holds: first moments (Muon's momentum among them) and second moments [total], and how many steps each tensor has
 * made [tensors], which AdamW's correction of the bias needs. */
float *moe_optimiser_first(struct moe_optimiser *o);
float *moe_optimiser_second(struct moe_optimiser *o);
uint64_t *moe_optimiser_steps(struct moe_optimiser *o);

/* Forgets the moments of the matrices: what Muon kept means nothing to AdamW, and the other way round. For a stage with the other kind. */
void moe_optimiser_forget_matrices(struct moe_optimiser *o);

/* Euclidean norm of the gradient [total] without frozen tensors; not finite where an entry is not. */
double moe_optimiser_norm(struct moe_optimiser *o, const float *gradient, const bool *frozen);

/* Changes the weights [total], and the moments. The gradient is only read, and must be finite. */
void moe_optimiser_step(struct moe_optimiser *o, const struct moe_optimiser_step *s, float *weights, const float *gradient);

/* Is this a tensor that no gradient moves (a router's choice bias, see balance.h; thresholds of auxiliary routers, see net.h; the codes of pictures, see
 * quantise.h)? The optimiser leaves it alone. */
bool moe_optimiser_skips(const struct moe_param *p);

#endif
