/* The table of settings, shared by reading, checking and printing. */
#ifndef MOE_MODEL_SPEC_PRIV_H
#define MOE_MODEL_SPEC_PRIV_H

#include "model/spec.h"

enum moe_setting_type {
	MOE_SET_INT,            /* int64_t */
	MOE_SET_REAL,           /* double */
	MOE_SET_BOOL,           /* bool */
	MOE_SET_CHOICE,         /* int: index in `choices` */
	MOE_SET_TEXT,           /* char[]: `hi` is its size */
	MOE_SET_TEXTS,          /* struct moe_texts: a list */
	MOE_SET_IDS,            /* struct moe_ints: a number or a list */
	MOE_SET_TRIPLE,         /* double[3] */
	MOE_SET_PAIRS,          /* struct moe_pairs: [[a, b], ...], one such pair, or {"a": b, ...} */
	MOE_SET_CONVS,          /* list of convolution layers */
};

struct moe_setting {
	const char *path;       /* dots go down in the family file */
	enum moe_setting_type type;
	size_t offset;          /* in struct moe_spec */
	double lo, hi;          /* range of numbers */
	const char *choices;    /* "a b c" */
	const char *absent;     /* value when the family file does not have it (JSON), NULL: required */
	const char *only_if;    /* "section", or "section.setting=choice" of a row above: what must be there for this setting to count */
};

extern const struct moe_setting moe_settings[];
extern const size_t moe_n_settings;

#endif
