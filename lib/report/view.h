/* Frames and models for people and for jq. */
#ifndef MOE_REPORT_VIEW_H
#define MOE_REPORT_VIEW_H

#include <stdbool.h>
#include <stdio.h>

#include "format/safetensors.h"
#include "stream/frame.h"

struct moe_view_style {
	bool json;
	unsigned values;        /* elements of each tensor to print, 0: statistics only */
};

/* One frame: a line for itself, one for each key and tensor; or one JSON object. */
enum moe_err moe_view_frame(FILE *f, const struct moe_frame *frame, uint64_t number, const struct moe_view_style *style, struct moe_diag *d) MOE_CHECK_RESULT;

/* A key of its metadata on a line, or several. */
void moe_view_key(FILE *f, const struct moe_meta *m);

/* Least, largest and mean value and counts of what is not finite, of a float or integer tensor. */
struct moe_values {
	double least, largest, mean, rms;
	uint64_t n, not_finite;
	bool numbers;           /* false for types without numbers to show */
};

void moe_tensor_values(const struct moe_tensor *t, struct moe_values *r);

/* Element i as a number; NaN for types without. */
double moe_tensor_value(const struct moe_tensor *t, uint64_t i);

#endif
