/* Traces of routing for people, for jq and for awk. */
#ifndef MOE_REPORT_TRACED_H
#define MOE_REPORT_TRACED_H

#include <stdio.h>

#include "trace/trace.h"

/* Text: what each member holds, with the load of each layer. JSON: an object for each token and layer. TSV: a line for each choice, with a header
 * line. */
enum moe_traced_form { MOE_TRACED_TEXT, MOE_TRACED_JSON, MOE_TRACED_TSV };

struct moe_traced;

/* Prints to `f`, which stays the caller's. */
enum moe_err moe_traced_new(struct moe_traced **out, FILE *f, enum moe_traced_form form, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_traced_free(struct moe_traced *v);

/* The frames of a trace, head and end included, one after the other. */
enum moe_err moe_traced_frame(struct moe_traced *v, struct moe_frame *frame, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
