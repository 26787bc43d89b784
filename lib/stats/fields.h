/* By what tokens are grouped: something that the trace says of each of them, or a label from outside. */
#ifndef MOE_STATS_FIELDS_H
#define MOE_STATS_FIELDS_H

#include "stats/labels.h"

enum moe_field {
	MOE_BY_TOKEN,                   /* the token itself */
	MOE_BY_NEXT,                    /* the one behind it in its sequence */
	MOE_BY_PATCH,                   /* its place in its picture */
	MOE_BY_NAME,                    /* the name of its sequence */
	MOE_BY_INPUT,                   /* the input it is from */
	MOE_BY_LABEL,                   /* struct moe_labels */
	MOE_N_FIELDS,
};

struct moe_grouping {
	enum moe_field by;
	struct moe_group_names names;
	struct moe_labels labels;       /* of MOE_BY_LABEL, filled by the caller */
	const char *const *input;       /* names of the inputs, of MOE_BY_INPUT */
	struct moe_groups_set set;
	/* The last row of the block before, which waits for the token behind it. */
	struct moe_held {
		bool any;
		struct moe_trace_info info;
		struct moe_trace_block block;
		char choice[MOE_TRACE_CHOICE];
		size_t input;
		uint16_t *expert;
		uint8_t *depth;
		size_t expert_cap, depth_cap, layer_cap;
	} held;
};

void moe_grouping_free(struct moe_grouping *g);

/* Adds a block of input number `input`. Tokens without a group are counted as unlabelled: text has no patch, a sequence may have no name. */
enum moe_err moe_grouping_add(struct moe_grouping *g, const struct moe_trace_info *info, const struct moe_trace_block *b, size_t input,
			      struct moe_diag *d) MOE_CHECK_RESULT;

/* Behind the last block: the last token has none behind it. */
enum moe_err moe_grouping_finish(struct moe_grouping *g, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
