/* From token ids with picture placeholders to rows: which row is text, which is which feature of which picture, and at which position. */
#ifndef MOE_MODEL_MERGE_H
#define MOE_MODEL_MERGE_H

#include "model/spec.h"

/* The grid of patches of one picture (of its first crop, where it has several), and the rows of hidden states that it becomes. */
struct moe_patch_grid {
	uint32_t rows, columns;
	size_t features;
};

/* Where the next token of a sequence stands: its position as text, and in a picture of image tokens that has begun. */
struct moe_cursor {
	uint32_t position;
	uint32_t picture;               /* 0: outside of one; else 1 and the image tokens of it that there are */
};

/* A sequence's rows after each placeholder became its features. Arrays come from an arena. */
struct moe_layout {
	size_t rows, axes;
	int32_t *token;                 /* [rows]: a feature keeps the placeholder's id */
	int32_t *position;              /* [axes][rows] */
	uint8_t *modality;              /* [rows]: 0 text, 1 image */
	int32_t *image, *patch;         /* [rows]: picture and patch (or feature) of it, -1 for text and image tokens, which belong to no picture that is given */
	int32_t *place;                 /* [rows]: the patch that an image token stands for, -1 for others; NULL where the model has none */
	struct moe_cursor next;         /* of the token that comes after */
};

/* Checks that the prompt is one that the model's specification defines; n ids. *n_pictures (may be NULL) gets the number of placeholders. */
enum moe_err moe_prompt_check(const struct moe_spec *s, const int32_t *token, size_t n, size_t *n_pictures, struct moe_diag *d) MOE_CHECK_RESULT;

/* Lays out n tokens; the i-th placeholder becomes the features of grid[i] (grid NULL: placeholders are text, as in a generated
 * token), and a grid that the model does not have fails with MOE_EINPUT, as does an image token outside of a picture. `next` is where the first token stands
 * (moe_first_position for a prompt). */
enum moe_err moe_layout_make(struct moe_layout *out, const struct moe_spec *s, const int32_t *token, size_t n, const struct moe_patch_grid *grid,
			     struct moe_cursor next, struct moe_arena *a, struct moe_diag *d) MOE_CHECK_RESULT;

/* End of the chunk of at most n rows (n >= 1) that begins at row `from`; rounded up to the end of a picture whose rows see each other. */
size_t moe_layout_chunk(const struct moe_layout *l, const struct moe_spec *s, size_t from, size_t n);

struct moe_cursor moe_first_position(const struct moe_spec *s);

/* Image tokens of a whole picture; 0 where the model has none. */
size_t moe_picture_tokens(const struct moe_spec *s);

/* What a token makes of cursor.picture, and of the cursor. */
uint32_t moe_picture_after(const struct moe_spec *s, uint32_t picture, int32_t token);
struct moe_cursor moe_cursor_after(const struct moe_spec *s, struct moe_cursor at, int32_t token);

#endif
