/* What a model is: `moe-info`. */
#ifndef MOE_REPORT_INFO_H
#define MOE_REPORT_INFO_H

#include <stdbool.h>
#include <stdio.h>

#include "model/plan.h"

/* Text, or one JSON object; `tokens` is the length that the memory is told for. m->weights may be NULL: config.json alone. */
enum moe_err moe_info_print(FILE *f, const struct moe_model *m, uint64_t tokens, bool json, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
