/* The numbers of one tensor in another type: rows are read, rounded, and read back, so that what the rounding changed is measured. */
#ifndef MOE_CONVERT_REWRITE_H
#define MOE_CONVERT_REWRITE_H

#include "convert/targets.h"
#include "sys/pool.h"

/* What was changed: sums of squares of the changes and of the numbers, and the largest change. */
struct moe_loss {
	double error, reference, largest;
};

/* Who takes the bytes, in order; `scales`: they are the scales of an I8 tensor. */
typedef enum moe_err moe_rewrite_fn(void *arg, const void *bytes, size_t n, bool scales, struct moe_diag *d);

/* Converts a tensor in constant memory, on the threads of the pool; bytes and losses are the same for any number of them. Numbers that are not finite, and
 * such as become so in the new type, fail; where the type stays, they pass. */
enum moe_err moe_rewrite(const struct moe_targets *all, const struct moe_target *t, struct moe_pool *pool, moe_rewrite_fn *fn, void *arg, struct moe_loss *loss,
			 struct moe_diag *d) MOE_CHECK_RESULT;

/* Row r of a matrix in f32, wherever its inputs lie; false: a type without numbers. */
bool moe_rewrite_row(float *to, const struct moe_mat *w, uint64_t r);

#endif
