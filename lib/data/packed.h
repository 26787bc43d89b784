/* A picture with its questions as one sequence, as training takes it. */
#ifndef MOE_DATA_PACKED_H
#define MOE_DATA_PACKED_H

#include <stddef.h>
#include <stdint.h>

/* The picture comes first; every segment of text sees the picture and itself only, and its positions begin anew. Arrays are the caller's. */
struct moe_packed {
	const float *planes;            /* [channels][rows·patch][columns·patch], normalised; rows and columns 0: no picture */
	uint32_t rows, columns;
	const int32_t *label;           /* [rows·columns] tokens of the patches, -1: none; NULL: none at all */
	size_t n_text;
	const int32_t *token, *target;  /* [n_text]; target -1: no loss */
	const int32_t *segment;         /* [n_text]: 0, 1, ... */
	const float *weight;            /* [n_text] of the loss; NULL: 1 */
};

#endif
