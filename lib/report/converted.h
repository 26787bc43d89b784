/* What a conversion did: a line for each tensor, and a table by part. */
#ifndef MOE_REPORT_CONVERTED_H
#define MOE_REPORT_CONVERTED_H

#include <stdio.h>

#include "convert/convert.h"

/* Sums by part; begins with zeros. */
struct moe_converted {
	struct { uint64_t tensors, parameters, nbytes; struct moe_loss loss; } part[MOE_N_PARTS], all;
	uint64_t fallbacks;
};

/* Adds a tensor and prints its line, unless f is NULL. */
void moe_converted_tensor(struct moe_converted *c, FILE *f, bool json, const struct moe_target *t, const struct moe_loss *loss);

/* Prints the table. */
void moe_converted_print(const struct moe_converted *c, FILE *f, bool json);

#endif
