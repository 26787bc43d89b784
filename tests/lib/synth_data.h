/* What the tests of lib/synth share: the small list of fonts. */
#ifndef TESTS_LIB_SYNTH_DATA_H
#define TESTS_LIB_SYNTH_DATA_H

#include "lib_data.h"
#include "synth/synth.h"

#define SMALL_LIST "share/synth/fonts-small.tsv"

static inline void load_fonts(struct moe_fonts *f)
{
	struct moe_diag d = {0};

	expect_ok(&d, moe_fonts_load(f, SMALL_LIST, &d));
}

static inline struct moe_synth *new_synth(const struct moe_fonts *f, enum moe_synth_split split)
{
	struct moe_diag d = {0};
	struct moe_synth *s = NULL;

	expect_ok(&d, moe_synth_new(&s, f, split, &d));
	return s;
}

/* Weights of the mixture that has this task alone. */
static inline const double *only(const char *task)
{
	static double weight[16];

	memset(weight, 0, sizeof weight);
	weight[moe_synth_task_find(task, strlen(task))] = 1;
	return weight;
}

#endif
