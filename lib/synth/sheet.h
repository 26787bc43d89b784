/* A contact sheet: samples with their questions and answers, to look at. */
#ifndef MOE_SYNTH_SHEET_H
#define MOE_SYNTH_SHEET_H

#include "synth/synth.h"

struct moe_sheet;
enum moe_err moe_sheet_new(struct moe_sheet **out, struct moe_diag *d) MOE_CHECK_RESULT;

/* Adds a sample in the next free place; false when the sheet is full. */
bool moe_sheet_add(struct moe_sheet *h, struct moe_synth *s, const struct moe_synth_sample *p);

/* The sheet as a PNG file; *bytes is to be freed. */
enum moe_err moe_sheet_write(struct moe_sheet *h, uint8_t **bytes, size_t *n, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_sheet_free(struct moe_sheet *h);

#endif
