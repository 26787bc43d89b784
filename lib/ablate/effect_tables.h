/* The effects of an ablation as text, as JSON lines, or as TSV. */
#ifndef MOE_ABLATE_EFFECT_TABLES_H
#define MOE_ABLATE_EFFECT_TABLES_H

#include <stdio.h>

#include "ablate/effect.h"

enum moe_effect_format { MOE_EFFECT_TEXT, MOE_EFFECT_JSON, MOE_EFFECT_TSV };

/* A few lines of text about the whole model; `model`: its fingerprint. */
void moe_effects_print_head(FILE *f, const struct moe_effects *e, const char *model);

/* Of text and TSV the cases alone. */
enum moe_err moe_effects_print(FILE *f, const struct moe_effects *e, const char *model, enum moe_effect_format format, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
