#include "train/describe_values.h"

#include <string.h>

enum moe_err moe_describe_whole(json_t *v, const char *key, int64_t lo, int64_t hi, int64_t *to, struct moe_diag *d)
{
	if (!json_is_integer(v) || json_integer_value(v) < lo || json_integer_value(v) > hi)
		return moe_fail(d, MOE_EUSAGE, "%s: expected a whole number from %lld to %lld", key, (long long)lo, (long long)hi);
	*to = json_integer_value(v);
	return MOE_OK;
}

enum moe_err moe_describe_truth(json_t *json, const char *key, bool *to, struct moe_diag *d)
{
	json_t *v = json_object_get(json, key);

	if (v && !json_is_boolean(v))
		return moe_fail(d, MOE_EUSAGE, "%s: expected true or false", key);
	*to = v ? json_is_true(v) : *to;
	return MOE_OK;
}

enum moe_err moe_describe_one_of(json_t *json, const char *key, const char *first, const char *other, bool *second, struct moe_diag *d)
{
	json_t *v = json_object_get(json, key);
	const char *word = json_string_value(v);

	*second = word && !strcmp(word, other);
	if (v && !*second && (!word || strcmp(word, first)))
		return moe_fail(d, MOE_EUSAGE, "%s: expected \"%s\" or \"%s\"", key, first, other);
	return MOE_OK;
}

enum moe_err moe_describe_real(json_t *json, const char *key, double lo, double hi, double *to, struct moe_diag *d)
{
	json_t *v = json_object_get(json, key);

	if (v && !(json_is_number(v) && json_number_value(v) >= lo && json_number_value(v) <= hi))
		return moe_fail(d, MOE_EUSAGE, "%s: expected a number from %g to %g", key, lo, hi);
	*to = v ? json_number_value(v) : *to;
	return MOE_OK;
}
