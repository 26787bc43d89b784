/* Shares of answers' logits (stage/attribution.h): one line per answer for jq, one per answer and summand for tables, or a summary for people. */
#ifndef MOE_REPORT_ATTRIBUTED_H
#define MOE_REPORT_ATTRIBUTED_H

#include <stdio.h>

#include "stage/attribution.h"
#include "text/tokenizer.h"

enum moe_attributed_form { MOE_ATTRIBUTED_TEXT, MOE_ATTRIBUTED_JSON, MOE_ATTRIBUTED_TSV };

/* Sums over answers of one summand; n: answers that have it. */
struct moe_attributed_sum {
	double logit, lead, weight;
	uint64_t n;
};

struct moe_attributed_report {
	FILE *f;
	enum moe_attributed_form form;
	const struct moe_tokenizer *tokenizer;
	size_t layers, experts;
	struct moe_attributed_sum *sum; /* embedding, bias, then for each layer attention, shared experts, and each expert */
	struct moe_attributed_sum all;
	uint64_t answers;
	struct moe_attributed last;     /* the latest answer, without its summands */
};

enum moe_err moe_attributed_init(struct moe_attributed_report *r, size_t layers, size_t experts, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_attributed_free(struct moe_attributed_report *r);

/* Takes one answer: prints it in JSON and TSV, adds it up for text. */
enum moe_err moe_attributed_add(struct moe_attributed_report *r, const struct moe_attributed *a, struct moe_diag *d) MOE_CHECK_RESULT;

/* Prints what is to be said of all answers together: the summary in text, which gives means over all answers. */
enum moe_err moe_attributed_finish(struct moe_attributed_report *r, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
