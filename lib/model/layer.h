/* The parts of a model as functions on a batch: what the stages and moe-run are made of. Each computes rows independently of the batch
 * they came in, so every cut of the model into processes gives the same bits. */
#ifndef MOE_MODEL_LAYER_H
#define MOE_MODEL_LAYER_H

#include "model/merge.h"
#include "model/model.h"

/* What the router hands to the experts. */
struct moe_routed {
	float **normed;                 /* [rows] → [hidden]: what the experts read; the rows of a span lie together. NULL where a foreign router gave none */
	size_t top_k;                   /* 0 in a dense layer, which has no routing */
	float *logit;                   /* [rows][experts]; NULL when a foreign router gave none, and in a dense layer */
	float *choice;                  /* [rows][experts]: what was compared, where that is not the logits; else NULL */
	int32_t *expert_id;             /* [rows][top_k] */
	float *weight;                  /* [rows][top_k] */
};

/* Of a model that chooses over groups of rows, m->choosing says who does; where it is the rows of a batch, the batch is the group. All three functions fail
 * with MOE_EMATCH where that is nobody (choosing.h). */

/* x + attention; keys and values go to the caches of the spans. In a layer with mixture-of-depths, rows are chosen first; only they attend, to each other, and
 * have slots in the caches; b->depth gets what the other two steps must know. */
enum moe_err moe_layer_attend(const struct moe_model *m, size_t layer, struct moe_batch *b, const struct moe_compute *work,
			      struct moe_diag *d) MOE_CHECK_RESULT;

/* What moe_layer_attend does first in such a layer, for who replaces it: makes b->depth, with entry; taken and logit are the caller's to fill in. */
enum moe_err moe_layer_enter(struct moe_batch *b, const struct moe_compute *work, struct moe_diag *d) MOE_CHECK_RESULT;

/* Norm (a copy, where the norm stands behind the experts) and, but for a dense layer, router logits and choice. The arrays of *out come from work->scratch.
 * `w` NULL: the choice of the model; settings that tell modalities apart, and pools, fail with MOE_EMATCH where the batch has none. Rows that skip the layer
 * get nobody, and their normed rows are 0. */
enum moe_err moe_layer_route(const struct moe_model *m, size_t layer, const struct moe_batch *b, const struct moe_what_if_table *w, struct moe_routed *out,
			     const struct moe_compute *work, struct moe_diag *d) MOE_CHECK_RESULT;

/* Reduces the batch behind its router to the rows that its spans keep, where somebody had to see the choices of all: the experts of the others are not
 * computed. Positions, pictures and rotations stay those of all rows, so no attention may follow. */
void moe_layer_keep(struct moe_batch *b, struct moe_routed *r);

/* x + the chosen experts; behind mixture-of-depths, the rows that took the layer become entry + g · ((x - entry) + the experts). Checks the choices first,
 * and makes the normed rows that are not there. */
enum moe_err moe_layer_expert(const struct moe_model *m, size_t layer, struct moe_batch *b, struct moe_routed *r, const struct moe_compute *work,
			      struct moe_diag *d) MOE_CHECK_RESULT;

/* Its two halves, for a layer whose experts are shared out. moe_layer_each: (*result)[rows · top_k], of work->scratch, gets what the experts [first, last] give,
 * [hidden] for each pair of a row and a slot that has one of them, before its weight, and NULL for the others. moe_layer_add: from results of all pairs that
 * have an expert, all else that the layer does. */
enum moe_err moe_layer_each(const struct moe_model *m, size_t layer, const struct moe_batch *b, struct moe_routed *r, size_t first, size_t last,
			    const float ***result, const struct moe_compute *work, struct moe_diag *d) MOE_CHECK_RESULT;
enum moe_err moe_layer_add(const struct moe_model *m, size_t layer, struct moe_batch *b, struct moe_routed *r, const float *const *result,
			   const struct moe_compute *work, struct moe_diag *d) MOE_CHECK_RESULT;

/* Embeddings of n tokens into x [n][hidden]; ids outside the vocabulary fail. Placeholders (rows of pictures) are left alone. */
enum moe_err moe_embed_forward(const struct moe_model *m, const int32_t *token, size_t n, float *x, struct moe_diag *d) MOE_CHECK_RESULT;

/* The patches of a picture or crop, pixel [rows · columns][channels · patch · patch], to feature [moe_spec_features][hidden]: tower and projector. A grid
 * that the model does not have fails with MOE_EINPUT. */
enum moe_err moe_tower_forward(const struct moe_model *m, const float *pixel, size_t rows, size_t columns, float *feature, const struct moe_compute *work,
			       struct moe_diag *d) MOE_CHECK_RESULT;

/* The codes of a picture, planes [channels][rows · patch][columns · patch], of a model with image tokens: code [rows · columns], from 0. */
enum moe_err moe_codes_forward(const struct moe_model *m, const float *planes, size_t rows, size_t columns, int32_t *code, const struct moe_compute *work,
			       struct moe_diag *d) MOE_CHECK_RESULT;

/* And back: rgb [rows · patch][columns · patch][3]. Codes that the model does not have fail with MOE_EINPUT. */
enum moe_err moe_codes_decode(const struct moe_model *m, const int32_t *code, size_t rows, size_t columns, uint8_t *rgb, const struct moe_compute *work,
			      struct moe_diag *d) MOE_CHECK_RESULT;

/* x[i] = feature[i], and + (row_embed[i / columns] + col_embed[i % columns]) where the model has such and no encoder has read them: the rows of a picture in
 * the hidden states. The grid has been checked (moe_layout_make does it). */
void moe_place_forward(const struct moe_model *m, const float *feature, const struct moe_patch_grid *g, float *x);

/* The same for the vector x of an image token that stands for this patch. */
void moe_place_token(const struct moe_model *m, size_t place, float *x);

/* logit [n][vocab] of hidden rows x [n][hidden]: final norm and head. */
enum moe_err moe_head_forward(const struct moe_model *m, const float *x, size_t n, float *logit, const struct moe_compute *work, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
