/* From token ids with picture placeholders to rows: which row is text, which is which feature of which picture, and at which position. */
#ifndef MOE_MODEL_MERGE_H
#define MOE_MODEL_MERGE_H

#include "model/spec.h"

/* The grid of patches of one picture (of its first crop, where it has several), and the rows of hidden states that it becomes. */
struct moe_patch_grid {
	uint32_t rows, columns;
	size_t features;
};

/* A sequence's rows after each placeholder became its features. Arrays come from an arena. */
struct moe_layout {
	size_t rows, axes;
	int32_t *token;                 /* [rows]: a feature keeps the placeholder's id */
	int32_t *position;              /* [axes][rows] */
	uint8_t *modality;              /* [rows]: 0 text, 1 image */
	int32_t *image, *patch;         /* [rows]: picture and patch (or feature) of it, -1 for text */
	uint32_t next;                  /* text position of the token that comes after */
};

/* Checks that the prompt is one that the model's specification defines; n ids. *n_pictures (may be NULL) gets the number of placeholders. */
enum moe_err moe_prompt_check(const struct moe_spec *s, const int32_t *token, size_t n, size_t *n_pictures, struct moe_diag *d) MOE_CHECK_RESULT;

/* Lays out n tokens; the i-th placeholder becomes the features of grid[i] (grid NULL: placeholders are text, as in a generated
 * token), and a grid that the model does not have fails with MOE_EINPUT. `next` is the text position of the first text token
 * (moe_first_position for a prompt). */
enum moe_err moe_layout_make(struct moe_layout *out, const struct moe_spec *s, const int32_t *token, size_t n, const struct moe_patch_grid *grid,
			     uint32_t next, struct moe_arena *a, struct moe_diag *d) MOE_CHECK_RESULT;

/* End of the chunk of at most n rows (n >= 1) that begins at row `from`; rounded up to the end of a picture whose rows see each other. */
size_t moe_layout_chunk(const struct moe_layout *l, const struct moe_spec *s, size_t from, size_t n);

uint32_t moe_first_position(const struct moe_spec *s);

#endif
