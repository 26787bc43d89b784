/* Labels of tokens from outside of the trace: from a list, or from the samples that the run was about. */
#ifndef MOE_STATS_LABELS_H
#define MOE_STATS_LABELS_H

#include "data/shards.h"
#include "image/fit.h"
#include "stats/groups.h"

/* What is known of a sequence: labels of single rows, of patches, of all its tokens; the first of these counts. MOE_NO_GROUP: none. */
struct moe_labelled {
	struct moe_label_list { uint32_t *label; size_t n; } row, patch;
	uint32_t all;
};

struct moe_labels {
	struct moe_group_names name, base;      /* of sequences: whole, and behind the last slash */
	uint32_t *of_base;              /* [base.n]: index of the sequence, MOE_NO_GROUP for a base name of several */
	size_t base_cap;
	struct moe_labelled *list;      /* [name.n] */
	size_t cap;
};

void moe_labels_free(struct moe_labels *l);

/* Reads lines of `name TAB label`, `name TAB patch TAB label` and `name TAB @row TAB label`; labels are made groups of `g`. Empty lines are passed over; other lines fail with the
 * number of the line. */
enum moe_err moe_labels_list(struct moe_labels *l, struct moe_group_names *g, const char *path, struct moe_diag *d) MOE_CHECK_RESULT;

/* Which label of a sample is meant: "kind", "tag:NAME", "box" (the label of what lies under a patch), "box:NAME" (an attribute of it). */
struct moe_label_choice {
	const char *what;
	const struct moe_fit *fit;      /* how the model lays out pictures; for "box" */
	bool no_sandbox;
	/* Told of each sample that could not be read; may be NULL. */
	void (*failed)(void *self, const struct moe_diag *d);
	void *self;
};

/* Is this a choice, and one that needs `fit`? */
bool moe_label_choice_known(const char *what, bool *needs_fit);

/* Reads all samples of a source (data/shards.h). Patches that no box touches have the label "nothing". */
enum moe_err moe_labels_samples(struct moe_labels *l, struct moe_group_names *g, const char *path, const struct moe_label_choice *choice,
				struct moe_diag *d) MOE_CHECK_RESULT;

/* The group of each row of a block: by the name of its sequence, with or without what follows its last dot, or by the last part of it where only one
 * sequence has that. False when the sequence is not known. */
bool moe_labels_rows(const struct moe_labels *l, const struct moe_trace_block *b, uint32_t *group);

#endif
