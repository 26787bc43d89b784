/* --stats: routing statistics beside the stream, one table per layer. */
#ifndef MOE_CMD_STATS_H
#define MOE_CMD_STATS_H

#include "common/cli.h"
#include "report/load.h"
#include "stage/flow.h"

/* Where and how: "" standard error as text; json, tsv, text: standard error in that form; FILE or FORM:FILE. */
extern const char *stats_where;

#define OPT_STATS \
	{0, "stats", OPT_OPTIONAL, &stats_where, "WHERE", "routing statistics to json, tsv, text (on standard error), FILE or FORM:FILE", 0, 0, 0}

struct stats {
	struct moe_load *load;          /* [n_layers] of the model */
	size_t first, last;
	enum moe_load_format format;
	struct moe_sink *sink;
	FILE *f;
};

/* Prepares tables for layers first to last and opens the file; nothing when --stats was not given. */
void stats_init(struct stats *s, const struct moe_model *m, size_t first, size_t last);

/* For struct moe_layers.observe. */
enum moe_err stats_observe(void *self, size_t layer, const struct moe_flow *flow, struct moe_diag *d);

/* Prints the tables and completes the file. */
void stats_print(struct stats *s);

#endif
