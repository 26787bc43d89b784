/* Which tensors a stage leaves as they are. */
#ifndef MOE_TRAIN_FREEZE_H
#define MOE_TRAIN_FREEZE_H

#include "base/err.h"
#include "train/params.h"

/* Sets frozen[tensors] as the words say, one after the other:
 *
 *     [!][PART][@LAYERS[.EXPERTS]]
 *
 * PART is the name of a part (model/parts.h), or "all" or nothing for every one; LAYERS and EXPERTS are numbers or ranges such as 0-3, 2- or - (all). With !, what it says is
 * trained again. "vision", "experts@0-2", "!experts@-.4-7". Layers are those of the trunk; of the part vision they are those of an encoder of pictures. MOE_EUSAGE for a word that says nothing, or that no tensor of this model is meant by. */
enum moe_err moe_freeze(bool *frozen, const struct moe_params *params, char *const *words, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;

/* Is this a well-formed word? Of any model. */
enum moe_err moe_freeze_check(const char *word, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
