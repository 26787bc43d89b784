/* Vector quantisation: each vector becomes the nearest of a book of codes (van den Oord, Vinyals and Kavukcuoglu 2017). A picture whose patches are quantised is
 * a row of whole numbers, which a model can predict like words; a decoder makes pixels of the codes again. */
#ifndef MOE_NN_QUANTISER_H
#define MOE_NN_QUANTISER_H

#include "nn/stem.h"

/* Of each row of z [n][width] the nearest row of code [codes][width], by the squared Euclidean distance; of equally near ones the first. */
void moe_codes_nearest(int32_t *id, const float *z, size_t n, const float *code, size_t codes, size_t width);

/* What makes pixels of codes: convolutions over the map of the codes' vectors, whose last gives each position the pixels of its patch. */
struct moe_picture_decoder {
	const struct moe_conv *conv;
	const struct moe_mat *weight;   /* [n], as in stem.h */
	size_t n;
	const float *code;              /* [codes][width] */
	size_t codes, width;
};

/* pixel [rows · columns][out of the last] of the codes id [rows · columns], each of which must be one of the book (else MOE_EINPUT). */
enum moe_err moe_picture_decode(float *pixel, const int32_t *id, size_t rows, size_t columns, const struct moe_picture_decoder *q, const struct moe_compute *work,
				struct moe_diag *d) MOE_CHECK_RESULT;

#endif
