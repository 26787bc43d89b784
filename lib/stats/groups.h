/* Choices by a label of the tokens: the word, the place of the patch, the file, what lies under the patch, or what else is known of them. Memory: labels ×
 * layers × experts. Kinds of choice are kept apart, as in routing.h. */
#ifndef MOE_STATS_GROUPS_H
#define MOE_STATS_GROUPS_H

#include "stats/routing.h"

#define MOE_NO_GROUP UINT32_MAX
#define MOE_LATER_GROUP (UINT32_MAX - 1)        /* not known yet */

enum { MOE_MOST_GROUPS = 1 << 24 };

/* Names of groups, in the order of their coming: numbers or texts. */
struct moe_group_names {
	struct moe_group_name { int64_t number; char *text; } *list;    /* text NULL: the number */
	size_t n, cap;
	uint32_t *table;                /* hash to index + 1 */
	size_t room;
};

void moe_group_names_free(struct moe_group_names *g);

/* The index of a name, which is made when it is new. MOE_ENOMEM also beyond MOE_MOST_GROUPS. */
enum moe_err moe_group_number(struct moe_group_names *g, int64_t number, uint32_t *index, struct moe_diag *d) MOE_CHECK_RESULT;
enum moe_err moe_group_text(struct moe_group_names *g, const char *text, size_t n, uint32_t *index, struct moe_diag *d) MOE_CHECK_RESULT;

/* The index of a text, MOE_NO_GROUP when it is not there. */
uint32_t moe_group_find(const struct moe_group_names *g, const char *text, size_t n);

struct moe_group_layer {
	size_t number;
	uint64_t *tokens;               /* [groups]: that came to the router */
	uint64_t unlabelled;            /* tokens that came to it and are of no group */
	uint32_t *count, *first;        /* [groups][experts]: tokens that have the expert; that have it first */
	size_t groups, cap;
};

struct moe_groups {
	char choice[MOE_TRACE_CHOICE];
	size_t experts, k;
	struct moe_group_layer *layer;  /* [n_layers], ascending */
	size_t n_layers, cap;
};

struct moe_groups_set {
	struct moe_groups *kind;
	size_t n, cap, first, last;     /* numbers of the layers to keep, as in struct moe_routing_set */
};

void moe_groups_set_free(struct moe_groups_set *s);

/* Adds a block whose row i is of group[i], an index of names or MOE_NO_GROUP; MOE_LATER_GROUP: it will be added by itself. Blocks of counts have no tokens and
 * fail with MOE_EUSAGE. */
enum moe_err moe_groups_set_add(struct moe_groups_set *s, const struct moe_trace_info *info, const struct moe_trace_block *b, const uint32_t *group,
				struct moe_diag *d)
	MOE_CHECK_RESULT;

/* How much words say of experts, as Muennighoff et al. 2024 (OLMoE) measure it: over the groups with at least `least` tokens, the mean of the largest share of
 * one first expert. Chance: the same for groups of these sizes drawn from all tokens of these groups, mean of `draws` draws with a fixed seed. */
struct moe_vocabulary {
	size_t groups;                  /* with enough tokens */
	double value, chance;           /* NaN without such groups */
};
enum moe_err moe_vocabulary(struct moe_vocabulary *out, const struct moe_group_layer *l, size_t experts, uint64_t least, unsigned draws, struct moe_diag *d)
	MOE_CHECK_RESULT;

#endif
