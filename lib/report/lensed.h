/* Rows of the logit lens (stage/lens.h) for people and for jq. */
#ifndef MOE_REPORT_LENSED_H
#define MOE_REPORT_LENSED_H

#include <stdio.h>

#include "stage/lens.h"
#include "text/tokenizer.h"

struct moe_lensed_style {
	bool json;
	bool suppresses;                /* some tokens may not be generated: probabilities are over the others */
	const struct moe_tokenizer *tokenizer;
};

/* One line: what the row is, and its tokens with their probabilities. */
enum moe_err moe_lensed_print(FILE *f, const struct moe_lens_row *r, const struct moe_lensed_style *style, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
