/* Strings that stand on screens, labels and in terminals: 1 to 12 printable ASCII characters. */
#ifndef MOE_SYNTH_STRINGS_H
#define MOE_SYNTH_STRINGS_H

#include "synth/synth.h"

enum { MOE_LONGEST_STRING = 12 };

/* Draws a string of the split (strings of one character are in all splits). Neither first nor last character is a space, no two spaces meet. Returns its
 * kind: "word", "number", "time", ... */
const char *moe_string_draw(struct moe_draw *r, enum moe_synth_split split, char out[MOE_LONGEST_STRING + 1]);

/* Do strings of this kind have words or forms that tell characters apart which look alike? "Illusion", not "xI9l". */
bool moe_string_has_context(const char *kind);

/* Could this string, in a picture cut tightly around it, be another one of another size: o and O, - and _ ? */
bool moe_string_needs_line(const char *s);

/* Common words of screens and labels, in lower case. */
extern const char *const moe_lexicon[];
extern const size_t moe_lexicon_n;

#endif
