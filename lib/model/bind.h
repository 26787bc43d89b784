/* Binding: the only place where a name in a checkpoint meets a field of a struct. The same walk over all tensors of a spec counts them. */
#ifndef MOE_MODEL_BIND_H
#define MOE_MODEL_BIND_H

#include "model/model.h"
#include "model/names.h"

/* Fills the weights of *m from m->weights as m->spec->doc says. Errors name the tensor. */
enum moe_err moe_model_bind(struct moe_model *m, struct moe_diag *d) MOE_CHECK_RESULT;

/* The scales of an I8 tensor: one F32 for each output, in NAME_scale (or, as earlier versions wrote it, NAME.scale), which has the shape of NAME but for its
 * last axis. NULL: there are none. `index` may be NULL. */
const struct moe_tensor *moe_row_scales(const struct moe_checkpoint *weights, const char *of, size_t *index);

/* A tensor that the family names, where it is bound. */
struct moe_named {
	const char *logical;            /* "q", "gate": see names.h */
	struct moe_place at;
	enum moe_part part;
	bool matrix;                    /* else a vector, a table or a kernel, which is not quantised */
	struct moe_mat mat;             /* the numbers; one row where it is no matrix */
	unsigned rank;                  /* of the shape of what is no matrix */
	const uint64_t *shape;
	const struct moe_where *where;
};

/* Calls fn for every tensor of an open model in the order of the pass: embedding, final norm, head, layers (experts one by one), tower and projector. Binds the
 * model again on the way, with the same result. Stops at the first failure. */
enum moe_err moe_model_each(struct moe_model *m, enum moe_err (*fn)(void *arg, const struct moe_named *t), void *arg, struct moe_diag *d) MOE_CHECK_RESULT;

/* Calls fn for every tensor that a model of this spec has, in the same order. There are no weights: `mat` has its rows and columns alone, and `where` is
 * NULL. */
enum moe_err moe_spec_each(const struct moe_spec *s, enum moe_err (*fn)(void *arg, const struct moe_named *t), void *arg, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
