/* How a new model routes: the part of its description (create.h) whose keys are those of config.json. */
#ifndef MOE_TRAIN_DESCRIBE_ROUTING_H
#define MOE_TRAIN_DESCRIBE_ROUTING_H

#include <jansson.h>

#include "model/spec.h"

struct moe_routing {
	struct moe_router_settings router;
	struct moe_ints depth;          /* layers that a share of the rows passes, rising */
	double depth_capacity;
	bool post;                      /* the norm is behind the experts */
	bool aux, stored;               /* there are auxiliary routers; and thresholds for them */
};

/* The keys, up to NULL. */
extern const char *const moe_routing_keys[];

/* Reads and checks them, of a model of so many layers; router.experts and top_k are set, the latter 0 where it is not said: then 2, or as many as the largest
 * pool has. MOE_EUSAGE names the key. */
enum moe_err moe_routing_read(struct moe_routing *r, json_t *description, int64_t layers, struct moe_diag *d) MOE_CHECK_RESULT;

/* Puts what a config.json says of it, and nothing where that is the default. */
void moe_routing_put(json_t *config, const struct moe_routing *r);

/* What decides about the rows of a layer beside its router: depth, auxiliary routers, thresholds. Calls fn with each tensor: its rank, 1 or 2, and its shape;
 * the standard deviation of its first numbers, negative: zeros. `aux_alone`: without that of depth. */
typedef enum moe_err moe_routing_tensor_fn(void *arg, const char *name, unsigned rank, const int64_t *shape, double deviation);
enum moe_err moe_routing_tensors(const struct moe_routing *r, int64_t hidden, int64_t layer, bool dense, bool aux_alone, moe_routing_tensor_fn *fn,
				 void *arg) MOE_CHECK_RESULT;

#endif
