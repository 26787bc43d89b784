/* What came of an evaluation, added up by kind, type of question, and tag. */
#ifndef MOE_EVAL_TALLY_H
#define MOE_EVAL_TALLY_H

#include "eval/evaluate.h"

enum { MOE_TALLY_BINS = 10 };

/* Questions asked of their own pictures, and blind. */
struct moe_tally_part {
	uint64_t n, right, tokens;
	double logprob;                 /* sum over the tokens of the right answers */
};

struct moe_tally_row {
	const char *kind, *type, *value;        /* NULL: of all kinds, types, values of the tag together */
	struct moe_tally_part own, blind;
	double chance;                  /* share of the commonest right answer: what is right without the question */
	double confidence;              /* mean probability of the answers given */
	double calibration;             /* expected calibration error: mean |confidence - right| over ten bins of confidence (Guo et al. 2017) */
	/* Beside another model, on the questions that both answered: */
	uint64_t both, right_a, right_b;
	double low, high;               /* 95 % interval of the share of right answers of this one less that of the other */
};

/* Patches of a kind's pictures; kind NULL: of all. */
struct moe_tally_patches {
	const char *kind;
	struct moe_patch_outcome sum;
	double chance;                  /* share of the commonest label */
};

struct moe_tally {
	struct moe_tally_patches *patches;      /* [n_patches]: all, and each kind that has labels; none where nothing has */
	size_t n_patches;
	struct moe_tally_row *row;          /* all; each kind; each kind and type; each of these and value of the tag; sorted in each */
	size_t n;
};

/* Adds up e. `by`: the tag to tell apart by, or NULL. `other`: an evaluation of another model on the same samples, or NULL; the interval is that of
 * moe_bootstrap_ratio over samples, whose questions stay together. MOE_EMATCH when the samples are not the same. The scores borrow
 * from e. */
enum moe_err moe_tally_make(struct moe_tally *out, const struct moe_evaluation *e, const char *by, const struct moe_evaluation *other,
			      struct moe_diag *d) MOE_CHECK_RESULT;
void moe_tally_free(struct moe_tally *s);

/* 95 % interval of a share after n trials (Wilson 1927). */
void moe_wilson(uint64_t right, uint64_t n, double *low, double *high);

/* Answers with at least this confidence: their number, and how many of them are right; of a kind (NULL: all). */
void moe_tally_confident(const struct moe_evaluation *e, const char *kind, double confidence, uint64_t *n, uint64_t *right);

static inline double moe_share(uint64_t part, uint64_t n) { return n ? (double)part / (double)n : 0; }

#endif
