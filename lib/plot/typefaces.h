/* The fonts that PNG is written in: those that the system has for text without serifs, in fontconfig's order, and for each character the first that has it. */
#ifndef MOE_PLOT_TYPEFACES_H
#define MOE_PLOT_TYPEFACES_H

#include <cairo.h>
#include <stdbool.h>

#include "base/err.h"

struct moe_typefaces;

/* One at a time, while nothing else uses cairo: freeing it gives back what cairo and fontconfig keep for the whole process. MOE_ENOMEM without
 * memory. A system without fonts gives no text. */
enum moe_err moe_typefaces_new(struct moe_typefaces **out) MOE_CHECK_RESULT;
void moe_typefaces_free(struct moe_typefaces *t);

/* A font with this character, and `last` if that has it; where none has it the first of all, and NULL without any font. Borrowed. */
cairo_font_face_t *moe_typeface_for(struct moe_typefaces *t, bool bold, unsigned rune, cairo_font_face_t *last);

#endif
