/* What surgery made, and how its outputs are beside those of the source. */
#ifndef MOE_REPORT_GRAFTED_H
#define MOE_REPORT_GRAFTED_H

#include "graft/graft.h"
#include "report/converted.h"

void moe_grafted_print(FILE *f, bool json, enum moe_graft_operation o, const struct moe_graft_check *c, const struct moe_converted *sums, const char *output);

#endif
