/* Convolution stem: a picture's pixels to one vector per patch, by strided convolutions without biases. */
#ifndef MOE_NN_STEM_H
#define MOE_NN_STEM_H

#include <stdbool.h>

#include "kernel/kernel.h"
#include "nn/batch.h"

enum { MOE_MAX_CONV = 8 };

struct moe_conv {
	char name[32];
	int64_t in, out, kernel, stride, padding;
	bool silu;
};

/* Runs n convolutions over `planes` [channels][height][width]; weight[i] is [out][in · kernel · kernel] in the order in, y, x.
 * feature gets [rows · columns][out of the last], row major over the last map, whose size must be rows × columns (else MOE_EINPUT). */
enum moe_err moe_stem_forward(float *feature, size_t rows, size_t columns, const float *planes, size_t height, size_t width,
			      const struct moe_conv *conv, const struct moe_mat *weight, size_t n, const struct moe_compute *work, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
