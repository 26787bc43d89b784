/* A picture with its questions, packed into one sequence for training: the picture's patches, then segments of text, of which each sees the picture and itself
 * only, so that many questions share one picture and no answer leaks. */
#ifndef MOE_DATA_PACKED_H
#define MOE_DATA_PACKED_H

#include <stddef.h>
#include <stdint.h>

struct moe_packed {
	const float *planes;            /* [channels][rows · patch][columns · patch], normalised */
	const int32_t *code;            /* [rows · columns]: image tokens in the place of planes, each of which predicts the next; NULL: there are planes */
	uint32_t rows, columns;         /* of patches; 0 and 0: no picture */
	const int32_t *label;           /* [rows · columns]: the token that names what lies under each patch, -1: none; NULL: none at all */
	size_t n_text;
	const int32_t *token;           /* [n_text] */
	const int32_t *target;          /* [n_text]: what the logits at this row must say, -1: nothing */
	const int32_t *segment;         /* [n_text]: 0, 1, ...; positions begin anew in each */
	const int32_t *place;           /* [n_text]: the patch of a picture that an image token of the text stands for, -1: it is text; NULL: all is */
	const float *weight;            /* [n_text]: of the targets' losses, or NULL: 1 */
	uint64_t document;              /* sequences with the same number are parts of one document; 0: it has one of its own */
};

/* How many of the sequences p [n] from the first on form a group in which rows of different sequences are chosen among each other: `most`, or as many as come
 * before a second part of a document that is in the group, which would be told what the first one says. */
size_t moe_packed_together(const struct moe_packed *p, size_t n, size_t most);

#endif
