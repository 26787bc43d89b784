/* Statistics of routing as text, as one JSON object per line, and as TSV with a header line. Figures that are not there are "-" in text, null in JSON and
 * empty in TSV. What the figures mean stands in moe-stats(1). */
#ifndef MOE_REPORT_ROUTING_REPORT_H
#define MOE_REPORT_ROUTING_REPORT_H

#include "report/load.h"
#include "stats/groups.h"
#include "stats/measures.h"
#include "stats/saturation.h"
#include "stats/top.h"

/* Load, balance, scores, specialisation and overlap of every layer. `experts`: the text lists the load of each expert, too. */
enum moe_err moe_report_routing(FILE *f, const struct moe_routing_set *s, enum moe_load_format format, bool experts, struct moe_diag *d) MOE_CHECK_RESULT;

/* Experts that tokens have together; expert of a layer by expert of the next one. The text has the `most` pairs that say most. */
enum moe_err moe_report_together(FILE *f, const struct moe_routing_set *s, enum moe_load_format format, size_t most, struct moe_diag *d) MOE_CHECK_RESULT;
enum moe_err moe_report_next(FILE *f, const struct moe_routing_set *s, enum moe_load_format format, size_t most, struct moe_diag *d) MOE_CHECK_RESULT;

/* The text of a token, of *n bytes; NULL: its number is shown. */
struct moe_token_text {
	const char *(*text)(void *self, int32_t token, size_t *n);
	void *self;
};

/* Choices by label. */
struct moe_groups_report {
	const struct moe_groups_set *set;
	const struct moe_group_names *names;
	const char *by;                 /* what the labels are */
	bool tokens;                    /* they are numbers of tokens: `text` names them */
	bool vocabulary;                /* they are words, by whatever name: OLMoE's measure of them is told */
	struct moe_token_text text;
	uint64_t least;                 /* tokens of a group that is listed */
	size_t most;                    /* groups that the text lists of each layer */
};
enum moe_err moe_report_groups(FILE *f, const struct moe_groups_report *r, enum moe_load_format format, struct moe_diag *d) MOE_CHECK_RESULT;

/* Of one run, called `name`, against the last one, called `last`. `header`: TSV begins with its header line. */
enum moe_err moe_report_saturation(FILE *f, const struct moe_saturation *s, const char *name, const char *last, enum moe_load_format format, bool header,
				   struct moe_diag *d)
	MOE_CHECK_RESULT;

enum moe_err moe_report_top(FILE *f, const struct moe_top *t, const struct moe_token_text *text, enum moe_load_format format,
			    struct moe_diag *d) MOE_CHECK_RESULT;

#endif
