/* The arithmetic that a model computes in (exact or fast; kernel.h, rows.h), and the packed weights that the fast one reads. */
#ifndef MOE_MODEL_MATH_H
#define MOE_MODEL_MATH_H

#include "model/model.h"

const char *moe_math_name(enum moe_math math);

/* The arithmetic of that name, or MOE_N_MATHS. */
enum moe_math moe_math_find(const char *name);

/* What is computed when nothing else is asked for: fast where weights are of a block type, else exact. */
enum moe_math moe_math_default(const struct moe_model *m);

/* What a program computes of the model: products of layers [first, last] (none: first > last), and of the head. */
struct moe_math_range {
	size_t first, last;
	bool attention, experts, shared, head;  /* shared: what every token passes, dense layers too */
	size_t first_expert, n_experts;         /* which experts; n_experts 0: all from the first on */
};

/* All of it. */
struct moe_math_range moe_math_whole(const struct moe_model *m);

/* Calls fn for each matrix of the range, in a fixed order. */
void moe_math_each(struct moe_model *m, const struct moe_math_range *r, void (*fn)(void *to, struct moe_mat *w), void *to);

/* Bytes of the packed weights of a range, all of them in memory at once. */
uint64_t moe_math_nbytes(const struct moe_model *m, const struct moe_math_range *r);

/* What of the model's weights is packed: bytes of their files that are not read any more, and bytes of a file of packed weights that are read instead. */
void moe_math_packed(const struct moe_model *m, uint64_t *replaced, uint64_t *mapped);

/* From now on the products of the range are in that arithmetic. For fast, their weights are packed, once, or taken from the
 * model's file of packed weights (packfile.h); the router's stay as they are, and so do matrices
 * whose type has no packed form. The model must not be in use by other threads meanwhile. */
enum moe_err moe_model_use_math(struct moe_model *m, enum moe_math math, const struct moe_math_range *r, struct moe_pool *pool, struct moe_diag *d) MOE_CHECK_RESULT;

/* Releases the packed weights; moe_model_close does it. */
void moe_math_free(struct moe_model *m);

#endif
