/* The inside of a network in training. */
#ifndef MOE_TRAIN_NET_PRIV_H
#define MOE_TRAIN_NET_PRIV_H

#include "grad/attention_grad.h"
#include "grad/aux_grad.h"
#include "grad/depth_grad.h"
#include "grad/experts_grad.h"
#include "grad/head_grad.h"
#include "grad/layer_grad.h"
#include "grad/router_grad.h"
#include "grad/stem_grad.h"
#include "train/net.h"

/* An auxiliary router: offsets, and forms; out: its outputs, 0: there is none. */
struct net_aux {
	size_t fc1, fc2, out;
	struct moe_aux_dense dense;
};

/* What auxiliary routers said of rows: losses, and counts of (row, output). */
struct net_aux_sum {
	double loss;
	uint64_t outputs, right, foretold, taken;
};

/* All that one output said, and how many of these rows were taken. */
struct net_collected {
	float *logit;
	size_t n, cap;
	uint64_t taken;
};

/* A layer's tensors: offsets into the vectors of parameters, and the forms that products read. */
struct net_layer {
	size_t attn_norm, ffn_norm, qkv, o, router, choice_bias, depth; /* the last two: 0 where there is none */
	bool dense;                     /* its unit is one expert that every row gets with the weight 1; there is no router */
	size_t experts, k, width;       /* of this layer; k: places of a row in the tables of choices */
	size_t *gate_up, *down;         /* [experts] */
	struct net_aux *aux, depth_aux; /* [n_aux]: of the pools */
	size_t n_aux, aux_threshold, depth_threshold;   /* offsets, 0 where there is none */
	struct moe_dense qkv_dense, o_dense, router_dense;
	struct moe_expert_dense *expert;        /* [experts] */
};

/* A layer of the encoder of pictures; offsets as above. */
struct net_encoder_layer {
	size_t norm1, norm2, qkv, o, gate_up, down;
	struct moe_dense qkv_dense, o_dense;
	struct moe_expert_dense unit;
};

/* The encoder and the projector behind it; n layers, 0: there is none. */
struct net_encoder {
	size_t n, norm, up, project;    /* up: of a two-layer projector */
	struct moe_heads heads;
	struct net_encoder_layer *layer;        /* [n] */
	struct moe_dense up_dense, project_dense;
};

/* What the backward pass of a chunk needs of the encoder. P: the chunk's patches. */
struct kept_encoder {
	struct moe_spans rows;          /* of the sequences that have a picture */
	struct moe_gated_rows gated;
	struct { struct moe_attend_kept attend; struct moe_gated_kept gated; } *layer;  /* [layers] */
	float *top, *scale;             /* [P][width], [P]: behind the last layer, and of the norm there */
	void *h, *between, *act;        /* [P][width], [P][inner], [P][inner] numbers: what the projector reads; of two layers, before and behind silu */
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
	struct moe_attend_kept attend;  /* its x: what the rows that pass bring */
	float *made;                    /* [n][hidden]: what the layer makes of them */
	float *depth_logit;             /* [T] in a layer of mixture-of-depths; in others NULL, attend.x is x, and `made` the next layer's */
	float *ffn, *ffn_scale;         /* [n][hidden]: with a norm behind the experts, what they give to it; [n] of the norm */
	void *h;                        /* [n][hidden] numbers: what the experts read */
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
	struct kept_encoder encoder;
	struct kept_layer *layer;       /* [n_layers] */
	float *top;                     /* [rows][hidden]: behind the last layer */
	float **dx_match;               /* [matches] of [rows][hidden]: gradients of where rows are matched, where that is not the top; NULL: they are not */
	float *dx, *dx_patch;           /* [rows][hidden]: gradients of `top` and of where patch labels are read, where that is not the top */
	struct chunk_targets text, image, patch;
};

/* What a lane adds up over its chunks. */
struct lane {
	struct moe_arena scratch;
	float *gradient;                /* [total] */
	void *pack;                     /* scratch for the forms of weights */
	struct moe_router_sums *sums;   /* [n_layers] */
	struct net_aux_sum *aux;        /* of each layer: its pools' (room for all modalities), and that of depth */
	struct net_collected *collected;        /* of each layer: its experts', and that of depth; NULL: nothing is kept */
	double text, image, patch, soft, match;
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
	struct net_match {
		size_t own, its, projection;    /* offset of the matrix */
		bool projected;
		struct moe_dense dense;
	} match[MOE_NET_MATCHES];
	size_t n_matches;
	float *ones;                    /* as many as the wider of the two */
	struct moe_stem stem;
	struct net_encoder encoder;
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
	bool gradient_of_aux;           /* auxiliary routers learn, and nothing else */
	bool calibrates;                /* what they say is kept */
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

/* Lays a chunk out: rows, spans, positions, targets, and the layers' inputs. */
enum moe_err moe_net_chunk_plan(struct moe_net *n, struct chunk *c, struct moe_diag *d) MOE_CHECK_RESULT;

/* The attention of a layer, and how its rows turn. */
struct moe_rotation moe_net_rotation(const struct moe_net *n, const struct chunk *c, const struct layer_rows *rows);
struct moe_attend moe_net_attend(const struct moe_net *n, size_t layer, const struct moe_rotation *rotation);

/* The rows of a layer that are taken (`taken` [rows of the chunk]; NULL: all), and memory for what the layer keeps of them, but for its experts'. */
enum moe_err moe_net_layer_plan(struct moe_net *n, struct chunk *c, size_t layer, const uint8_t *taken, struct moe_diag *d) MOE_CHECK_RESULT;

/* Which rows pass a layer, with its plan; and which experts they pass, from h [n][hidden]. */
enum moe_err moe_net_take(struct moe_net *n, struct chunk *c, size_t layer, struct lane *lane) MOE_CHECK_RESULT;
enum moe_err moe_net_route(struct moe_net *n, struct chunk *c, size_t layer, const float *h, struct lane *lane) MOE_CHECK_RESULT;

/* Offset of the nth tensor of that logical name in a layer; 0: there is none. */
size_t moe_net_offset(const struct moe_net *n, const char *logical, int64_t layer, size_t nth);

/* ---- auxiliary routers (net_aux.c) ---- */

/* Those of a layer; false: no memory. Their forms, as moe_dense_pack. */
bool moe_net_aux_plan(struct moe_net *n, size_t layer);
void moe_net_aux_pack(struct net_layer *w, void *scratch);

/* The sums of a lane, from the network's memory. */
struct net_aux_sum *moe_net_aux_sums(struct moe_net *n);
void moe_net_aux_clear(const struct moe_net *n, struct lane *lane);

/* Losses and gradients against the choice of the batch: of rows (taken [rows of the chunk]), and of experts by the layer's rows, from h [n][hidden]. */
enum moe_err moe_net_aux_depth(const struct moe_net *n, const struct chunk *c, size_t layer, const uint8_t *taken, struct lane *lane) MOE_CHECK_RESULT;
enum moe_err moe_net_aux_experts(const struct moe_net *n, const struct chunk *c, size_t layer, const float *h, struct lane *lane) MOE_CHECK_RESULT;

/* Means of the step, and with them the gradients, which were those of sums. */
void moe_net_aux_finish(struct moe_net *n, struct moe_step_result *out);

/* Their own choice: of rows, and of experts for the layer's rows. */
enum moe_err moe_net_aux_take(const struct moe_net *n, const struct chunk *c, size_t layer, uint8_t *taken, struct lane *lane) MOE_CHECK_RESULT;
enum moe_err moe_net_aux_choose(const struct moe_net *n, const struct chunk *c, size_t layer, const float *h, struct lane *lane) MOE_CHECK_RESULT;

/* What was kept for thresholds goes. */
void moe_net_aux_forget(struct moe_net *n);

/* The layers alone. */
enum moe_err moe_net_chunk_pass(struct moe_net *n, struct chunk *c, struct lane *lane) MOE_CHECK_RESULT;

/* ---- of a teacher (net_teach.c) ---- */

/* Is it asked in the step at hand? */
bool moe_net_is_taught(const struct moe_net *n);

/* The matrices that matches need, [n] of which it returns. */
size_t moe_net_projections(struct moe_param_extra extra[MOE_NET_MATCHES], const struct moe_spec *own, const struct moe_net_teacher *t);

/* Makes the matches ready, behind the table of parameters; false: no memory. Their forms, as moe_dense_pack. */
bool moe_net_match_plan(struct moe_net *n);
void moe_net_match_pack(struct moe_net *n, void *scratch);

/* Memory for the gradients of a chunk's matches; false: there is none. */
bool moe_net_match_chunk(const struct moe_net *n, struct chunk *c);

/* Before the lanes of a step. */
void moe_net_teach_begin(struct moe_net *n);

/* The teacher's pass over the rows of a chunk; what *taught has is valid until the lane's next. */
enum moe_err moe_net_teach(struct moe_net *n, const struct chunk *c, struct chunk *taught, struct lane *lane) MOE_CHECK_RESULT;

/* The loss of the matches, and its gradients with respect to rows and matrices. */
enum moe_err moe_net_match(struct moe_net *n, struct chunk *c, const struct chunk *taught, struct lane *lane) MOE_CHECK_RESULT;

/* Adds to dx, the gradient behind so many layers, that of the matches there. */
void moe_net_match_backward(const struct moe_net *n, struct chunk *c, size_t layers);

/* ---- of pictures, and of a chunk ---- */

/* The way of pictures to the first layer (net_pictures.c): its weights, numbers of its largest matrix, their forms; memory of a chunk, bytes of it for a
 * picture, and of scratch for the patches of a chunk; and both passes, from pixels to the rows of pictures in the first layer's x, and back from c->dx. */
bool moe_net_pictures_plan(struct moe_net *n);
size_t moe_net_pictures_largest(const struct moe_net *n);
void moe_net_pictures_pack(struct moe_net *n, void *scratch);
enum moe_err moe_net_pictures_kept(const struct moe_net *n, struct chunk *c, struct moe_diag *d) MOE_CHECK_RESULT;
uint64_t moe_net_pictures_nbytes(const struct moe_spec *s, enum moe_unit unit, size_t patches);
uint64_t moe_net_pictures_scratch(const struct moe_spec *s, size_t patches);
enum moe_err moe_net_pictures_forward(struct moe_net *n, struct chunk *c, struct lane *lane) MOE_CHECK_RESULT;
enum moe_err moe_net_pictures_backward(struct moe_net *n, struct chunk *c, struct lane *lane) MOE_CHECK_RESULT;

/* Image tokens (net_tokens.c): is a token one, columns of a picture of them; their rows in the first layer's x, of which those in the text have their vectors already,
 * and the gradients that they get from c->dx, but for those vectors of the text; and what a sequence may have of them. */
bool moe_net_is_image(const struct moe_net *n, int32_t token);
size_t moe_net_columns(const struct moe_net *n);
void moe_net_tokens_forward(const struct moe_net *n, struct chunk *c);
void moe_net_tokens_backward(const struct moe_net *n, const struct chunk *c, float *gradient);
enum moe_err moe_net_tokens_check(const struct moe_net *n, const struct moe_packed *p, struct moe_diag *d) MOE_CHECK_RESULT;

/* Both work in a lane's scratch. The forward pass computes the losses and, for a backward pass, the gradients of the head and of what it read. */
enum moe_err moe_net_chunk_forward(struct moe_net *n, struct chunk *c, struct lane *lane) MOE_CHECK_RESULT;
enum moe_err moe_net_chunk_backward(struct moe_net *n, struct chunk *c, struct lane *lane) MOE_CHECK_RESULT;

#endif
