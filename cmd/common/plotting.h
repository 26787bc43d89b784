/* What moe-plot draws from: traces read into sums and tokens, and the pictures that a model saw. */
#ifndef MOE_CMD_PLOTTING_H
#define MOE_CMD_PLOTTING_H

#include "common/cli.h"
#include "plot/agreement.h"
#include "plot/plot.h"

/* One run, or what is drawn as one. */
struct run {
	const char *name;
	struct moe_routing_set sums;    /* tables, first and last are the caller's */
	struct moe_tokens tokens;       /* of the sequence that is wanted; first, last and most are the caller's */
	bool found;                     /* it is there */
	size_t before;                  /* pictures that the sequences before it saw */
	size_t drawn;                   /* pictures that it drew */
	char model[40], tokenizer[40];  /* fingerprints, "" where the trace has none */
	char *provenance;               /* moe.pg of the first head, or NULL */
};

/* Reads traces, several as one run. seq: the wanted sequence, -1: the first. */
void run_read(struct run *r, const char *const *path, size_t n, long seq);
void run_free(struct run *r);

/* Goes through two runs side by side, token by token, as far as both have blocks. */
void runs_compare(struct moe_agreement *g, const char *const *a, size_t n_a, const char *const *b, size_t n_b);

/* The pictures of a sequence as a model sees them. */
struct views {
	struct moe_picture *picture;    /* [n], small enough to be shown */
	struct moe_seen *seen;
	size_t n;
};

/* Decodes the pictures of r's sequence, which stand in `list`: those alone, or, where none was drawn, those of all sequences in order. */
void views_open(struct views *v, const struct run *r, const struct moe_model *m, char **list, size_t n);
void views_free(struct views *v);

#endif
