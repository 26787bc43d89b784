/* Trained weights as a model: a folder like the one that training began with, with other numbers. */
#ifndef MOE_TRAIN_EXPORT_H
#define MOE_TRAIN_EXPORT_H

#include "model/model.h"
#include "sys/pool.h"
#include "train/params.h"

struct moe_export {
	const char *families, *family_file;     /* as in struct moe_spec_options */
	const struct moe_params *params;        /* every tensor of the model */
	const float *weights;                   /* [params->total] */
	enum moe_dtype type;            /* of matrices: MOE_F32, MOE_BF16, or MOE_I8 with an F32 scale for each output; all else (stem, norms, router, tables) is F32 */
	struct moe_pool *pool;
};

/* Writes the folder, which must not be there yet or be empty; it appears when it is whole, and nothing stays of one that fails. *m is the model that gives names,
 * settings, tokenizer and the other small files. MOE_EUSAGE: the params are not those of the model, or no such type. MOE_EINPUT: a number is not finite. */
enum moe_err moe_export_model(const char *dir, struct moe_model *m, const struct moe_export *e, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
