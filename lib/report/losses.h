/* The course of a training run as a picture, from its log (train/trainlog.h). */
#ifndef MOE_REPORT_LOSSES_H
#define MOE_REPORT_LOSSES_H

#include <stdio.h>

#include "base/err.h"

/* Reads n bytes of a log and prints the chart: text and patch loss of the steps, smoothed, and those of the evaluations. A last line that is cut short is passed over; other lines that
 * are no such objects fail with MOE_EINPUT and their byte. */
enum moe_err moe_losses_print(FILE *f, const char *log, size_t n, const char *title, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
