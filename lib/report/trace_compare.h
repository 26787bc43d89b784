/* Two traces of the same input: where tokens went the same way, where they part, and what it did to the answer.
 *
 * A choice is equal when both traces have the same experts, in whatever order. It is a tie when all experts that only one of them has lie so close together, in what
 * the choice compared, that rounding decided between them: within the tolerance, or within one step of binary16, which traces are written in. Ties need the
 * router's logits of at least one trace. Other choices differ.
 *
 * Rows of a sequence are compared as long as its tokens are the same: behind the first generated token that is another one, the two are about other texts. */
#ifndef MOE_REPORT_TRACE_COMPARE_H
#define MOE_REPORT_TRACE_COMPARE_H

#include <stdio.h>

#include "base/modality.h"
#include "trace/trace.h"

/* Of the tokens of one modality in one layer. */
struct moe_routing_diff {
	uint64_t rows, equal, ties, differing;  /* rows = equal + ties + differing */
	uint64_t common, chosen;        /* experts that both chose; the larger number of what either chose: common / chosen is the overlap */
	double weight;                  /* sum of |weight - weight| over experts that both chose */
	uint64_t weights;               /* how many those are; 0 without weights */
};

/* A choice that differs. */
struct moe_parting {
	bool there;
	uint64_t seq, row, step;
	size_t layer;                   /* its number */
	char name[120], a[120], b[120]; /* of the sequence; the experts of both as text */
	double margin;                  /* between the best expert that only the second chose and the worst that only the first did, in what the first compared;
					   NaN when that is not known */
};

struct moe_trace_diff {
	size_t *layer, n_layers;        /* numbers of the layers of both */
	struct moe_routing_diff (*part)[MOE_N_MODALITIES];      /* [n_layers] */
	size_t only_a, only_b;          /* layers that one trace alone has */
	bool margins;                   /* ties could be told */
	struct moe_parting shallow, early;      /* in the lowest layer, there the first row; in the first row of the first sequence, there the lowest layer */
	uint64_t sequences;             /* of both */
	uint64_t missing_a, missing_b;  /* sequences that one trace lacks */
	uint64_t generated, answers, answers_apart;     /* generated tokens that were compared; sequences with such; those where they are others */
	uint64_t given_apart;           /* sequences whose given tokens are others: no comparison is possible */
	uint64_t unread;                /* rows behind tokens that are others, or that one trace alone has */
	uint64_t apart_seq, apart_row;  /* the first sequence whose generated tokens are others, and the row */
	int32_t apart_a, apart_b;       /* the tokens there; -1: that trace has none, or does not know it */
};

/* Reads both to their ends. MOE_EMATCH when the traces are of models of other shapes, MOE_EINPUT for anything that is no trace with tokens. */
enum moe_err moe_trace_diff_run(struct moe_trace_diff *out, struct moe_trace *a, struct moe_trace *b, double tie, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_trace_diff_free(struct moe_trace_diff *t);

/* Are they the same, up to ties? */
bool moe_trace_diff_same(const struct moe_trace_diff *t);

/* As a table with lines behind it; or one JSON object for each layer and modality, and one for the whole. */
enum moe_err moe_trace_diff_print(FILE *f, const struct moe_trace_diff *t, bool json, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
