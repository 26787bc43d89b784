/* Answers as text: one line each, with names as grep has them, or as one JSON object per line. */
#ifndef MOE_REPORT_ANSWERS_H
#define MOE_REPORT_ANSWERS_H

#include <stdbool.h>
#include <stdio.h>

#include "stage/answer.h"

struct moe_answer_style {
	bool json, names;
	bool lines;             /* texts stay on one line: there are several answers */
	size_t told;            /* bytes of the text that have been printed already */
	double min_confidence;  /* answers below are withheld: no line of text, or null in JSON */
	double seconds;         /* JSON only: time of the answer; 0: left out */
};

/* The probability of the whole answer, given its prompt. */
double moe_answer_confidence(const struct moe_answer *a);

/* Prints one answer in one write. Control bytes of names and line breaks of texts are escaped (\n, \t, \xNN), so that a line stays a line;
 * a lone answer without a name is printed as it is. */
enum moe_err moe_answer_print(FILE *f, const struct moe_answer *a, const struct moe_answer_style *style, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
