/* Where the patches of a picture lie on it, as a model's plan has them. */
#ifndef MOE_PLOT_SEEN_H
#define MOE_PLOT_SEEN_H

#include "image/crops.h"
#include "model/spec.h"
#include "plot/palette.h"

struct moe_seen {
	uint32_t width, height;         /* of the canvas, in pixels */
	uint32_t x, y, w, h;            /* the picture on it */
	uint32_t rows, columns, patch;  /* patches; side of one, in pixels */
	struct moe_rgb paper;           /* of the canvas beside the picture */
};

/* MOE_EUSAGE where tokens are no patches: the model makes other features of them, or cuts the picture into tiles. */
enum moe_err moe_seen_make(struct moe_seen *out, const struct moe_image_plan *plan, const struct moe_spec *s, const struct moe_picture *p,
			   struct moe_diag *d) MOE_CHECK_RESULT;

/* The picture, made smaller where its longer side is above `most`: to be shown, not to be seen by a model. *out is a copy, to be freed. */
enum moe_err moe_seen_shown(struct moe_picture *out, const struct moe_picture *p, uint32_t most, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
