/* The convolution stem (nn/stem.h), forward and backward: pictures, or maps, to vectors of patches. Maps lie as [y][x][channel] here. */
#ifndef MOE_GRAD_STEM_GRAD_H
#define MOE_GRAD_STEM_GRAD_H

#include "grad/dense.h"
#include "nn/stem.h"

/* A convolution whose weights, [out][in][y][x] in the model, are turned to [out][y][x][in], row padded to an even number. */
struct moe_conv_dense {
	struct moe_conv conv;
	size_t k, ld;                   /* kernel² · in, and numbers of a row */
	float *turned;                  /* [out][ld] */
	struct moe_dense dense;
};

struct moe_stem {
	enum moe_unit unit;
	bool map;                       /* what comes in is a map, and no planes; to be set behind moe_stem_plan */
	size_t n;
	struct moe_conv_dense conv[MOE_MAX_CONV];
};

/* Takes memory from the arena. False: none left. */
bool moe_stem_plan(struct moe_stem *s, enum moe_unit unit, const struct moe_conv *conv, size_t n, struct moe_arena *a);

/* Makes the forms from weight[i], the model's; scratch as for moe_dense_pack. */
void moe_stem_pack(struct moe_stem *s, const float *const *weight, void *scratch);

/* What the backward pass of one picture needs, in numbers: the rows of the products, and the maps before silu. */
struct moe_stem_kept { void *rows[MOE_MAX_CONV], *map[MOE_MAX_CONV]; };

/* Sizes of maps: rows[i] and columns[i] of the output of convolution i, of a picture of so many pixels. */
void moe_stem_sizes(const struct moe_stem *s, size_t height, size_t width, size_t *rows, size_t *columns);

/* Takes memory for a picture from the arena. False: none left. */
bool moe_stem_kept_plan(struct moe_stem_kept *kept, const struct moe_stem *s, size_t height, size_t width, struct moe_arena *a);

/* Bytes of scratch of either pass. */
size_t moe_stem_scratch(const struct moe_stem *s, size_t height, size_t width);

/* feature [patches][out of the last], row stride ld, of planes [channels][height][width], or a map [height][width][channels]. */
void moe_stem_keep(const struct moe_stem *s, float *feature, size_t ld, const float *in, size_t height, size_t width, struct moe_stem_kept *kept,
		   void *scratch);

/* dweight[i] (in the model's order) += the gradients, of dfeature [patches][out of the last] with row stride ld. With din [height][width][channels]: that of
 * what came in is added there. */
void moe_stem_backward(const struct moe_stem *s, float *const *dweight, const float *dfeature, size_t ld, float *din, size_t height, size_t width,
		       const struct moe_stem_kept *kept, void *scratch);

#endif
