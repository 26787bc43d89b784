/* What the reports of scaling share. */
#ifndef MOE_REPORT_SCALING_PRIV_H
#define MOE_REPORT_SCALING_PRIV_H

#include <jansson.h>

#include "report/scaling.h"

/* "arm, loss" for headings. */
void moe_scaling_heading(FILE *f, const struct moe_scaling_law *l);

/* The law as a line of text. */
const char *moe_scaling_formula(enum moe_law_kind k);

/* "0.33 to 0.36", with the digits of moe_figure; "-" where there is none. */
const char *moe_scaling_interval(double low, double high, int digits, char to[80]);

/* {"value": 1, "low": 0.9, "high": 1.1}; ends that are not known are null. */
json_t *moe_scaling_estimate(const struct moe_law_estimate *e);

/* Its three fields, each behind a tab. */
void moe_scaling_tsv(FILE *f, const struct moe_law_estimate *e);

#endif
