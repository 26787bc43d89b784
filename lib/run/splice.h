/* Activation patching (Vig et al. 2020; Meng et al. 2022): a part of one run, the clean one, is put into another, the corrupt one, and what comes back of the
 * clean run's answer tells what that part carries. Runs are given as `hidden` streams of the same stage, sequence by sequence; each pair of sequences has as
 * many rows in both.
 *
 * With a and b the answers of the clean and the corrupt run, and z the logits of the last row, the measure is D = z[a] - z[b] (Wang et al. 2023; Zhang and
 * Nanda 2024): restored = (D - D of the corrupt run) / (D of the clean run - D of the corrupt run). */
#ifndef MOE_RUN_SPLICE_H
#define MOE_RUN_SPLICE_H

#include "stage/row_choice.h"
#include "stage/stage.h"

/* What of the clean run replaces its counterpart in some rows of a layer of the corrupt run, which then goes on by itself. */
enum moe_splice_what {
	MOE_SPLICE_HIDDEN,              /* the rows behind the layer */
	MOE_SPLICE_ATTENTION,           /* what the layer's attention added */
	MOE_SPLICE_EXPERTS,             /* what the layer's experts added, shared ones included */
	MOE_SPLICE_ROUTING,             /* which experts were chosen, and their weights: the corrupt run's own experts work on the corrupt rows */
	MOE_SPLICE_EXPERT,              /* what one expert added, with its weight; 0 where it was not chosen */
};

enum { MOE_SPLICE_GROUPS = 32 };

/* Rows that are patched together, or each by itself. */
struct moe_splice_rows {
	const char *name;               /* as the user named them */
	bool each;
	struct moe_row_choice choice;   /* but for each */
};

/* A pair of sequences and what their runs say. */
struct moe_splice_pair {
	uint64_t index;
	const char *clean_name, *corrupt_name;  /* or NULL */
	size_t rows;
	int32_t clean, corrupt;         /* the most likely token of each run: equal, and then there is nothing to restore, and no results follow */
	double clean_difference, corrupt_difference;    /* D */
};

struct moe_splice_result {
	const struct moe_splice_pair *pair;
	size_t layer;
	const char *rows;               /* name of the rows, or the number of one */
	size_t n_rows;                  /* how many they are */
	int32_t expert;                 /* of MOE_SPLICE_EXPERT, else -1 */
	int32_t answer;                 /* the most likely token then */
	double difference, restored;
};

struct moe_splice {
	struct moe_model *model;
	struct moe_pool *pool;
	const bool *suppress;           /* [vocab] tokens that may not be generated, or NULL */
	enum moe_splice_what what;
	size_t first, last;             /* layers, both included */
	const struct moe_splice_rows *group;
	size_t n_groups;                /* 0: pictures and text, or each row where there is no picture */
	const bool *expert;             /* [experts] of MOE_SPLICE_EXPERT: one after the other */

	enum moe_err (*pair)(void *to, const struct moe_splice_pair *p, struct moe_diag *d);
	enum moe_err (*result)(void *to, const struct moe_splice_result *r, struct moe_diag *d);        /* by layer, rows, expert */
	void *to;
};

/* Reads both streams to their ends. Streams of another model, math or stage, and pairs that do not fit each other, fail with MOE_EMATCH. */
enum moe_err moe_splice_run(struct moe_splice *s, struct moe_reader *clean, struct moe_reader *corrupt, const struct moe_identity *id,
			    struct moe_diag *d) MOE_CHECK_RESULT;

#endif
