/* The two halves of a pre-norm layer over packed sequences, forward and backward:
 *
 *     mid = x + o(attention(qkv(norm x)))             y = mid + down(silu(gate h) · up h) with h = norm mid
 *
 * Gradients of inputs come in dx, which holds that of the output, and are added to it; those of weights are added. Memory that is not handed out is of
 * `scratch` and given back. MOE_ENOMEM when there is none. */
#ifndef MOE_GRAD_LAYER_GRAD_H
#define MOE_GRAD_LAYER_GRAD_H

#include "grad/attention_grad.h"
#include "grad/experts_grad.h"
#include "nn/rope.h"

/* How queries and keys turn: row r by the numbers [pairs] at row[r] (NULL: r). minus: -sine. */
struct moe_rotation {
	const struct moe_rope_settings *rope;
	size_t pairs;
	const float *cosine, *sine, *minus;     /* [...][pairs] */
	const uint32_t *row;
};

struct moe_attend {
	struct moe_heads heads;
	float eps;
	const float *norm;              /* [hidden] */
	const struct moe_dense *qkv, *o;
	const struct moe_rotation *rotation;    /* NULL: they do not turn */
};

/* The rows of a pass: sequences one behind the other. */
struct moe_spans {
	const struct moe_packed_rows *span;     /* [n] */
	size_t n, rows;
};

/* What the first half keeps: x is its input and mid its output, [rows][hidden]. */
struct moe_attend_kept {
	float *x, *mid, *scale;         /* scale [rows]: of the norm */
	void *h, *qkv, *out;            /* [rows][hidden], [rows][width of heads], [rows][heads · dim] numbers */
	void **probability;             /* [n] */
};

/* Gradients of the weights. */
struct moe_attend_gradient { float *norm, *qkv, *o; };

/* Takes memory for all but x from the arena. False: none left. */
bool moe_attend_plan(struct moe_attend_kept *k, const struct moe_heads *h, size_t hidden, const struct moe_spans *s, struct moe_arena *a);

enum moe_err moe_attend_keep(const struct moe_attend *w, const struct moe_attend_kept *k, const struct moe_spans *s, struct moe_arena *scratch,
			     struct moe_diag *d) MOE_CHECK_RESULT;
enum moe_err moe_attend_backward(const struct moe_attend *w, const struct moe_attend_kept *k, const struct moe_spans *s, float *dx,
				 const struct moe_attend_gradient *g, struct moe_arena *scratch, struct moe_diag *d) MOE_CHECK_RESULT;

/* The second half without a router: one expert that every row passes, with weight 1. */
struct moe_gated {
	float eps;
	const float *norm;              /* [hidden] */
	const struct moe_expert_dense *unit;
};

/* Every row's place in its one expert; the same for all layers. */
struct moe_gated_rows {
	struct moe_expert_pairs pairs;
	float *weight;                  /* [rows]: ones */
};

/* What the second half keeps beside its input. */
struct moe_gated_kept {
	float *scale;                   /* [rows] */
	void *h, *gate_up;              /* [rows][hidden], [rows][2 · width] numbers */
};

struct moe_gated_gradient { float *norm, *gate_up, *down; };

enum moe_err moe_gated_rows_make(struct moe_gated_rows *r, size_t rows, struct moe_arena *a, struct moe_diag *d) MOE_CHECK_RESULT;
bool moe_gated_plan(struct moe_gated_kept *k, enum moe_unit unit, size_t hidden, size_t width, size_t rows, struct moe_arena *a);

/* y [rows][hidden], which is not mid. */
enum moe_err moe_gated_keep(const struct moe_gated *w, const struct moe_gated_kept *k, const struct moe_gated_rows *r, float *y, const float *mid,
			    struct moe_arena *scratch, struct moe_diag *d) MOE_CHECK_RESULT;
enum moe_err moe_gated_backward(const struct moe_gated *w, const struct moe_gated_kept *k, const struct moe_gated_rows *r, float *dx, const float *mid,
				const struct moe_gated_gradient *g, struct moe_arena *scratch, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
