/* The models that another one is made of: their tensors by logical name and place. */
#ifndef MOE_GRAFT_SOURCES_H
#define MOE_GRAFT_SOURCES_H

#include "model/bind.h"

struct moe_graft_source {
	char *logical, *name;           /* name: of a convolution, or NULL */
	int64_t layer, expert;
	struct moe_mat mat;
};

/* The tensors of one model, sorted. */
struct moe_graft_index {
	const struct moe_model *model;
	struct moe_graft_source *t;
	size_t n, cap, ignored;         /* ignored: tensors that the family ignores */
};

/* Indexes an open model, which is borrowed, with its mapped weights. *out begins with zeros, and is freed in any case. */
enum moe_err moe_graft_index_make(struct moe_graft_index *out, struct moe_model *m, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_graft_index_free(struct moe_graft_index *x);

/* The numbers of a tensor; NULL where the model has none of that name there. */
const struct moe_mat *moe_graft_find(const struct moe_graft_index *x, const char *logical, struct moe_place at);

#endif
