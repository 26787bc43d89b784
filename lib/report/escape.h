/* Text from outside (names, messages, generated text) on its way to a terminal or into JSON. */
#ifndef MOE_REPORT_ESCAPE_H
#define MOE_REPORT_ESCAPE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "text/tokenizer.h"

/* Prints n bytes such that they stay on their line and command no terminal: \n, \t and \\, other control characters as \xNN.
 * Returns how many bytes were printed. */
size_t moe_print_escaped(FILE *f, const char *s, size_t n);

/* A JSON string of n bytes that may not be UTF-8 (file names): what is not ASCII becomes U+FFFD then. NULL without memory. */
json_t *moe_json_text(const char *s, size_t n);

/* A token on its own: {"id": 5, "text": "a"}, and "a" between quotation marks; #5 where it has no text. The tokenizer may be NULL. */
json_t *moe_json_token(const struct moe_tokenizer *t, int32_t id);
void moe_print_token(FILE *f, const struct moe_tokenizer *t, int32_t id);

/* Prints the object on a line of its own and releases it. False when it is NULL or could not be written. */
bool moe_print_json(FILE *f, json_t *o);

#endif
