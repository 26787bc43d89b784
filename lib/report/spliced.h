/* What came back (run/splice.h): a table of rows and experts by layers for people, or one line per experiment. */
#ifndef MOE_REPORT_SPLICED_H
#define MOE_REPORT_SPLICED_H

#include <stdio.h>

#include "run/splice.h"
#include "text/tokenizer.h"

enum moe_spliced_form { MOE_SPLICED_TEXT, MOE_SPLICED_JSON, MOE_SPLICED_TSV };

struct moe_spliced_line;

/* Zeroed but for the first block. */
struct moe_spliced {
	FILE *f;
	enum moe_spliced_form form;
	const struct moe_tokenizer *tokenizer;
	enum moe_splice_what what;
	size_t first, last;             /* layers */

	uint64_t pairs, equal;          /* compared; those whose runs give the same answer */
	struct moe_splice_pair pair;    /* the first that was compared, without its names */
	struct moe_spliced_line *line;  /* [n] of the table: rows and expert */
	size_t n, cap;
	uint64_t results;
};

const char *moe_splice_what_name(enum moe_splice_what w);

/* Takes a pair, then its results; prints them in JSON and TSV. */
enum moe_err moe_spliced_pair(struct moe_spliced *r, const struct moe_splice_pair *p, struct moe_diag *d) MOE_CHECK_RESULT;
enum moe_err moe_spliced_add(struct moe_spliced *r, const struct moe_splice_result *s, struct moe_diag *d) MOE_CHECK_RESULT;

/* Prints the table: of several pairs what came back of all differences together, sum over sum, so that pairs with small differences weigh little. */
enum moe_err moe_spliced_finish(struct moe_spliced *r, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_spliced_free(struct moe_spliced *r);

#endif
