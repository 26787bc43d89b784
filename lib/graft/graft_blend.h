/* Numbers of one matrix as a sum of others, with normal noise:
 *
 *     x = sum of factor · term + normal · (deviation + share · root mean square of the sum's row)
 *
 * The noise is a function of the seed, the stream and the place alone. */
#ifndef MOE_GRAFT_BLEND_H
#define MOE_GRAFT_BLEND_H

#include <stdbool.h>

#include "kernel/kernel.h"

/* A part of a matrix: its rows from `row` and inputs from `col` on. */
struct moe_graft_part {
	const struct moe_mat *mat;
	size_t row, col;
	double factor;
};

struct moe_graft_blend {
	size_t rows, cols;
	struct moe_graft_part *term;    /* [n_terms]; 0: zeros */
	size_t n_terms;
	bool noise_alone;               /* the sum only says how large the noise is */
	double deviation, share;        /* of the noise: as it is, and relative to the root mean square of a row */
	uint64_t seed, stream;
};

/* Row r of it: to [cols]. False: not numbers. Threads may call it at once. */
bool moe_graft_blend_row(const struct moe_graft_blend *b, size_t r, float *to);

/* Is it a part of a matrix as it stands? Then *out is that. */
bool moe_graft_blend_plain(const struct moe_graft_blend *b, struct moe_mat *out);

#endif
