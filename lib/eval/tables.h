/* An evaluation as text, as JSON lines, or as TSV. */
#ifndef MOE_EVAL_TABLES_H
#define MOE_EVAL_TABLES_H

#include <stdio.h>

#include "eval/loss_pairs.h"
#include "eval/tally.h"

enum moe_table_format { MOE_TABLE_TEXT, MOE_TABLE_JSON, MOE_TABLE_TSV };

struct moe_tables {
	const struct moe_evaluation *e;
	const struct moe_tally *scores;
	const char *model, *against;    /* fingerprints; `against` NULL: there is no other model */
	const char *choice, *other_choice;      /* how their tokens are routed (moe.choice): each row by itself, so that no answer knows what comes behind it */
	const char *by;                 /* the tag, or NULL */
};

/* Prints everything; of TSV the scores alone. */
enum moe_err moe_tables_print(FILE *f, const struct moe_tables *t, enum moe_table_format format, struct moe_diag *d) MOE_CHECK_RESULT;

/* Losses (loss_pairs.h) of n choices. */
enum moe_err moe_tables_losses(FILE *f, const struct moe_losses *l, size_t n, const char *model, enum moe_table_format format, struct moe_diag *d) MOE_CHECK_RESULT;

/* Every question with the model's answer as a JSON line. */
enum moe_err moe_tables_answers(FILE *f, const struct moe_evaluation *e, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
