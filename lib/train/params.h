/* The trained parameters of a model as one flat vector of f32: weights, gradient and the optimiser's moments are arrays of this shape, so that one table of offsets
 * serves them all. */
#ifndef MOE_TRAIN_PARAMS_H
#define MOE_TRAIN_PARAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/model.h"

/* One tensor. `matrix`: its rows and columns are those of a product in the layers (q, k, v, o, gate, up, down), which Muon may take. */
struct moe_param {
	char *name;                     /* as in the model's own files */
	char *logical;                  /* "q", "gate": see model/names.h */
	int64_t layer, expert;          /* -1: of none */
	enum moe_part part;
	size_t offset, count;           /* floats; offset is a multiple of 16, and so gaps may lie between tensors, which stay 0 */
	size_t rows, cols;
	bool matrix;
};

/* A matrix that is trained beside the model, of part MOE_N_PARTS, zero at first. */
struct moe_param_extra {
	const char *logical;
	size_t rows, cols;
};

/* In the order of their offsets: the model's, then those beside it. */
struct moe_params {
	struct moe_param *p;
	size_t n, total;                /* tensors; floats of the vector, gaps included */
};

/* The table for an open model with weights, and them in f32: *weights [total] is to be freed; *p begins with zeros and is freed in any case. A tensor that holds
 * several matrices, or lies other than [out][in], is refused (MOE_EUSAGE). `extra` [n_extra] get the names LOGICAL.0, LOGICAL.1, ... */
enum moe_err moe_params_make(struct moe_params *p, float **weights, struct moe_model *m, const struct moe_param_extra *extra, size_t n_extra,
			     struct moe_diag *d) MOE_CHECK_RESULT;
void moe_params_free(struct moe_params *p);

/* The first tensor of that logical name, layer and expert; NULL: there is none. */
const struct moe_param *moe_params_find(const struct moe_params *p, const char *logical, int64_t layer, int64_t expert);

#endif
