/* Auxiliary routers: small networks that predict, from one row alone, what a choice among many rows would say (Lin et al. 2024, MoMa, section 2.4):
 *
 *     a = W2 silu(W1 u)       u: the row as the main router reads it; a is the logit of "is taken", one for each expert of a pool or for the layer's depth */
#ifndef MOE_NN_AUX_ROUTER_H
#define MOE_NN_AUX_ROUTER_H

#include "nn/batch.h"
#include "nn/linear.h"
#include "nn/router.h"

struct moe_aux_weights {
	struct moe_mat fc1, fc2;        /* [inner][hidden], [outputs][inner] */
};

/* a [rows][outputs] of rows u [rows][hidden]. */
enum moe_err moe_aux_forward(float *a, const float *u, size_t rows, const struct moe_aux_weights *w, const struct moe_compute *work,
			     struct moe_diag *d) MOE_CHECK_RESULT;

/* The same for experts: a [rows][experts], -inf outside of a row's pool. w [pools] (one without pools), whose outputs are those of the pool's experts by
 * rising number. modality [rows] (NULL: all are text) has pools only, as moe_router_mask checks. */
enum moe_err moe_aux_predict(float *a, const float *u, size_t rows, const struct moe_aux_weights *w, const struct moe_router_settings *s,
			     const uint8_t *modality, const struct moe_compute *work, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
