/* A sheet of patches: for each expert of each layer a row of those that it weighs most, each with what lies around it. */
#ifndef MOE_PLOT_PATCHES_H
#define MOE_PLOT_PATCHES_H

#include "image/picture.h"
#include "plot/seen.h"
#include "stats/top.h"

struct moe_patch_sheet {
	const struct moe_top *top;
	uint8_t *rgb;                   /* [height][width][3] */
	uint32_t width, height;
	size_t columns;                 /* patches of an expert */
	size_t wanted, drawn;           /* patches in the lists; of those drawn so far */
};

/* Makes an empty sheet for the lists, which are in order and stay as they are. MOE_EUSAGE when there are no patches in them, or more experts than fit on
 * one picture. */
enum moe_err moe_patch_sheet_init(struct moe_patch_sheet *s, const struct moe_top *top, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_patch_sheet_free(struct moe_patch_sheet *s);

/* Is a patch of picture number `picture` wanted? *name gets the name of its sequence, or NULL. */
bool moe_patch_sheet_wants(const struct moe_patch_sheet *s, uint64_t picture, const char **name);

/* Draws the patches of picture number `picture`. MOE_EMATCH for a patch that the picture does not have. */
enum moe_err moe_patch_sheet_draw(struct moe_patch_sheet *s, uint64_t picture, const struct moe_picture *p, const struct moe_seen *seen,
				  struct moe_diag *d) MOE_CHECK_RESULT;

#endif
