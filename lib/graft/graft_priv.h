/* What the files of the operations share. */
#ifndef MOE_GRAFT_GRAFT_PRIV_H
#define MOE_GRAFT_GRAFT_PRIV_H

#include "graft/graft_lists.h"
#include "graft/graft_operations.h"

struct graft {
	struct moe_graft_plan *plan;
	const struct moe_graft_index *source;
	size_t n;
	const struct moe_graft_options *o;
	const struct moe_spec *from;    /* of the first source */
	struct moe_spec to;
	struct moe_graft_list *list;    /* [layers] */
	struct moe_graft_promise *promise;
	struct moe_diag *d;
};

static inline size_t graft_layers(const struct graft *g) { return (size_t)g->from->n_layers; }
static inline size_t graft_experts(const struct graft *g) { return (size_t)g->from->router.experts; }

enum moe_err moe_graft_no_memory(const struct graft *g) MOE_CHECK_RESULT;
enum moe_err moe_graft_begin(struct graft *g) MOE_CHECK_RESULT;     /* the plan, when `to` is complete */

/* Do the weights of a token's experts add up to 1? Are they less, the more experts there are? */
bool moe_graft_sums_to_one(const struct moe_router_settings *r);
bool moe_graft_divides(const struct moe_router_settings *r);

void moe_graft_say(struct graft *g, enum moe_graft_claim claim, const char *why);

/* A row of the router for a new expert, of which there is none to copy. */
void moe_graft_new_row(const struct graft *g, struct moe_graft_expert *e);

/* graft_experts.c: what makes experts of experts. */
enum moe_err moe_graft_add(struct graft *g) MOE_CHECK_RESULT;
enum moe_err moe_graft_drop(struct graft *g) MOE_CHECK_RESULT;
enum moe_err moe_graft_merge(struct graft *g) MOE_CHECK_RESULT;
enum moe_err moe_graft_split(struct graft *g) MOE_CHECK_RESULT;
enum moe_err moe_graft_reorder(struct graft *g) MOE_CHECK_RESULT;
enum moe_err moe_graft_copy(struct graft *g) MOE_CHECK_RESULT;

/* graft_models.c: what makes experts of dense layers, and of whole models. */
enum moe_err moe_graft_upcycle(struct graft *g) MOE_CHECK_RESULT;
enum moe_err moe_graft_mix(struct graft *g) MOE_CHECK_RESULT;
enum moe_err moe_graft_average(struct graft *g) MOE_CHECK_RESULT;

#endif
