/* What the reports of routing share. */
#ifndef MOE_REPORT_ROUTING_PRIV_H
#define MOE_REPORT_ROUTING_PRIV_H

#include <jansson.h>

#include "report/routing_report.h"

enum { MOE_COLUMNS = MOE_N_MODALITIES + 1 };

/* A column of a report: all tokens of a layer together, or those of a modality. */
struct moe_column {
	const char *name;
	const struct moe_routing_part *part;
	struct moe_routing_part *own;   /* of "all" */
	struct moe_measures m;
};

struct moe_columns {
	struct moe_column c[MOE_COLUMNS];
	size_t n;
};

/* Of a layer: all, then each modality with tokens or choices. */
enum moe_err moe_columns_make(struct moe_columns *out, const struct moe_routing *r, const struct moe_routing_layer *l, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_columns_free(struct moe_columns *c);

/* Keys of an object: a number or, when it is not finite, null; a whole number; a text. */
void moe_set_real(json_t *o, const char *key, double v);
void moe_set_number(json_t *o, const char *key, uint64_t n);
void moe_set_text(json_t *o, const char *key, const char *text);

/* A list of whole numbers. */
json_t *moe_json_numbers(const uint64_t *v, size_t n);

/* A tab and the number, nothing for NaN. */
void moe_tsv_real(FILE *f, double v);

/* The number as text into buf, which is returned, with so many digits behind the point, or below 0 in all; "-" for NaN. */
const char *moe_figure(char *buf, size_t cap, int digits, double v);

/* The line of a text that says how much the experts tell of the label, which is called `what`. */
void moe_print_specialisation(FILE *f, const struct moe_specialisation *s, const char *what);

/* MOE_EIO when something could not be written. */
enum moe_err moe_report_done(FILE *f, struct moe_diag *d);

#endif
