/* The inside of a network in training. */
#ifndef MOE_TRAIN_NET_PRIV_H
#define MOE_TRAIN_NET_PRIV_H

#include "grad/attention_grad.h"
#include "grad/depth_grad.h"
#include "grad/experts_grad.h"
#include "grad/head_grad.h"
#include "grad/router_grad.h"
#include "grad/stem_grad.h"
#include "train/net.h"

/* A layer's tensors: offsets into the vectors of parameters, and the forms that products read. */
struct net_layer {
	size_t attn_norm, ffn_norm, qkv, o, router, choice_bias, depth; /* the last two: 0 where there is none */
	bool dense;                     /* its unit is one expert that every row gets with the weight 1; there is no router */
	size_t experts, k, width;       /* of this layer; k: places of a row in the tables of choices */
	size_t *gate_up, *down;         /* [experts] */
	struct moe_dense qkv_dense, o_dense, router_dense;
	struct moe_expert_dense *expert;        /* [experts] */
};

/* Rows that pass a layer: all of the chunk's, or those that mixture-of-depths keeps. */
struct layer_rows {
	size_t n;
	uint32_t *row;                  /* [n] rising: which of the chunk's; NULL: all */
	struct moe_packed_rows *span;   /* [sequences] */
	uint8_t *modality;              /* [n] */
	uint32_t *group;                /* [groups + 1]: where groups that are chosen in together begin, and n */
};

/* What the backward pass of a chunk needs of a layer. T: the chunk's rows; n: those that pass. */
struct kept_layer {
	float *x;                       /* [T][hidden]: the layer's input, */
	struct layer_rows rows;
	float *in, *made;               /* [n][hidden]: of the rows that pass, what they bring and what the layer makes of them */
	float *depth_logit;             /* [T] in a layer of mixture-of-depths; in others NULL, `in` is x, and `made` the next layer's */
	float *mid, *ffn;               /* [n][hidden]: behind the attention; with a norm behind the experts, what they give to it */
	float *attn_scale, *ffn_scale;  /* [n] of the norms */
	void *h1, *h2;                  /* [n][hidden] numbers: inputs of attention and experts */
	void *qkv, *out;                /* [n][width], [n][heads · dim] numbers */
	void **probability;             /* [sequences] */
	struct moe_router_kept router;
	struct moe_expert_pairs pairs;
	void *gate_up;                  /* [pairs][2 · width] numbers */
};

/* Targets of a chunk. */
struct chunk_targets {
	struct moe_targets_of of;
	uint32_t *row;
	int32_t *token;
	float *weight;
};

struct chunk {
	struct moe_arena *memory;       /* until the next chunk that has this one */
	const struct moe_packed *packed;        /* [n] */
	size_t first, n, rows;          /* first: its first sequence in the batch */
	size_t first_row;               /* of the batch */
	struct layer_rows all;
	size_t n_groups;                /* sequences that are chosen in together, where anything is */
	float *cosine, *sine, *minus;   /* [rows][pairs]; minus: -sine */
	struct moe_stem_kept *stem;     /* [n] */
	struct kept_layer *layer;       /* [n_layers] */
	float *top;                     /* [rows][hidden]: behind the last layer */
	float *dx, *dx_patch;           /* [rows][hidden]: gradients of `top` and of where patch labels are read, where that is not the top */
	struct chunk_targets text, image, patch;
};

/* What a lane adds up over its chunks. */
struct lane {
	struct moe_arena scratch;
	float *gradient;                /* [total] */
	void *pack;                     /* scratch for the forms of weights */
	struct moe_router_sums *sums;   /* [n_layers] */
	double text, image, patch;
	struct moe_diag d;
};

struct moe_net {
	const struct moe_model *model;
	const struct moe_spec *spec;
	struct moe_net_options o;
	struct moe_params params;
	float *weight, *gradient;       /* [total] */
	struct moe_arena memory;
	struct net_layer *layer;
	size_t embed, final_norm, head, row_embed, col_embed, conv[MOE_MAX_CONV];
	struct moe_dense head_dense;
	struct moe_stem stem;
	struct moe_heads heads;
	size_t pairs, positions;        /* pairs of numbers that turn in a head; positions in the table */
	float *cosine, *sine;           /* [positions][pairs] */
	struct chunk *chunk;
	size_t n_chunks, chunk_cap;
	struct moe_arena *kept;         /* [n_kept]: memory of as many chunks as are computed together */
	size_t n_kept;
	struct lane *lane;              /* [o.lanes] */
	struct moe_router_sums *sums;   /* [n_layers] of the step */
	double *share;                  /* [experts] */
	/* The step at hand. */
	const struct moe_packed *batch;
	const struct moe_loss_settings *loss;
	bool backward;
	size_t first, end;              /* chunks of the part at hand */
	enum moe_net_replay replay;
	int32_t *choice;                /* recorded: [n_layers][recorded rows][k], */
	uint8_t *taken;                 /* and which rows passed: [n_layers][recorded rows] */
	size_t recorded;                /* rows */
	double text_weight, image_weight, patch_weight;
	uint64_t rows;
	int32_t *const *best;
	float *const *logprob;
	struct moe_router_pull *pull;   /* [n_layers] */
	float *pull_q;                  /* [n_layers][experts] */
};

static inline size_t net_hidden(const struct moe_net *n) { return (size_t)n->spec->hidden; }
static inline size_t net_experts(const struct moe_net *n) { return (size_t)n->spec->router.experts; }
static inline size_t net_k(const struct moe_net *n) { return moe_router_width(&n->spec->router); }

/* The number in the chunk of row i of a layer. */
static inline size_t moe_net_row(const struct layer_rows *rows, size_t i) { return rows->row ? rows->row[i] : i; }

/* The options with their defaults. */
struct moe_net_options moe_net_defaults(const struct moe_net_options *o);

/* The layers behind which patch labels are read. */
size_t moe_net_patch_layer(const struct moe_net *n);

/* Is anything chosen among the rows of several sequences together? */
bool moe_net_chooses_together(const struct moe_spec *s);

/* Lays a chunk out: rows, spans, positions, targets, and the layers' inputs. */
enum moe_err moe_net_chunk_plan(struct moe_net *n, struct chunk *c, struct moe_diag *d) MOE_CHECK_RESULT;

/* The rows of a layer that are taken (`taken` [rows of the chunk]; NULL: all), and memory for what the layer keeps of them, but for its experts'. */
enum moe_err moe_net_layer_plan(struct moe_net *n, struct chunk *c, size_t layer, const uint8_t *taken, struct moe_diag *d) MOE_CHECK_RESULT;

/* Which rows pass a layer, with its plan; and which experts they pass, from h [n][hidden]. */
enum moe_err moe_net_take(struct moe_net *n, struct chunk *c, size_t layer, struct lane *lane) MOE_CHECK_RESULT;
enum moe_err moe_net_route(struct moe_net *n, struct chunk *c, size_t layer, const float *h, struct lane *lane) MOE_CHECK_RESULT;

/* Image tokens (net_tokens.c): is a token one, columns of a picture of them; what they give to the first layer's x of a sequence, which has the vectors of its text,
 * and the gradients that they get from dx; and what a sequence may have of them. */
bool moe_net_is_image(const struct moe_net *n, int32_t token);
size_t moe_net_columns(const struct moe_net *n);
void moe_net_tokens_embed(const struct moe_net *n, const struct moe_packed *p, const struct moe_packed_rows *s, float *x);
void moe_net_tokens_backward(const struct moe_net *n, const struct moe_packed *p, const struct moe_packed_rows *s, const float *dx, float *gradient);
enum moe_err moe_net_tokens_check(const struct moe_net *n, const struct moe_packed *p, struct moe_diag *d) MOE_CHECK_RESULT;

/* Both work in a lane's scratch. The forward pass computes the losses and, for a backward pass, the gradients of the head and of what it read. */
enum moe_err moe_net_chunk_forward(struct moe_net *n, struct chunk *c, struct lane *lane) MOE_CHECK_RESULT;
enum moe_err moe_net_chunk_backward(struct moe_net *n, struct chunk *c, struct lane *lane) MOE_CHECK_RESULT;

#endif
