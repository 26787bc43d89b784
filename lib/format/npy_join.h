/* One .npy array of many tensors, joined along their rows: what probes are trained on. Values wait in a file without a name until it is known how many
 * there are, so memory does not grow with them. */
#ifndef MOE_FORMAT_NPY_JOIN_H
#define MOE_FORMAT_NPY_JOIN_H

#include <stdio.h>

#include "format/npy.h"

/* Zeroed: nothing yet. */
struct moe_npy_join {
	FILE *waiting;
	struct moe_tensor shape;        /* of the array: rows first */
};

/* Adds a tensor, whose first axis are rows; or its second one, which then comes first in the array. Type and other axes must be those of the tensors before. */
enum moe_err moe_npy_join_add(struct moe_npy_join *j, const struct moe_tensor *t, bool second, struct moe_diag *d) MOE_CHECK_RESULT;

/* Writes the array. Something must have been added. */
enum moe_err moe_npy_join_write(struct moe_npy_join *j, int fd, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_npy_join_free(struct moe_npy_join *j);

#endif
