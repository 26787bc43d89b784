/* Which type each part of a model gets: "q8_0", "experts=q4_k,attention=q8_0,head=q6_k", or "q4_k,head=q6_k". */
#ifndef MOE_CONVERT_TYPES_H
#define MOE_CONVERT_TYPES_H

#include "model/spec.h"

#define MOE_KEEP MOE_N_TYPES            /* the type that the source has, where the output's format has it too; else F32 */

/* A part's index is that of enum moe_part; MOE_PART_NORM has all norms, biases and tables, of every part. */
struct moe_types {
	enum moe_dtype part[MOE_N_PARTS];
};

/* Reads the text; NULL and "" keep everything. A type alone is for all parts, except that norms and routers are F32 then. */
enum moe_err moe_types_parse(struct moe_types *t, const char *text, struct moe_diag *d) MOE_CHECK_RESULT;

/* The type of a tensor of type `from` with rows of `cols` numbers. `matrix`: may its numbers share scales? `plain`: do the inputs of an output lie together?
 * *fallback: the part was to have another type, which this tensor cannot have. MOE_EUSAGE: the output's format (gguf or not) does not have the type. */
enum moe_err moe_types_choose(const struct moe_types *t, enum moe_part part, bool gguf, enum moe_dtype from, uint64_t cols, bool matrix, bool plain,
			      enum moe_dtype *to, bool *fallback, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
