/* NumPy's .npy. (numpy.lib.format describes it.) */
#ifndef MOE_FORMAT_NPY_H
#define MOE_FORMAT_NPY_H

#include "format/safetensors.h"

/* Does the file begin as .npy does? */
bool moe_npy_is(const uint8_t *bytes, size_t n);

/* Parses a whole file of n bytes in place, versions 1 to 3, numbers in little-endian order. *fortran: the first axis is the one that lies together. The tensor
 * has no name. */
enum moe_err moe_npy_parse(struct moe_tensor *t, bool *fortran, const uint8_t *bytes, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;

/* Writes a tensor (version 1.0). BF16, which NumPy does not have, is widened to f32; F8 and narrower types are refused. */
enum moe_err moe_npy_write(int fd, const struct moe_tensor *t, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
