#include "stage/flow.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* The rows of one frame, checked. */
struct part {
	float *x, *normed;              /* a frame's bytes are the stage's to change */
	const float *weight, *logit;
	const int32_t *position, *image, *expert_id;
	const uint8_t *modality;        /* NULL: the frame does not tell */
	const uint8_t *depth;           /* inside a layer that only some rows take: who does, and the two below; else NULL */
	const float *entry, *depth_logit;
	uint64_t rows;
};

static enum moe_err shape_error(const struct moe_frame *f, struct moe_diag *d, const char *name, const uint64_t *have, uint64_t n0, uint64_t n1)
{
	return moe_frame_fail(f, d, MOE_EINPUT, "tensor \"%s\" is %llu x %llu, expected %llu x %llu", name, (unsigned long long)have[0],
			      (unsigned long long)have[1], (unsigned long long)n0, (unsigned long long)n1);
}

/* A matrix [rows][width] of the frame. */
static enum moe_err matrix(struct moe_frame *f, const char *name, enum moe_dtype type, uint64_t rows, uint64_t width, const void **data, struct moe_diag *d)
{
	const uint64_t *shape;

	MOE_TRY(moe_frame_tensor(f, name, type, 2, data, &shape, d));
	return shape[0] == rows && shape[1] == width ? MOE_OK : shape_error(f, d, name, shape, rows, width);
}

static enum moe_err open_routed(struct part *p, struct moe_frame *f, const struct moe_model *m, size_t layer, struct moe_diag *d)
{
	uint64_t k = moe_spec_top_k(m->spec, layer), e = (uint64_t)m->spec->router.experts;
	const void *normed;

	if (moe_frame_find(f, "normed")) {
		MOE_TRY(matrix(f, "normed", MOE_F32, p->rows, (uint64_t)m->spec->hidden, &normed, d));
		p->normed = (float *)(uintptr_t)normed;
	}
	MOE_TRY(matrix(f, "expert_id", MOE_I32, p->rows, k, (const void **)&p->expert_id, d));
	MOE_TRY(matrix(f, "weight", MOE_F32, p->rows, k, (const void **)&p->weight, d));
	MOE_TRY(moe_frame_blame(f, moe_router_check(p->expert_id, p->weight, p->rows, k, e, d), d));
	if (!moe_frame_find(f, "router_logit"))
		return MOE_OK;
	MOE_TRY(matrix(f, "router_logit", MOE_F32, p->rows, e, (const void **)&p->logit, d));
	return moe_frame_blame(f, moe_router_check_logits(p->logit, p->expert_id, p->rows, k, e, d), d);
}

/* Who takes the layer, and by whose choice. */
static enum moe_err open_depth(struct part *p, struct moe_frame *f, const struct moe_model *m, struct moe_diag *d)
{
	const char *choice = moe_frame_meta(f, "moe.choice");

	MOE_TRY(moe_frame_column(f, "depth", MOE_U8, p->rows, (const void **)&p->depth, d));
	MOE_TRY(moe_frame_column(f, "depth_logit", MOE_F32, p->rows, (const void **)&p->depth_logit, d));
	MOE_TRY(matrix(f, "entry", MOE_F32, p->rows, (uint64_t)m->spec->hidden, (const void **)&p->entry, d));
	for (uint64_t r = 0; r < p->rows; r++)
		if (p->depth[r] > 1 || !isfinite(p->depth_logit[r]))
			return moe_frame_fail(f, d, MOE_EINPUT, "row %llu: depth is %u and depth_logit %g, expected 0 or 1 and a number", (unsigned long long)r, p->depth[r],
					      (double)p->depth_logit[r]);
	if (f->kind == MOE_KIND_HIDDEN && choice && strcmp(choice, m->choice))
		return moe_frame_fail(f, d, MOE_EMATCH, "the rows that take the layer were chosen by \"%.40s\", this stage chooses by \"%s\" (give all stages the same "
				      "--batch-choice or --causal-choice)", choice, m->choice);
	return MOE_OK;
}

static enum moe_err open_part(struct part *p, struct moe_frame *f, const struct moe_model *m, size_t layer, struct moe_diag *d)
{
	const uint64_t *shape;
	const int32_t *patch;
	const void *rows;

	MOE_TRY(moe_frame_tensor(f, "hidden", MOE_F32, 2, &rows, &shape, d));
	p->x = (float *)(uintptr_t)rows;
	p->rows = shape[0];
	if (!p->rows || p->rows > INT32_MAX || shape[1] != (uint64_t)m->spec->hidden)
		return moe_frame_fail(f, d, MOE_EINPUT, "tensor \"hidden\" is %llu x %llu, expected rows of %lld", (unsigned long long)shape[0],
				      (unsigned long long)shape[1], (long long)m->spec->hidden);
	MOE_TRY(matrix(f, "position", MOE_I32, (uint64_t)m->spec->attention.rope.axes, p->rows, (const void **)&p->position, d));
	MOE_TRY(moe_frame_column(f, "image", MOE_I32, p->rows, (const void **)&p->image, d));
	MOE_TRY(moe_frame_column(f, "patch_index", MOE_I32, p->rows, (const void **)&patch, d));
	if (moe_frame_find(f, "modality"))
		MOE_TRY(moe_frame_column(f, "modality", MOE_U8, p->rows, (const void **)&p->modality, d));
	if (m->layer[layer].depth.data && moe_frame_find(f, "depth"))
		MOE_TRY(open_depth(p, f, m, d));
	if (m->spec->attention.mask == MOE_MASK_BIDIRECTIONAL_IMAGE && p->image[0] >= 0 && patch[0] != 0)
		return moe_frame_fail(f, d, MOE_EINPUT, "the frame begins inside a picture, whose patches must come whole");
	return f->kind == MOE_KIND_ROUTED ? open_routed(p, f, m, layer, d) : MOE_OK;
}

/* The same of what is known of rows in a layer that only some take, if all frames tell. */
static enum moe_err gather_depth(struct moe_flow *flow, const struct part *part, size_t rows, struct moe_arena *a, struct moe_diag *d)
{
	size_t h = flow->batch.hidden, at = 0;
	struct moe_batch_depth *to = &flow->batch.depth;

	for (size_t i = 0; i < flow->n; i++)
		if (!part[i].depth)
			return MOE_OK;
	*to = (struct moe_batch_depth){.on = true, .taken = moe_arena_get(a, rows, 1), .entry = moe_arena_get(a, rows * h, sizeof *to->entry),
				       .logit = moe_arena_get(a, rows, sizeof *to->logit)};
	if (!to->taken || !to->entry || !to->logit)
		return moe_fail(d, MOE_ENOMEM, "out of memory for a batch of %zu rows", rows);
	for (size_t i = 0; i < flow->n; at += part[i++].rows) {
		memcpy(to->taken + at, part[i].depth, part[i].rows);
		memcpy(to->logit + at, part[i].depth_logit, part[i].rows * sizeof *to->logit);
		memcpy(to->entry + at * h, part[i].entry, part[i].rows * h * sizeof *to->entry);
	}
	return MOE_OK;
}

/* What the layers read beside x and normed comes to lie together. */
static enum moe_err gather(struct moe_flow *flow, const struct part *part, size_t rows, const struct moe_model *m, size_t layer, struct moe_arena *a,
			   struct moe_diag *d)
{
	size_t h = (size_t)m->spec->hidden, k = moe_spec_top_k(m->spec, layer), axes = (size_t)m->spec->attention.rope.axes, at = 0;
	bool routed = flow->frame[0]->kind == MOE_KIND_ROUTED;
	int32_t *position = moe_arena_get(a, rows * axes, sizeof *position), *image = moe_arena_get(a, rows, sizeof *image);
	uint8_t *modality = moe_arena_get(a, rows, 1);
	bool told = true;

	flow->batch = (struct moe_batch){.rows = rows, .hidden = h, .axes = axes, .span = flow->span, .spans = flow->n};
	flow->batch.position = position;
	flow->batch.image = image;
	flow->routed = (struct moe_routed){0};
	if (routed) {
		flow->routed.top_k = k;
		flow->routed.normed = moe_arena_get(a, rows, sizeof *flow->routed.normed);
		flow->routed.expert_id = moe_arena_get(a, rows * k, sizeof(int32_t));
		flow->routed.weight = moe_arena_get(a, rows * k, sizeof(float));
	}
	if (!position || !image || !modality || (routed && (!flow->routed.normed || !flow->routed.expert_id || !flow->routed.weight)))
		return moe_fail(d, MOE_ENOMEM, "out of memory for a batch of %zu rows", rows);
	for (size_t i = 0; i < flow->n; i++) {
		const struct part *p = &part[i];
		memcpy(image + at, p->image, p->rows * sizeof *image);
		told &= p->modality != NULL;
		if (told)
			memcpy(modality + at, p->modality, p->rows);
		for (size_t x = 0; x < axes; x++)
			memcpy(position + x * rows + at, p->position + x * p->rows, p->rows * sizeof *position);
		if (routed) {
			for (size_t r = 0; r < p->rows; r++)
				flow->routed.normed[at + r] = p->normed ? p->normed + r * h : NULL;
			memcpy(flow->routed.expert_id + at * k, p->expert_id, p->rows * k * sizeof(int32_t));
			memcpy(flow->routed.weight + at * k, p->weight, p->rows * k * sizeof(float));
		}
		at += p->rows;
	}
	flow->batch.modality = told ? modality : NULL;
	return gather_depth(flow, part, rows, a, d);
}

enum moe_err moe_flow_open(struct moe_flow *flow, struct moe_frame **f, size_t n, const struct moe_model *m, size_t layer, struct moe_arena *a,
			   struct moe_diag *d)
{
	struct part *part = moe_arena_zero(a, n, sizeof *part);
	size_t rows = 0;

	flow->frame = f;
	flow->n = n;
	flow->span = moe_arena_zero(a, n, sizeof *flow->span);
	if (!part || !flow->span)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		uint64_t start;
		MOE_TRY(open_part(&part[i], f[i], m, layer, d));
		MOE_TRY(moe_frame_number(f[i], "moe.start", 0, &start, d));
		if (start > INT32_MAX)
			return moe_frame_fail(f[i], d, MOE_EINPUT, "moe.start is too large");
		flow->span[i] = (struct moe_span){.first = rows, .n = part[i].rows, .x = part[i].x, .start = (uint32_t)start};
		rows += part[i].rows;
	}
	return gather(flow, part, rows, m, layer, a, d);
}

enum moe_err moe_wanted_rows(const struct moe_frame *f, uint64_t rows, uint64_t *first, struct moe_diag *d)
{
	const char *logits = moe_frame_meta(f, "moe.logits");

	if (!logits || !strcmp(logits, "last"))
		*first = rows - 1;
	else if (!strcmp(logits, "all"))
		*first = 0;
	else if (!strcmp(logits, "none"))
		*first = rows;
	else
		return moe_frame_fail(f, d, MOE_EINPUT, "moe.logits is \"%.20s\", expected none, last or all", logits);
	return MOE_OK;
}

enum moe_err moe_flow_keep(struct moe_flow *flow, struct moe_diag *d)
{
	for (size_t i = 0; i < flow->n; i++) {
		struct moe_span *s = &flow->span[i];
		uint64_t first;
		MOE_TRY(moe_wanted_rows(flow->frame[i], s->n, &first, d));
		s->keep = s->n - moe_min(first, s->n - 1);
	}
	return MOE_OK;
}

/* The last n of the rows of a frame, from `start` on: of its hidden rows' companions, [rows] or [axes][rows]. */
static enum moe_err cut_frame(struct moe_frame *f, size_t rows, size_t n, size_t start, size_t axes, struct moe_arena *a, struct moe_diag *d)
{
	static const struct { const char *name; enum moe_dtype type; } list[] = {
		{"token", MOE_I32}, {"image", MOE_I32}, {"patch_index", MOE_I32}, {"modality", MOE_U8},
	};
	size_t skipped = rows - n;
	int32_t *position = moe_arena_get(a, axes * n, sizeof *position);
	const int32_t *all;

	if (!position)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	MOE_TRY(moe_frame_set_number(f, "moe.start", start, d));
	MOE_TRY(matrix(f, "position", MOE_I32, axes, rows, (const void **)&all, d));
	for (size_t x = 0; x < axes; x++)
		memcpy(position + x * n, all + x * rows + skipped, n * sizeof *position);
	MOE_TRY(moe_frame_put(f, "position", MOE_I32, 2, axes, n, position, d));
	for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
		const uint64_t *shape;
		const char *data;
		if (!moe_frame_find(f, list[i].name))
			continue;
		MOE_TRY(moe_frame_tensor(f, list[i].name, list[i].type, 1, (const void **)&data, &shape, d));
		if (shape[0] == rows)
			MOE_TRY(moe_frame_put(f, list[i].name, list[i].type, 1, n, 0, data + skipped * moe_dtype_nbits(list[i].type) / 8, d));
	}
	return MOE_OK;
}

enum moe_err moe_flow_cut(struct moe_flow *flow, struct moe_arena *a, struct moe_diag *d)
{
	for (size_t i = 0; i < flow->n; i++) {
		const struct moe_span *s = &flow->span[i];
		const uint64_t *shape;
		const void *image;
		MOE_TRY(moe_frame_tensor(flow->frame[i], "image", MOE_I32, 1, &image, &shape, d));
		if (s->n < shape[0])
			MOE_TRY(cut_frame(flow->frame[i], shape[0], s->n, s->start, flow->batch.axes, a, d));
	}
	return MOE_OK;
}

/* The tensors that only a routed frame has. */
static enum moe_err put_routed(struct moe_flow *flow, size_t i, const struct moe_model *m, struct moe_diag *d)
{
	const struct moe_span *s = &flow->span[i];
	size_t h = flow->batch.hidden, k = flow->routed.top_k, e = (size_t)m->spec->router.experts;
	struct moe_frame *f = flow->frame[i];

	MOE_TRY(moe_frame_put(f, "normed", MOE_F32, 2, s->n, h, flow->routed.normed[s->first], d));
	MOE_TRY(moe_frame_put(f, "expert_id", MOE_I32, 2, s->n, k, flow->routed.expert_id + s->first * k, d));
	MOE_TRY(moe_frame_put(f, "weight", MOE_F32, 2, s->n, k, flow->routed.weight + s->first * k, d));
	if (flow->routed.choice)
		MOE_TRY(moe_frame_put(f, "choice", MOE_F32, 2, s->n, e, flow->routed.choice + s->first * e, d));
	return k ? moe_frame_put(f, "router_logit", MOE_F32, 2, s->n, e, flow->routed.logit + s->first * e, d) : MOE_OK;
}

/* Those of a frame inside a layer that only some rows take. */
static enum moe_err put_depth(struct moe_flow *flow, size_t i, const struct moe_model *m, struct moe_diag *d)
{
	const struct moe_batch_depth *p = &flow->batch.depth;
	const struct moe_span *s = &flow->span[i];
	struct moe_frame *f = flow->frame[i];

	MOE_TRY(moe_frame_set(f, "moe.choice", m->choice, d));
	MOE_TRY(moe_frame_put(f, "entry", MOE_F32, 2, s->n, flow->batch.hidden, p->entry + s->first * flow->batch.hidden, d));
	MOE_TRY(moe_frame_put(f, "depth", MOE_U8, 1, s->n, 0, p->taken + s->first, d));
	return moe_frame_put(f, "depth_logit", MOE_F32, 1, s->n, 0, p->logit + s->first, d);
}

/* What behind the experts nobody needs. */
static void remove_routed(struct moe_frame *f)
{
	static const char *const names[] = {"normed", "router_input", "expert_id", "weight", "router_logit", "choice", "filled", "part", "entry", "depth",
					    "depth_logit"};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		moe_frame_remove(f, names[i]);
	moe_frame_unset(f, "moe.choice");
}

enum moe_err moe_flow_close(struct moe_flow *flow, const struct moe_model *m, size_t layer, const char *step, bool routed, struct moe_output *out,
			    struct moe_diag *d)
{
	char at[40];

	snprintf(at, sizeof at, "%zu.%s", layer, step);
	for (size_t i = 0; i < flow->n; i++) {
		struct moe_frame *f = flow->frame[i];
		const struct moe_span *s = &flow->span[i];
		f->kind = routed ? MOE_KIND_ROUTED : MOE_KIND_HIDDEN;
		MOE_TRY(moe_frame_set(f, "moe.kind", moe_kind_name(f->kind), d));
		MOE_TRY(moe_frame_set(f, "moe.at", at, d));
		MOE_TRY(moe_frame_put(f, "hidden", MOE_F32, 2, s->n, flow->batch.hidden, s->x, d));
		if (routed) {
			MOE_TRY(moe_frame_set(f, "moe.choice", m->choice, d));
			MOE_TRY(put_routed(flow, i, m, d));
		} else {
			remove_routed(f);
		}
		if (flow->batch.depth.on)
			MOE_TRY(put_depth(flow, i, m, d));
		MOE_TRY(moe_emit(out, f, d));
	}
	return MOE_OK;
}

void moe_sequences_init(struct moe_sequences *s, const struct moe_model *m)
{
	*s = (struct moe_sequences){.n_layers = (size_t)m->spec->n_layers,
				    .blocks = {.kv_heads = (size_t)m->spec->attention.kv_heads, .dim = (size_t)m->spec->attention.head_dim}};
}

static void clear(struct moe_sequences *s, struct moe_sequence *q)
{
	for (size_t l = 0; l < s->n_layers; l++)
		moe_cache_free(&q->cache[l], &s->blocks);
	free(q->cache);
}

void moe_sequences_free(struct moe_sequences *s)
{
	while (s->n)
		clear(s, &s->list[--s->n]);
	free(s->list);
	moe_cache_pool_free(&s->blocks);
	*s = (struct moe_sequences){0};
}

static struct moe_sequence *find(struct moe_sequences *s, uint64_t seq)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->list[i].seq == seq)
			return &s->list[i];
	return NULL;
}

/* The caches of a sequence, empty ones when it is new. */
static enum moe_err get_caches(struct moe_sequences *s, uint64_t seq, struct moe_cache **cache, struct moe_diag *d)
{
	struct moe_sequence *q = find(s, seq);

	if (!q) {
		struct moe_cache *fresh = calloc(s->n_layers, sizeof *fresh);
		enum moe_err err = fresh ? moe_grow(&s->list, &s->cap, s->n + 1, sizeof *s->list, d) : moe_fail(d, MOE_ENOMEM, "out of memory");
		if (err) {
			free(fresh);
			return err;
		}
		q = &s->list[s->n++];
		*q = (struct moe_sequence){seq, fresh};
	}
	*cache = q->cache;
	return MOE_OK;
}

void moe_sequences_drop(struct moe_sequences *s, uint64_t seq)
{
	struct moe_sequence *q = find(s, seq);

	if (q) {
		clear(s, q);
		*q = s->list[--s->n];
	}
}

enum moe_err moe_sequences_attach(struct moe_sequences *s, struct moe_flow *flow, size_t layer, struct moe_diag *d)
{
	for (size_t i = 0; i < flow->n; i++) {
		struct moe_span *span = &flow->span[i];
		size_t have;
		uint64_t seq;
		MOE_TRY(moe_frame_number(flow->frame[i], "moe.seq", UINT64_MAX, &seq, d));
		MOE_TRY(get_caches(s, seq, &span->cache, d));
		have = span->cache[layer].n_rows;
		if (span->start != have)
			return moe_frame_fail(flow->frame[i], d, MOE_EMATCH, "moe.start is %u, but the cache of layer %zu holds %zu rows of this sequence", span->start,
					      layer, have);
	}
	return MOE_OK;
}

void moe_sequences_detach(struct moe_sequences *s, const struct moe_flow *flow)
{
	for (size_t i = 0; i < flow->n; i++) {
		uint64_t seq, more;
		if (!moe_frame_number(flow->frame[i], "moe.more", 0, &more, NULL) && !more &&
		    !moe_frame_number(flow->frame[i], "moe.seq", UINT64_MAX, &seq, NULL))
			moe_sequences_drop(s, seq);
	}
}
