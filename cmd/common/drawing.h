/* Pictures that are made of image tokens, written as PNG files: the first, or all of them where the name has a number. */
#ifndef MOE_CMD_DRAWING_H
#define MOE_CMD_DRAWING_H

#include "image/png.h"
#include "model/model.h"
#include "stage/answer.h"

struct drawing {
	const struct moe_model *model;
	const char *name;
	long n;                         /* pictures that were written */
	char *last;                     /* the name of the last one */
	struct moe_png *png;
	struct moe_arena memory;
};

/* Dies where the model has no image tokens, or the name is no template. */
void drawing_init(struct drawing *w, const struct moe_model *m, const char *name);

/* Waits for the disk, where pictures were written. */
void drawing_free(struct drawing *w);

/* The next picture, of the codes (from 0) of all its patches. */
enum moe_err drawing_write(struct drawing *w, const int32_t *code, struct moe_diag *d) MOE_CHECK_RESULT;

/* The pictures that an answer has; one that is not complete is told, and not written. */
enum moe_err drawing_answer(struct drawing *w, const struct moe_answer *a, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
