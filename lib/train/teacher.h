/* The teacher of a run: another model whose network the trained one learns from (train/net.h). */
#ifndef MOE_TRAIN_TEACHER_H
#define MOE_TRAIN_TEACHER_H

#include "train/net.h"
#include "train/recipe.h"

/* May a model learn from the other? They must have the same tokenizer and vocabulary, and read pictures alike: patches, numbers, and every grid that the one may
 * get. MOE_EMATCH says what is not so; MOE_EUSAGE that the teacher has a part that moe_net does not know. */
enum moe_err moe_teacher_check(const struct moe_model *m, const struct moe_model *teacher, struct moe_diag *d) MOE_CHECK_RESULT;

/* Makes *t, but for its network, from a recipe: MOE_EUSAGE for layers that the two do not have. */
enum moe_err moe_teacher_read(struct moe_net_teacher *t, const struct moe_recipe *r, const struct moe_spec *own, const struct moe_spec *its,
			      struct moe_diag *d) MOE_CHECK_RESULT;

/* Is this a well-formed pair of layers, "2=4"? */
bool moe_teacher_match_parse(struct moe_net_match *to, const char *text);

#endif
