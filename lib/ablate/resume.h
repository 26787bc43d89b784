/* The journal of an ablation: a line of JSON for each case and part of the samples, with the sums of each sample. */
#ifndef MOE_ABLATE_RESUME_H
#define MOE_ABLATE_RESUME_H

#include "ablate/ablate.h"
#include "io/journal.h"

/* Opens or begins the journal `path`, and takes out of it what it has of the cases. */
enum moe_err moe_ablate_recall(struct moe_ablation *a, struct moe_journal **out, const char *path, const struct moe_model *m,
				struct moe_diag *d) MOE_CHECK_RESULT;

/* Writes the sums of a case and part down; j NULL: nowhere. By one thread at a time. */
enum moe_err moe_ablate_note(const struct moe_ablation *a, struct moe_journal *j, size_t number, size_t part, struct moe_diag *d) MOE_CHECK_RESULT;

static inline size_t moe_ablate_part_samples(const struct moe_ablation *a, size_t part)
{
	return a->e->n_samples - part * MOE_ABLATE_PART < MOE_ABLATE_PART ? a->e->n_samples - part * MOE_ABLATE_PART : MOE_ABLATE_PART;
}

#endif
