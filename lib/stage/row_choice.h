/* Rows of a sequence as a user names them: all, last, text, image, a number from 0, or a range (0-63, 64-); several with commas between. */
#ifndef MOE_STAGE_ROW_CHOICE_H
#define MOE_STAGE_ROW_CHOICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MOE_ROW_RANGES = 64 };

/* Zeroed: no row. */
struct moe_row_choice {
	bool all, last, text, image;
	struct { uint64_t first, last; } range[MOE_ROW_RANGES];         /* both included */
	size_t n;
};

/* False when the text is anything else, or names more than MOE_ROW_RANGES numbers and ranges. */
bool moe_row_choice_parse(struct moe_row_choice *c, const char *text);

/* Is this row of the sequence, of such a modality (0 text), chosen? `last`: it is the last row of its step. */
bool moe_row_chosen(const struct moe_row_choice *c, uint64_t row, uint8_t modality, bool last);

#endif
