/* Experts beside each other (model/likeness.h): `moe-info --experts`. */
#ifndef MOE_REPORT_LIKENED_H
#define MOE_REPORT_LIKENED_H

#include <stdio.h>

#include "model/likeness.h"
#include "text/tokenizer.h"

/* One layer: a table with the nearest other of each expert and its words, or one JSON object with all cosines. */
enum moe_err moe_likened_print(FILE *f, const struct moe_likeness *l, size_t layer, const struct moe_tokenizer *t, bool json,
			       struct moe_diag *d) MOE_CHECK_RESULT;

#endif
