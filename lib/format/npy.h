/* NumPy's .npy, version 1.0, for taking tensors out. (numpy.lib.format describes it.) */
#ifndef MOE_FORMAT_NPY_H
#define MOE_FORMAT_NPY_H

#include "format/safetensors.h"

/* Writes a tensor. BF16, which NumPy does not have, is widened to f32; F8 and narrower types are refused. */
enum moe_err moe_npy_write(int fd, const struct moe_tensor *t, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
