/* Values of a description (create.h). Each fails with MOE_EUSAGE, the key, and what was expected; where a key is absent, *to stays. */
#ifndef MOE_TRAIN_DESCRIBE_VALUES_H
#define MOE_TRAIN_DESCRIBE_VALUES_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* v, which is not absent, as a whole number from lo to hi. */
enum moe_err moe_describe_whole(json_t *v, const char *key, int64_t lo, int64_t hi, int64_t *to, struct moe_diag *d) MOE_CHECK_RESULT;

enum moe_err moe_describe_truth(json_t *json, const char *key, bool *to, struct moe_diag *d) MOE_CHECK_RESULT;

/* One of two words, of which the first is the default; *second: is it the other? */
enum moe_err moe_describe_one_of(json_t *json, const char *key, const char *first, const char *other, bool *second, struct moe_diag *d) MOE_CHECK_RESULT;

/* A number from lo to hi. */
enum moe_err moe_describe_real(json_t *json, const char *key, double lo, double hi, double *to, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
