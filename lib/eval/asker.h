/* Asks a model about pictures, many at a time: a picture's rows, and what all its questions begin with, are computed once, and each question goes on from there.
 * The right answer is given to the model token by token; as long as the model would have said the same, that is its own answer too, and where it would not,
 * its own answer is generated from there. Answers are those of moe-run, bit for bit, whatever is asked beside them. */
#ifndef MOE_EVAL_ASKER_H
#define MOE_EVAL_ASKER_H

#include "eval/asked.h"
#include "image/crops.h"
#include "model/layer.h"
#include "report/load.h"
#include "stage/reply.h"

struct moe_ask {
	struct moe_asked *q;
	bool blind;                     /* the outcome is the question's `blind` */
};

/* A picture, or none, and what is asked of it. */
struct moe_carrier {
	struct moe_picture picture;     /* rgb NULL: there is none */
	const float *feature;           /* [grid.features][hidden] in its place, made before; or NULL */
	struct moe_patch_grid grid;
	struct moe_ask *ask;            /* [n] */
	size_t n;
	const int32_t *label;           /* [n_labels] of patches, -1: none; NULL: the patches are not asked */
	size_t n_labels;
	struct moe_patch_outcome *patches;      /* what came of it */
};

struct moe_asker;

/* Several askers may share model, plan and generation (greedy); each is for one thread. The plan may be NULL where all pictures come as features. Labels of
 * patches are read after `patch_layer` layers, through the final norm and the head. */
enum moe_err moe_asker_new(struct moe_asker **out, const struct moe_model *m, const struct moe_image_plan *plan, const struct moe_generation *g,
			   size_t patch_layer, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_asker_free(struct moe_asker *a);

/* Asks all there is to ask of n carriers at once, under what-if settings (NULL: none). `load` [layers], or NULL: the routing of pictures and of questions that
 * are not blind is added to it. */
enum moe_err moe_asker_run(struct moe_asker *a, const struct moe_carrier *c, size_t n, const struct moe_what_if_table *what_if, struct moe_load *load,
			   struct moe_diag *d) MOE_CHECK_RESULT;

#endif
