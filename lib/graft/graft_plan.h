/* What a model is to become: its settings, and where each of its experts comes from. All operations (graft.h) come down to such a plan; a tensor that is no
 * expert's and no router's is the weighted sum of those of the sources. */
#ifndef MOE_GRAFT_GRAFT_PLAN_H
#define MOE_GRAFT_GRAFT_PLAN_H

#include "graft/graft_sources.h"

enum { MOE_GRAFT_DENSE = -1 };

/* An expert of a source, or the unit of its dense layer (MOE_GRAFT_DENSE). */
struct moe_graft_term {
	size_t model;
	int64_t expert;
	double factor;
};

/* Where numbers come from; zeroed: zeros. */
struct moe_graft_sum {
	struct moe_graft_term *term;
	size_t n;
	bool noise_alone;
	double deviation, share;        /* as in graft_blend.h */
};

struct moe_graft_expert {
	struct moe_graft_sum unit, row; /* its three matrices; its row of the router, and its biases, which have no noise */
	int64_t part, parts;            /* of the `parts` equal runs of the inner width of its terms it is this one */
	double scale, bias_scale;       /* of its down projection; of its bias in the choice */
};

struct moe_graft_layer {
	bool dense;                     /* it has one unit, the first "expert" */
	struct moe_graft_expert *expert;        /* [experts], or [1] */
};

struct moe_graft_plan {
	const struct moe_graft_index *source;   /* [n_sources] */
	size_t n_sources;
	struct moe_spec spec;           /* borrows from that of the first source */
	struct moe_graft_layer *layer;  /* [n_layers] */
	double *share;                  /* [n_sources]: of each source in all other tensors; those with 0 have no part in them */
	uint64_t seed;
	struct moe_arena memory;
};

/* A plan for a model like the first source, with the given experts in the layers that are not dense, from nowhere yet; dense layers stay as they are. *out
 * begins with zeros, and is freed in any case. `spec` says what the model is to be. */
enum moe_err moe_graft_plan_init(struct moe_graft_plan *out, const struct moe_graft_index *source, size_t n, const struct moe_spec *spec,
				 struct moe_diag *d) MOE_CHECK_RESULT;
void moe_graft_plan_free(struct moe_graft_plan *p);

/* Appends a term to a sum; false: no memory. */
bool moe_graft_sum_add(struct moe_graft_plan *p, struct moe_graft_sum *s, struct moe_graft_term t);

#endif
